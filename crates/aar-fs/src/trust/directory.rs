//! The directory: `{clients,publishers,revoked}/<fingerprint>.crt`, a certificate in PEM, and `.json` beside it. Where the
//! certificate lies is the truth; it gets there, and from one place to another, by one rename.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aar_model::{CertificateInfo, Fingerprint, Role};
use aar_store::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pem::{EncodeConfig, LineEnding, Pem};
use tracing::warn;

use super::entry::{Certificate, Details, Place};
use crate::durable::{TEMPORARY, create_dirs, open_file, remove_file, sync_dir, write_file};
use crate::error::error;

/// A certificate's PEM, and more than any has.
const LARGEST: u64 = 256 * 1024;
const LABEL: &str = "CERTIFICATE";

#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads all certificates, and mends what a crash or a hand left behind.
    pub(super) fn load(&self) -> Result<HashMap<Fingerprint, Certificate>> {
        let mut known = HashMap::new();
        for place in Place::ALL {
            let folder = self.path.join(place.folder());
            create_dirs(&folder).map_err(|source| error("create", &folder, source))?;
            self.load_place(place, &folder, &mut known).map_err(|source| error("read", &folder, source))?;
        }
        Ok(known)
    }

    fn load_place(
        &self,
        place: Place,
        folder: &Path,
        known: &mut HashMap<Fingerprint, Certificate>,
    ) -> io::Result<()> {
        let mut certificates = HashSet::new();
        let mut details = HashSet::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            match parse(&path) {
                Some((fingerprint, "crt")) => drop(certificates.insert(fingerprint)),
                Some((fingerprint, "json")) => drop(details.insert(fingerprint)),
                _ if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY)) => {
                    remove_file(&path)?;
                }
                _ => warn!(path = %path.display(), "passed over a file that the trust store does not know"),
            }
        }
        // The rename that was to follow did not happen, or has happened long since.
        for stray in details.difference(&certificates) {
            remove_file(&self.json(place, *stray))?;
        }
        for fingerprint in certificates {
            let Entry::Vacant(unknown) = known.entry(fingerprint) else {
                let path = self.crt(place, fingerprint);
                warn!(path = %path.display(), "removed a certificate that another place decides about");
                remove_file(&path)?;
                remove_file(&self.json(place, fingerprint))?;
                continue;
            };
            if let Some(certificate) = self.load_certificate(place, fingerprint)? {
                unknown.insert(certificate);
            }
        }
        Ok(())
    }

    fn load_certificate(&self, place: Place, fingerprint: Fingerprint) -> io::Result<Option<Certificate>> {
        let path = self.crt(place, fingerprint);
        let Some((text, modified)) = read(&path)? else { return Ok(None) };
        let certificate = match (decode(&text, fingerprint), place) {
            (Ok(certificate), _) => certificate,
            // Its name alone is enough to keep it out.
            (Err(problem), Place::Revoked) => {
                warn!(path = %path.display(), problem, "a revoked certificate is damaged");
                String::new()
            }
            (Err(problem), Place::Clients | Place::Publishers) => {
                warn!(path = %path.display(), problem, "passed over a certificate");
                return Ok(None);
            }
        };
        let mut details = self.load_details(place, fingerprint)?;
        let role = match place {
            Place::Clients => Role::Client,
            Place::Publishers => Role::Publisher,
            Place::Revoked => details.role.unwrap_or(Role::Client),
        };
        // Somebody has moved it, which is their word on all of it.
        if details.sources.role() != Some(role) {
            details.sources.give_all(role);
        }
        let info = CertificateInfo {
            certificate,
            fingerprint,
            role,
            name: details.name,
            sources: details.sources.names(),
            added_at: details.added_at.unwrap_or(modified),
            last_seen_at: details.last_seen_at,
            revoked_at: (place == Place::Revoked).then_some(details.revoked_at.unwrap_or(modified)),
        };
        Ok(Some(Certificate { info, sources: details.sources }))
    }

    fn load_details(&self, place: Place, fingerprint: Fingerprint) -> io::Result<Details> {
        let path = self.json(place, fingerprint);
        let Some((text, _)) = read(&path)? else { return Ok(Details::default()) };
        Ok(serde_json::from_slice(&text).unwrap_or_else(|problem| {
            warn!(path = %path.display(), %problem, "passed over damaged details of a certificate");
            Details::default()
        }))
    }

    /// Writes a certificate that is in no place yet.
    pub(super) fn add(&self, certificate: &Certificate, der: &[u8]) -> Result<()> {
        self.write_details(certificate)?;
        let path = self.crt(Place::of(&certificate.info), certificate.info.fingerprint);
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let text = pem::encode_config(&Pem::new(LABEL, der), config);
        write_file(&path, text.as_bytes(), SystemTime::now())
            .map_err(|source| error("write", &path, source))?;
        Ok(())
    }

    /// Writes other sources of a certificate. Answers whether that changes its role.
    pub(super) fn write_sources(&self, before: &Certificate, now: &Certificate) -> Result<bool> {
        if before.info.role != now.info.role {
            self.change_place(Place::of(&before.info), now)?;
            return Ok(true);
        }
        if before.sources != now.sources {
            self.write_details(now)?;
        }
        Ok(false)
    }

    /// Moves a certificate to the place where it says that it is.
    pub(super) fn change_place(&self, from: Place, certificate: &Certificate) -> Result<()> {
        self.write_details(certificate)?;
        let info = &certificate.info;
        let old = self.crt(from, info.fingerprint);
        let new = self.crt(Place::of(info), info.fingerprint);
        fs::rename(&old, &new)
            .and_then(|()| sync_dir(&self.path.join(Place::of(info).folder())))
            .and_then(|()| sync_dir(&self.path.join(from.folder())))
            .map_err(|source| error("move", &old, source))?;
        self.remove_details(from, info.fingerprint)
    }

    /// Removes a certificate.
    pub(super) fn remove(&self, info: &CertificateInfo) -> Result<()> {
        let path = self.crt(Place::of(info), info.fingerprint);
        remove_file(&path).map_err(|source| error("remove", &path, source))?;
        self.remove_details(Place::of(info), info.fingerprint)
    }

    /// Writes what is known of a certificate, beside it.
    pub(super) fn write_details(&self, certificate: &Certificate) -> Result<()> {
        let path = self.json(Place::of(&certificate.info), certificate.info.fingerprint);
        let written = serde_json::to_vec(&Details::from(certificate))
            .map_err(io::Error::other)
            .and_then(|text| write_file(&path, &text, SystemTime::now()));
        written.map(drop).map_err(|source| error("write", &path, source))
    }

    fn remove_details(&self, place: Place, fingerprint: Fingerprint) -> Result<()> {
        let path = self.json(place, fingerprint);
        remove_file(&path).map_err(|source| error("remove", &path, source))
    }

    fn crt(&self, place: Place, fingerprint: Fingerprint) -> PathBuf {
        self.path.join(place.folder()).join(format!("{fingerprint}.crt"))
    }

    fn json(&self, place: Place, fingerprint: Fingerprint) -> PathBuf {
        self.path.join(place.folder()).join(format!("{fingerprint}.json"))
    }
}

/// The fingerprint and the extension in a file's name, where it is spelled as the store does.
fn parse(path: &Path) -> Option<(Fingerprint, &str)> {
    let (stem, extension) = path.file_name()?.to_str()?.split_once('.')?;
    let fingerprint: Fingerprint = stem.parse().ok()?;
    (fingerprint.to_string() == stem).then_some((fingerprint, extension))
}

/// The DER in base64 of the certificate that `text` holds in PEM.
fn decode(text: &[u8], fingerprint: Fingerprint) -> std::result::Result<String, &'static str> {
    let certificate =
        pem::parse(text).ok().filter(|pem| pem.tag() == LABEL).ok_or("it is no certificate in PEM")?;
    let der = certificate.contents();
    if Fingerprint::of(der) == fingerprint {
        Ok(STANDARD.encode(der))
    } else {
        Err("its SHA-256 is not its name")
    }
}

/// What is in a file, and when it was changed in Unix seconds, where it is there. A link or a pipe counts as empty.
fn read(path: &Path) -> io::Result<Option<(Vec<u8>, i64)>> {
    let mut text = Vec::new();
    match open_file(path) {
        Ok((file, stat)) => {
            file.take(LARGEST).read_to_end(&mut text)?;
            Ok(Some((text, stat.st_mtime)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::Other => Ok(Some((text, 0))),
        Err(error) => Err(error),
    }
}
