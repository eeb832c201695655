//! What the other side of a relation tells. It is not to be trusted, and comes in several dialects.

use std::fmt;

use aar_model::{Fingerprint, Role};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::tools::Data;

/// The longest certificate text that is read, in bytes: more than any chain has.
const LONGEST: usize = 64 * 1024;
/// How many certificates a unit may bring.
const MOST: usize = 16;

/// A relation on one of the endpoints that bring certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// As Juju names it: `client:7`.
    pub id: String,
    /// What its certificates may do, which the endpoint decides.
    pub role: Role,
    /// Under which address the other side reaches this unit.
    pub address: String,
    /// The remote units and what each tells.
    pub units: Vec<(String, Told)>,
}

impl Relation {
    /// Its number, by which `juju` takes it.
    pub fn number(&self) -> &str {
        self.id.rsplit(':').next().unwrap_or_default()
    }

    /// Who brings its certificates, for the trust store.
    pub fn source(&self) -> String {
        format!("{SOURCE}{}", self.number())
    }
}

/// What the names of sources begin with that are relations.
pub const SOURCE: &str = "relation:";

/// What a remote unit tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Nothing yet.
    Nothing,
    /// Its certificates; at least one.
    Certificates(Vec<Certificate>),
    /// That it wants another role than the endpoint gives, or one that there is none of.
    OtherMode(String),
    /// Something that is no certificate.
    Garbage,
}

/// A certificate. That it is one beyond its outer form, only the registry finds out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certificate {
    /// SHA-256 over the DER.
    pub fingerprint: Fingerprint,
    der: Vec<u8>,
}

impl Certificate {
    /// Reads all certificates in a text: PEM, also in one line, or base64 of DER. Other blocks are passed over. None where
    /// there is no certificate, or one that is damaged.
    pub fn read_all(text: &str) -> Option<Vec<Self>> {
        if text.len() > LONGEST {
            return None;
        }
        let mut found = Vec::new();
        if text.contains("-----BEGIN") {
            for block in text.split(BEGIN).skip(1) {
                let certificate = Self::from_base64(block.split_once(END)?.0)?;
                if !found.contains(&certificate) {
                    found.push(certificate);
                }
            }
        } else {
            found.push(Self::from_base64(text)?);
        }
        (1..=MOST).contains(&found.len()).then_some(found)
    }

    fn from_base64(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(text).ok()?;
        is_sequence(&der).then(|| Self { fingerprint: Fingerprint::of(&der), der })
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        let mut pem = format!("{BEGIN}\n");
        let text = STANDARD.encode(&self.der);
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem + END + "\n"
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint.fmt(f)
    }
}

/// Whether this is one SEQUENCE of ASN.1 and nothing after it, as every certificate is.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else { return false };
    let (length, body) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 if rest.len() >= usize::from(length & 0x7f) => {
            let (digits, body) = rest.split_at(usize::from(length & 0x7f));
            (digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)), body)
        }
        _ => return false,
    };
    body.len() == length
}

/// Reads what a remote unit has put into the relation, for an endpoint that gives `role`.
pub fn read(data: &Data, role: Role) -> Told {
    let mode = data.get("mode").and_then(|value| plain(value));
    if let Some(mode) = mode.filter(|mode| mode.trim() != role.as_str()) {
        return Told::OtherMode(mode.trim().chars().take(32).collect());
    }
    match data.get("certificate").and_then(|value| plain(value)) {
        None => Told::Nothing,
        Some(text) => {
            let text = text.replace("\\r", "").replace("\\n", "\n");
            Certificate::read_all(&text).map_or(Told::Garbage, Told::Certificates)
        }
    }
}

/// The value itself: some charms write JSON, some of them twice, some just quotes around. None where it is empty.
fn plain(value: &str) -> Option<String> {
    let mut value = value.trim().to_owned();
    for _ in 0..3 {
        match serde_json::from_str::<Option<String>>(&value) {
            Ok(inner) => inner.unwrap_or_default().trim().clone_into(&mut value),
            Err(_) => break,
        }
    }
    let value = value.trim_matches('"').trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The outer form of a certificate around `content`.
    pub(crate) fn certificate(content: &[u8]) -> Certificate {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let mut der = vec![0x30, 0x82, length[0], length[1]];
        der.extend(content);
        assert!(is_sequence(&der));
        Certificate { fingerprint: Fingerprint::of(&der), der }
    }

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_certificate_is_read_in_every_dialect() {
        let certificate = certificate(&[7; 700]);
        let pem = certificate.to_pem();
        let json = serde_json::to_string(&pem).unwrap();
        let dialects = [
            pem.clone(),
            json.clone(),
            serde_json::to_string(&json).unwrap(),
            pem.replace('\n', "\\n"),
            pem.replace('\n', "\r\n"),
            format!("\"{}\"", pem.replace('\n', "\\r\\n")),
            format!("\"{pem}\""),
            pem.replace('\n', " "),
            STANDARD.encode(&certificate.der),
            format!(
                "subject=CN = ams\n{pem}-----BEGIN EC PARAMETERS-----\nAA==\n-----END EC PARAMETERS-----\n"
            ),
            // The same one twice.
            format!("{pem}{pem}"),
        ];
        for dialect in &dialects {
            let told = read(&data(&[("certificate", dialect)]), Role::Client);
            assert_eq!(told, Told::Certificates(vec![certificate.clone()]), "{dialect}");
        }
    }

    #[test]
    fn every_certificate_of_a_unit_counts() {
        let all = [certificate(b"one"), certificate(b"two")];
        let pem = all[0].to_pem() + &all[1].to_pem();
        assert_eq!(read(&data(&[("certificate", &pem)]), Role::Client), Told::Certificates(all.into()));
    }

    #[test]
    fn the_mode_has_to_be_that_of_the_endpoint_if_there_is_one() {
        let pem = certificate(b"ams").to_pem();
        for mode in
            ["publisher", "\"publisher\"", "\"\\\"publisher\\\"\"", " publisher\n", "", "\"\"", "null"]
        {
            let told = read(&data(&[("certificate", &pem), ("mode", mode)]), Role::Publisher);
            assert!(matches!(told, Told::Certificates(_)), "{mode}: {told:?}");
        }
        for mode in ["client", "\"client\"", "Publisher", "admin"] {
            let told = read(&data(&[("certificate", &pem), ("mode", mode)]), Role::Publisher);
            assert_eq!(told, Told::OtherMode(mode.trim_matches('"').into()));
        }
    }

    #[test]
    fn without_a_certificate_nothing_is_told_yet() {
        for pairs in [&[][..], &[("mode", "client")], &[("certificate", "")], &[("certificate", "null")]] {
            assert_eq!(read(&data(pairs), Role::Client), Told::Nothing, "{pairs:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_garbage() {
        let pem = certificate(b"ams").to_pem();
        let garbage = [
            "hello".to_owned(),
            "{\"certificate\": 1}".to_owned(),
            pem.replace("CERTIFICATE", "PRIVATE KEY"),
            pem.replace(END, ""),
            pem.replace("MII", "M_I"),
            STANDARD.encode(b"not DER"),
            STANDARD.encode([0x30, 0x05, 0x00]),
            pem.repeat(2000),
            (0..20_u8).map(|n| certificate(&[n]).to_pem()).collect(),
        ];
        for text in garbage {
            assert_eq!(read(&data(&[("certificate", &text)]), Role::Client), Told::Garbage, "{text:.100}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fail(certificate in "\\PC*", mode in "\\PC*") {
            let _ = read(&data(&[("certificate", &certificate), ("mode", &mode)]), Role::Client);
        }

        #[test]
        fn no_bytes_in_pem_make_the_reader_fail(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let pem = format!("{BEGIN}\n{}\n{END}", STANDARD.encode(&der));
            let told = read(&data(&[("certificate", &pem)]), Role::Client);
            prop_assert_eq!(matches!(told, Told::Certificates(_)), is_sequence(&der));
        }

        #[test]
        fn a_certificate_is_the_same_after_every_encoding(content in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let one = certificate(&content);
            prop_assert_eq!(Certificate::read_all(&one.to_pem()), Some(vec![one]));
        }
    }
}
