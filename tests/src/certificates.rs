//! Keys and certificates of those who call, made with OpenSSL.

use std::path::{Path, PathBuf};

use aar_model::Fingerprint;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Extension, X509Name};

/// Somebody with a key and a certificate, which also lie as files where programs can read them.
#[derive(Debug, Clone)]
pub struct Person {
    /// The certificate.
    pub certificate: X509,
    /// The private key.
    pub key: PKey<Private>,
    /// PEM file of the certificate.
    pub certificate_file: PathBuf,
    /// PEM file of the key.
    pub key_file: PathBuf,
}

/// How somebody's certificate is to be.
#[derive(Debug)]
pub struct PersonBuilder {
    name: String,
    rsa: bool,
    /// Seconds from now.
    validity: std::ops::Range<i64>,
    issuer: Option<(X509, PKey<Private>)>,
    /// Bytes of a comment.
    padding: usize,
}

impl Person {
    /// An ECDSA P-256 key and a self-signed certificate that is valid; their files lie in `dir`.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self::builder(name).build(dir)
    }

    /// Somebody whose certificate is special.
    pub fn builder(name: &str) -> PersonBuilder {
        PersonBuilder { name: name.into(), rsa: false, validity: -3600..86_400, issuer: None, padding: 0 }
    }

    /// SHA-256 over the certificate's DER.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate.to_der().unwrap())
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }
}

impl PersonBuilder {
    /// An RSA key of 2048 bits instead of an ECDSA one.
    #[must_use]
    pub fn rsa(mut self) -> Self {
        self.rsa = true;
        self
    }

    /// Valid from and to so many seconds from now.
    #[must_use]
    pub fn validity(mut self, validity: std::ops::Range<i64>) -> Self {
        self.validity = validity;
        self
    }

    /// Signed by somebody else.
    #[must_use]
    pub fn issued_by(mut self, issuer: &Person) -> Self {
        self.issuer = Some((issuer.certificate.clone(), issuer.key.clone()));
        self
    }

    /// With a comment of so many bytes, which makes it large.
    #[must_use]
    pub fn padding(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// Makes key and certificate, and their files in `dir`.
    pub fn build(self, dir: &Path) -> Person {
        let key = if self.rsa {
            PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
        } else {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
            PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
        };
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, &self.name).unwrap();
        let name = name.build();
        let mut serial = BigNum::new().unwrap();
        serial.rand(127, MsbOption::MAYBE_ZERO, false).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        let time = |offset| Asn1Time::from_unix(now + offset).unwrap();

        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&time(self.validity.start)).unwrap();
        builder.set_not_after(&time(self.validity.end)).unwrap();
        if self.padding > 0 {
            let comment = Asn1Object::from_str("2.16.840.1.113730.1.13").unwrap();
            let text = Asn1OctetString::new_from_bytes(&vec![b'x'; self.padding]).unwrap();
            builder.append_extension(X509Extension::new_from_der(&comment, false, &text).unwrap()).unwrap();
        }
        let (issuer, issuer_key) = match &self.issuer {
            Some((certificate, key)) => (certificate.subject_name(), key),
            None => (&*name, &key),
        };
        builder.set_issuer_name(issuer).unwrap();
        builder.sign(issuer_key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let certificate_file = dir.join(format!("{}.crt", self.name));
        let key_file = dir.join(format!("{}.key", self.name));
        std::fs::write(&certificate_file, certificate.to_pem().unwrap()).unwrap();
        std::fs::write(&key_file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        Person { certificate, key, certificate_file, key_file }
    }
}
