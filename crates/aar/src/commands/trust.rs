//! Who is trusted.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aar_model::wire::AddedCertificate;
use aar_model::{CertificateInfo, Fingerprint, Role, TrustChange};
use aar_tls::Certificate;
use jiff::Timestamp;
use serde::Serialize;

use super::confirm::confirm;
use super::trust_store::TrustStore;
use crate::cli::Trust;
use crate::error::{Error, Result};
use crate::output::{self, Present, csv_list, table, time};

/// More than any chain of certificates has, in bytes.
const MAX_INPUT: u64 = 1024 * 1024;
/// As many digits of a fingerprint as a table shows; enough to name one of billions of certificates.
const SHOWN_DIGITS: usize = 16;

pub(crate) async fn run(command: Trust, base_dir: &Path) -> Result<()> {
    match command {
        Trust::Add { path, publisher, quiet, name, source } => {
            let certificates = read(path.as_deref())?;
            let role = if publisher { Role::Publisher } else { Role::Client };
            let store = TrustStore::open(base_dir).await?;
            let added = store.add(&certificates[0], role, name, source).await?;
            if quiet {
                return Ok(());
            }
            if certificates.len() > 1 {
                let others = certificates.len() - 1;
                output::say(&format!("only the first certificate counts; {others} after it passed over"))?;
            }
            output::say(&describe(&added))?;
            match out_of_date(&certificates[0], Timestamp::now().as_second()) {
                None => Ok(()),
                Some(note) => output::say(&note),
            }
        }
        Trust::List { output, revoked } => {
            let certificates = TrustStore::open(base_dir).await?.list(revoked).await?;
            output::print(output.format, &Certificates::new(certificates, revoked))
        }
        Trust::Remove { fingerprint, source: None } => {
            let removed = TrustStore::open(base_dir).await?.remove(&fingerprint).await?;
            output::say(&format!("removed: {}", named(&removed)))
        }
        Trust::Remove { fingerprint, source: Some(source) } => {
            let left = TrustStore::open(base_dir).await?.withdraw(&fingerprint, &source).await?;
            output::say(&if left.sources.is_empty() {
                format!("removed: {}", named(&left))
            } else {
                format!("still trusted as {} for {}: {}", left.role, left.sources.join(", "), named(&left))
            })
        }
        Trust::Revoke { fingerprint, yes } => {
            let store = TrustStore::open(base_dir).await?;
            let certificate = store.get(&fingerprint).await?;
            if certificate.revoked_at.is_none() {
                let question = format!("Revoke {}? It can never be trusted again.", named(&certificate));
                confirm(&question, yes)?;
            }
            let revoked = store.revoke(&certificate.fingerprint.into()).await?;
            output::say(&format!("revoked for good: {}", named(&revoked)))
        }
    }
}

/// Reads the certificates in a file or standard input; there is at least one.
fn read(path: Option<&Path>) -> Result<Vec<Certificate>> {
    let mut input = Vec::new();
    let origin = match path {
        None => {
            io::stdin().take(MAX_INPUT).read_to_end(&mut input).map_err(Error::Input)?;
            "standard input".to_owned()
        }
        Some(path) => {
            let file = File::open(path).map_err(Error::file("open", path))?;
            file.take(MAX_INPUT).read_to_end(&mut input).map_err(Error::file("read", path))?;
            format!("`{}`", path.display())
        }
    };
    Certificate::read_all(&input).map_err(|source| Error::Certificate { origin, source })
}

fn describe(added: &AddedCertificate) -> String {
    let AddedCertificate { change, certificate } = added;
    let (role, certificate) = (certificate.role, named(certificate));
    match change {
        TrustChange::Added => format!("trusted as {role}: {certificate}"),
        TrustChange::Unchanged => format!("already trusted as {role}: {certificate}"),
        TrustChange::RoleChanged => format!("role changed to {role}: {certificate}"),
    }
}

/// Trusting a certificate does not make it valid.
fn out_of_date(certificate: &Certificate, now: i64) -> Option<String> {
    let (from, until) = (certificate.not_before(), certificate.not_after());
    if now > until {
        Some(format!("it has expired at {}: requests with it are refused", time(until)))
    } else if now < from {
        Some(format!("it is valid from {} on: requests with it are refused before", time(from)))
    } else {
        None
    }
}

fn named(certificate: &CertificateInfo) -> String {
    format!("{} ({})", certificate.name, certificate.fingerprint)
}

/// Certificates as they are listed.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Certificates {
    rows: Vec<Row>,
    #[serde(skip)]
    revoked: bool,
}

#[derive(Serialize)]
struct Row {
    name: String,
    role: Role,
    fingerprint: Fingerprint,
    sources: Vec<String>,
    added_at: String,
    last_seen_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl Certificates {
    pub(super) fn new(certificates: Vec<CertificateInfo>, revoked: bool) -> Self {
        let row = |certificate: CertificateInfo| Row {
            name: certificate.name,
            role: certificate.role,
            fingerprint: certificate.fingerprint,
            sources: certificate.sources,
            added_at: time(certificate.added_at),
            last_seen_at: certificate.last_seen_at.map(time),
            revoked_at: certificate.revoked_at.map(time),
        };
        Self { rows: certificates.into_iter().map(row).collect(), revoked }
    }

    /// How many have `role`.
    pub(super) fn count(&self, role: Role) -> usize {
        self.rows.iter().filter(|row| row.role == role).count()
    }
}

impl Present for Certificates {
    fn table(&self) -> String {
        let last = if self.revoked { "REVOKED" } else { "LAST SEEN" };
        let rows = self.rows.iter().map(|row| {
            let last = if self.revoked { &row.revoked_at } else { &row.last_seen_at };
            [
                row.name.clone(),
                row.role.to_string(),
                row.fingerprint.to_string()[..SHOWN_DIGITS].to_owned(),
                row.added_at.clone(),
                last.clone().unwrap_or_else(|| "never".into()),
            ]
        });
        table(["NAME", "ROLE", "FINGERPRINT", "ADDED", last], rows)
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let header = ["name", "role", "fingerprint", "sources", "added_at", "last_seen_at", "revoked_at"]
            .map(String::from);
        let rows = self.rows.iter().map(|row| {
            vec![
                row.name.clone(),
                row.role.to_string(),
                row.fingerprint.to_string(),
                csv_list(&row.sources),
                row.added_at.clone(),
                row.last_seen_at.clone().unwrap_or_default(),
                row.revoked_at.clone().unwrap_or_default(),
            ]
        });
        std::iter::once(header.to_vec()).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str, revoked_at: Option<i64>) -> CertificateInfo {
        CertificateInfo {
            certificate: String::new(),
            fingerprint: Fingerprint::of(name.as_bytes()),
            role: if name == "ci" { Role::Publisher } else { Role::Client },
            name: name.into(),
            sources: vec!["operator".into(), "relation:3".into()],
            added_at: 1_700_000_000,
            last_seen_at: (name == "ci").then_some(1_700_003_600),
            revoked_at,
        }
    }

    #[test]
    fn trusted_certificates_are_listed_in_every_format() {
        let list = vec![certificate("ci", None), certificate("ams, the first", None)];
        insta::assert_snapshot!(output::all_formats(&Certificates::new(list, false)));
    }

    #[test]
    fn revoked_certificates_are_listed_in_every_format() {
        let list = vec![certificate("ams", Some(1_700_007_200))];
        insta::assert_snapshot!(output::all_formats(&Certificates::new(list, true)));
    }

    #[test]
    fn a_certificate_out_of_date_is_pointed_out() {
        let folder = tempfile::tempdir().unwrap();
        let identity = aar_tls::Identity::load_or_create(folder.path(), &["ams".to_owned()]).unwrap();
        let certificate = identity.certificate();
        let (from, until) = (certificate.not_before(), certificate.not_after());
        assert!(out_of_date(certificate, from - 1).unwrap().contains(&time(from)));
        assert_eq!([from, until].map(|now| out_of_date(certificate, now)), [None, None]);
        assert!(out_of_date(certificate, until + 1).unwrap().contains(&time(until)));
    }

    #[test]
    fn adding_says_what_changed() {
        let say = |change| describe(&AddedCertificate { change, certificate: certificate("ams", None) });
        let tail = format!("client: ams ({})", Fingerprint::of(b"ams"));
        assert_eq!(say(TrustChange::Added), format!("trusted as {tail}"));
        assert_eq!(say(TrustChange::Unchanged), format!("already trusted as {tail}"));
        assert_eq!(say(TrustChange::RoleChanged), format!("role changed to {tail}"));
    }
}
