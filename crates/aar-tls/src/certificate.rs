use std::fmt;

use aar_model::Fingerprint;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::base64;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509Ref, X509Req};

/// The longest input that is read for certificates, in bytes.
const MAX_INPUT: usize = 64 * 1024;
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// An X.509 certificate.
#[derive(Clone)]
pub struct Certificate {
    x509: X509,
    der: Vec<u8>,
    facts: Peer,
}

/// Who is at the other end: what matters of the leaf certificate that a peer has proved to own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The SHA-256 of the certificate's DER.
    pub fingerprint: Fingerprint,
    /// When the certificate becomes valid, in Unix seconds.
    pub not_before: i64,
    /// When it ceases to be valid, in Unix seconds.
    pub not_after: i64,
    /// The subject's common name; control characters are replaced.
    pub common_name: Option<String>,
}

/// Why something is not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is nothing but white space.
    #[error("there is no certificate: the input is empty")]
    Empty,
    /// The input is longer than any certificate chain.
    #[error("the input is longer than 64 KiB, too long for certificates")]
    TooLarge,
    /// Something else was given.
    #[error("this is {0}, not a certificate")]
    SomethingElse(&'static str),
    /// A PEM block begins and does not end.
    #[error("the certificate is cut off: a line `-----END CERTIFICATE-----` is missing")]
    CutOff,
    /// Nothing that can be read as a certificate.
    #[error("this is not a certificate in PEM, DER, or base64 of DER")]
    Malformed,
}

impl Certificate {
    /// Reads one or several certificates from PEM (with any text around the blocks), DER, or base64 of DER.
    ///
    /// Blocks of other kinds are passed over where there is a certificate too.
    pub fn read_all(input: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if input.len() > MAX_INPUT {
            return Err(CertificateError::TooLarge);
        }
        // DER is told apart before white space is trimmed: it may end in any byte.
        if let Ok(certificate) = Self::from_der(input) {
            return Ok(vec![certificate]);
        }
        let text = input.trim_ascii();
        if text.is_empty() {
            return Err(CertificateError::Empty);
        }
        let Ok(text) = std::str::from_utf8(text) else { return Err(not_a_certificate(input)) };
        if text.contains(PEM_BEGIN) {
            return Self::read_pem(text);
        }
        let der = decode_base64(text).ok_or(CertificateError::Malformed)?;
        Self::from_der(&der).map(|certificate| vec![certificate]).map_err(|_| not_a_certificate(&der))
    }

    fn read_pem(text: &str) -> Result<Vec<Self>, CertificateError> {
        let mut certificates = Vec::new();
        let mut something_else = None;
        for (label, body) in pem_blocks(text) {
            match label {
                "CERTIFICATE" | "X509 CERTIFICATE" => {
                    let der = decode_base64(body.ok_or(CertificateError::CutOff)?);
                    certificates.push(Self::from_der(&der.ok_or(CertificateError::Malformed)?)?);
                }
                _ => something_else = something_else.or(Some(describe_pem(label))),
            }
        }
        if certificates.is_empty() {
            return Err(something_else.map_or(CertificateError::Malformed, CertificateError::SomethingElse));
        }
        Ok(certificates)
    }

    fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Self::from_x509(X509::from_der(der).map_err(|_| CertificateError::Malformed)?)?;
        // OpenSSL does not mind bytes after the end.
        if certificate.der == der { Ok(certificate) } else { Err(CertificateError::Malformed) }
    }

    pub(crate) fn from_x509(x509: X509) -> Result<Self, CertificateError> {
        let der = x509.to_der().map_err(|_| CertificateError::Malformed)?;
        let facts = Peer::new(&x509, &der)?;
        Ok(Self { x509, der, facts })
    }

    /// The certificate as it goes over the wire.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of the DER.
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// The subject's common name; control characters are replaced.
    pub fn common_name(&self) -> Option<&str> {
        self.facts.common_name.as_deref()
    }

    /// When it becomes valid, in Unix seconds.
    pub fn not_before(&self) -> i64 {
        self.facts.not_before
    }

    /// When it ceases to be valid, in Unix seconds.
    pub fn not_after(&self) -> i64 {
        self.facts.not_after
    }

    /// One PEM block, ending in a new line.
    pub fn to_pem(&self) -> String {
        let body = base64::encode_block(&self.der);
        let lines = body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
        format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
    }

    pub(crate) fn x509(&self) -> &X509 {
        &self.x509
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.facts).finish()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl Peer {
    pub(crate) fn new(x509: &X509Ref, der: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self {
            fingerprint: Fingerprint::of(der),
            not_before: unix_seconds(x509.not_before())?,
            not_after: unix_seconds(x509.not_after())?,
            common_name: common_name(x509),
        })
    }
}

fn unix_seconds(time: &Asn1TimeRef) -> Result<i64, CertificateError> {
    let since_epoch =
        Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time)).map_err(|_| CertificateError::Malformed)?;
    Ok(i64::from(since_epoch.days) * SECONDS_PER_DAY + i64::from(since_epoch.secs))
}

fn common_name(x509: &X509Ref) -> Option<String> {
    let entry = x509.subject_name().entries_by_nid(Nid::COMMONNAME).next()?;
    let text = entry.data().to_string().ok()?;
    // The name ends up in logs and on terminals, and the peer chose it.
    Some(text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect())
}

const PEM_BEGIN: &str = "-----BEGIN ";

/// The label of each block with what stands between its two lines, or nothing where the second is missing.
fn pem_blocks(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(PEM_BEGIN).skip(1).filter_map(|block| {
        let (label, rest) = block.split_once("-----")?;
        Some((label, rest.split_once("-----END ").map(|(body, _)| body)))
    })
}

fn describe_pem(label: &str) -> &'static str {
    match label {
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => CERTIFICATE_REQUEST,
        _ if label.ends_with("PRIVATE KEY") => PRIVATE_KEY,
        _ if label.ends_with("PUBLIC KEY") => PUBLIC_KEY,
        _ => "PEM of another kind",
    }
}

const CERTIFICATE_REQUEST: &str = "a certificate request";
const PRIVATE_KEY: &str = "a private key";
const PUBLIC_KEY: &str = "a public key";

fn not_a_certificate(der: &[u8]) -> CertificateError {
    if X509Req::from_der(der).is_ok() {
        CertificateError::SomethingElse(CERTIFICATE_REQUEST)
    } else if PKey::private_key_from_der(der).is_ok() {
        CertificateError::SomethingElse(PRIVATE_KEY)
    } else if PKey::public_key_from_der(der).is_ok() {
        CertificateError::SomethingElse(PUBLIC_KEY)
    } else {
        CertificateError::Malformed
    }
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split_ascii_whitespace().collect();
    base64::decode_block(&digits).ok()
}
