//! The keys and self-signed certificates that all servers and clients share.

use std::{
    fs::OpenOptions,
    io::Write,
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{X509, X509NameBuilder, extension::SubjectAlternativeName},
};

/// What kind of key a server has.
#[derive(Clone, Copy)]
pub(crate) enum KeyType {
    /// ECDSA on P-256.
    EcdsaP256,
    /// RSA of 2048 bits.
    Rsa2048,
}

/// The server's and the client's keys.
pub(crate) struct Keys {
    /// What every server shows.
    pub(crate) server: KeyFiles,
    /// What every client shows; ECDSA P-256.
    pub(crate) client: KeyFiles,
}

/// A key and its certificate, PEM.
pub(crate) struct KeyFiles {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// The private key, PKCS#8.
    pub(crate) key: PathBuf,
}

impl Keys {
    /// Makes new keys in `dir`.
    pub(crate) fn generate(dir: &Path, server: KeyType) -> Result<Self> {
        Ok(Self {
            server: KeyFiles::generate(dir, "server", server)?,
            client: KeyFiles::generate(dir, "client", KeyType::EcdsaP256)?,
        })
    }
}

impl KeyFiles {
    fn generate(dir: &Path, name: &str, key_type: KeyType) -> Result<Self> {
        let key = match key_type {
            KeyType::EcdsaP256 => {
                PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?
            }
            KeyType::Rsa2048 => PKey::from_rsa(Rsa::generate(2048)?)?,
        };
        let files =
            Self { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
        write_private(&files.key, &key.private_key_to_pem_pkcs8()?)?;
        write_private(&files.certificate, &self_signed(name, &key)?.to_pem()?)?;
        Ok(files)
    }
}

fn self_signed(common_name: &str, key: &PKey<Private>) -> Result<X509> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;

    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_serial_number(&*serial.to_asn1_integer()?)?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    certificate.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    certificate.set_not_after(&*Asn1Time::days_from_now(1)?)?;
    certificate.set_pubkey(key)?;
    let names = SubjectAlternativeName::new()
        .ip(&Ipv4Addr::LOCALHOST.to_string())
        .build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(names)?;
    certificate.sign(key, MessageDigest::sha256())?;
    Ok(certificate.build())
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
