use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aar_model::Fingerprint;
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::ssl::SslContextBuilder;
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Name};
use zeroize::Zeroizing;

use crate::{Certificate, CertificateError};

const CERTIFICATE_FILE: &str = "server.crt";
const KEY_FILE: &str = "server.key";
/// The common name of a certificate where none of its names will do: X.509 allows 64 characters.
const DEFAULT_COMMON_NAME: &str = "aar";
const MAX_COMMON_NAME: usize = 64;
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;
const VALID_DAYS: i64 = 3652;

/// One's own certificate, the chain that goes with it, and the private key.
pub struct Identity {
    certificate: Certificate,
    chain: Vec<Certificate>,
    key: PKey<Private>,
}

/// Why an identity cannot be loaded or made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate file holds no certificate.
    #[error("cannot use `{path}` as a certificate")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// The key file holds no private key that can be used.
    #[error("cannot use `{path}` as a private key: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Certificate and key are both readable, but not a pair.
    #[error("the private key `{key}` does not belong to the certificate `{certificate}`")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// There is a certificate whose key is gone.
    #[error(
        "there is a certificate `{certificate}` but no private key `{key}`: restore the key or remove the certificate"
    )]
    KeyMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file, which does not exist.
        key: PathBuf,
    },
    /// A name that a certificate cannot carry.
    #[error("`{0}` is neither an IP address nor a DNS name")]
    Name(String),
    /// OpenSSL cannot make a key or certificate.
    #[error("cannot make a certificate")]
    Generate(#[from] ErrorStack),
}

impl Identity {
    /// Loads a certificate (PEM, with the chain to its issuer if any, or DER) and its private key (PEM: PKCS#1, SEC1 or
    /// PKCS#8, not encrypted).
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let mut chain = read_certificates(certificate)?;
        let private_key = read_key(key)?;
        let belongs = |candidate: &Certificate| {
            candidate.x509().public_key().is_ok_and(|public| public.public_eq(&private_key))
        };
        let Some(leaf) = chain.iter().position(belongs) else {
            return Err(IdentityError::Mismatch { certificate: certificate.into(), key: key.into() });
        };
        Ok(Self { certificate: chain.remove(leaf), chain, key: private_key })
    }

    /// Loads `server.crt` and `server.key` from `dir`, and makes them first where there is neither.
    ///
    /// `names` are the IP addresses and DNS names that the new certificate is for. A key without a certificate, such as
    /// a creation that was cut short leaves behind, gets a certificate; a certificate without its key is an error.
    pub fn load_or_create(dir: &Path, names: &[String]) -> Result<Self, IdentityError> {
        let (certificate, key) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        if !exists(&certificate)? {
            let private_key = if exists(&key)? {
                read_key(&key)?
            } else {
                let private_key = generate_key()?;
                let pem = Zeroizing::new(private_key.private_key_to_pem_pkcs8()?);
                write_durably(dir, KEY_FILE, 0o600, &pem)?;
                private_key
            };
            let common_name = names.iter().map(String::as_str).find(|name| name.len() <= MAX_COMMON_NAME);
            let made = self_sign(private_key, common_name.unwrap_or(DEFAULT_COMMON_NAME), names)?;
            write_durably(dir, CERTIFICATE_FILE, 0o600, made.certificate_pem().as_bytes())?;
        } else if !exists(&key)? {
            return Err(IdentityError::KeyMissing { certificate, key });
        }
        Self::load(&certificate, &key)
    }

    /// Makes an ECDSA P-256 key and a self-signed certificate that is valid from yesterday, for ten years, as server and
    /// as client. `names` are IP addresses and DNS names; a common name has at most 64 characters.
    pub fn generate(common_name: &str, names: &[String]) -> Result<Self, IdentityError> {
        self_sign(generate_key()?, common_name, names)
    }

    /// The SHA-256 of the certificate's DER.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    /// The certificate itself, the leaf.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificate and the chain after it, as PEM.
    pub fn certificate_pem(&self) -> String {
        std::iter::once(&self.certificate).chain(&self.chain).map(Certificate::to_pem).collect()
    }

    /// The private key as PKCS#8 PEM, not encrypted.
    pub fn private_key_pem(&self) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        Ok(Zeroizing::new(self.key.private_key_to_pem_pkcs8()?))
    }

    /// Makes `context` show this identity.
    pub(crate) fn install(&self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        context.set_certificate(self.certificate.x509())?;
        for certificate in &self.chain {
            context.add_extra_chain_cert(certificate.x509().clone())?;
        }
        context.set_private_key(&self.key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn generate_key() -> Result<PKey<Private>, ErrorStack> {
    PKey::ec_gen("prime256v1")
}

fn self_sign(key: PKey<Private>, common_name: &str, names: &[String]) -> Result<Identity, IdentityError> {
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        if name.parse::<IpAddr>().is_ok() {
            alternatives.ip(name);
        } else if is_dns_name(name) {
            alternatives.dns(name);
        } else {
            return Err(IdentityError::Name(name.clone()));
        }
    }

    let mut subject = X509Name::builder()?;
    subject.append_entry_by_text("CN", common_name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(128, MsbOption::MAYBE_ZERO, false)?;
    let now = unix_now();

    let mut builder = X509::builder()?;
    builder.set_version(2)?; // counted from zero: X.509 v3
    builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(&key)?;
    // Clocks of clients may be behind.
    builder.set_not_before(&*Asn1Time::from_unix(now - SECONDS_PER_DAY)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(now + VALID_DAYS * SECONDS_PER_DAY)?)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build()?)?;
    let key_identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(key_identifier)?;
    if !names.is_empty() {
        let alternatives = alternatives.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(alternatives)?;
    }
    builder.sign(&key, MessageDigest::sha256())?;

    let certificate = Certificate::from_x509(builder.build()).map_err(|_| ErrorStack::get())?;
    Ok(Identity { certificate, chain: Vec::new(), key })
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.strip_prefix("*.").unwrap_or(name).split('.').all(label)
}

fn unix_now() -> i64 {
    let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, IdentityError> {
    let bytes = fs::read(path).map_err(|source| IdentityError::Read { path: path.into(), source })?;
    Certificate::read_all(&bytes).map_err(|source| IdentityError::Certificate { path: path.into(), source })
}

fn read_key(path: &Path) -> Result<PKey<Private>, IdentityError> {
    let bytes = fs::read(path).map_err(|source| IdentityError::Read { path: path.into(), source })?;
    let bytes = Zeroizing::new(bytes);
    let mut encrypted = false;
    // Without this callback OpenSSL would ask for a passphrase on the terminal.
    let key = PKey::private_key_from_pem_callback(&bytes, |_| {
        encrypted = true;
        Ok(0)
    });
    key.map_err(|_| {
        let holds = |label: &str| bytes.windows(label.len()).any(|window| window == label.as_bytes());
        let reason = if encrypted {
            "it is encrypted with a passphrase; give it without"
        } else if bytes.trim_ascii().is_empty() {
            "it is empty"
        } else if holds("PRIVATE KEY-----") {
            "it is damaged"
        } else if holds("PUBLIC KEY-----") {
            "it is a public key"
        } else if holds("BEGIN CERTIFICATE-----") {
            "it is a certificate"
        } else {
            "it is not PEM"
        };
        IdentityError::Key { path: path.into(), reason }
    })
}

fn exists(path: &Path) -> Result<bool, IdentityError> {
    path.try_exists().map_err(|source| IdentityError::Read { path: path.into(), source })
}

/// Writes a file so that after a crash at any point there is all of it or nothing under its name.
fn write_durably(dir: &Path, name: &str, mode: u32, bytes: &[u8]) -> Result<(), IdentityError> {
    let write = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let aside = dir.join(format!("{name}.new"));
        // A leftover might have been made with other permissions.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, dir.join(name))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| IdentityError::Write { path: dir.join(name), source })
}
