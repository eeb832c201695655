use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;

/// The size of RSA keys that CloudFront takes.
const RSA_BITS: u32 = 2048;

/// A key that signs for CloudFront.
pub(crate) struct Key {
    key: PKey<Private>,
    hash_algorithm: HashAlgorithm,
}

/// What of a policy is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// Its SHA-1, what CloudFront supposes.
    Sha1,
    /// Its SHA-256, which the URL has to say.
    Sha256,
}

/// Why a private key cannot sign for CloudFront.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not PEM.
    #[error("this is not PEM, which begins with `-----BEGIN PRIVATE KEY-----`")]
    NotPem,
    /// It is the other half.
    #[error("this is a public key: give the private key that belongs to it")]
    PublicKey,
    /// It is not a key.
    #[error("this is a certificate: give a private key, whose public key CloudFront has")]
    Certificate,
    /// Nobody is there to ask for the passphrase.
    #[error(
        "this private key is encrypted with a passphrase: give it without, as `openssl pkey -in key.pem` prints it"
    )]
    Encrypted,
    /// OpenSSL does not read it.
    #[error(
        "this private key is in OpenSSH's own format: convert a copy with `ssh-keygen -p -m PKCS8 -f key`"
    )]
    OpenSsh,
    /// It has the form of a key and is none.
    #[error("this private key is damaged: copy all of its lines, from `-----BEGIN` to `-----END`")]
    Damaged(#[source] ErrorStack),
    /// It is for another algorithm.
    #[error("this private key is of the kind {0}: CloudFront takes RSA of 2048 bits and ECDSA on P-256")]
    Kind(String),
    /// It is an ECDSA key of another strength.
    #[error("this private key is on the curve {0}: CloudFront takes ECDSA on P-256 (prime256v1) only")]
    Curve(String),
}

/// What is doubtful about a private key that can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// An RSA key of so many bits.
    RsaBits(u32),
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::RsaBits(bits) = self;
        write!(f, "the RSA key that signs for CloudFront has {bits} bits: CloudFront takes {RSA_BITS}")
    }
}

impl Key {
    /// Reads a key from PEM.
    pub(crate) fn from_pem(
        pem: &str,
        hash_algorithm: HashAlgorithm,
    ) -> Result<(Self, Option<Warning>), KeyError> {
        check_form(pem)?;
        // Without this callback OpenSSL would ask for a passphrase on the terminal.
        let key =
            PKey::private_key_from_pem_callback(pem.as_bytes(), |_| Ok(0)).map_err(KeyError::Damaged)?;
        let mut warning = None;
        match key.id() {
            Id::RSA => {
                let bits = key.bits();
                warning = (bits != RSA_BITS).then_some(Warning::RsaBits(bits));
            }
            Id::EC => {
                let curve = key.ec_key().map_err(KeyError::Damaged)?.group().curve_name();
                if curve != Some(Nid::X9_62_PRIME256V1) {
                    return Err(KeyError::Curve(name(curve)));
                }
            }
            other => return Err(KeyError::Kind(name(Some(Nid::from_raw(other.as_raw()))))),
        }
        Ok((Self { key, hash_algorithm }, warning))
    }

    pub(crate) fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash_algorithm
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let digest = match self.hash_algorithm {
            HashAlgorithm::Sha1 => MessageDigest::sha1(),
            HashAlgorithm::Sha256 => MessageDigest::sha256(),
        };
        Signer::new(digest, &self.key)?.sign_oneshot_to_vec(text)
    }
}

/// Finds out what PEM holds instead of a key that can be read; OpenSSL would only say that there is none.
fn check_form(pem: &str) -> Result<(), KeyError> {
    let labels: Vec<_> =
        pem.split("-----BEGIN ").skip(1).filter_map(|rest| Some(rest.split_once("-----")?.0)).collect();
    let holds = |end: &str| labels.iter().any(|label| label.ends_with(end));
    if holds("ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        Err(KeyError::Encrypted)
    } else if holds("OPENSSH PRIVATE KEY") {
        Err(KeyError::OpenSsh)
    } else if holds("PRIVATE KEY") {
        Ok(())
    } else if holds("PUBLIC KEY") {
        Err(KeyError::PublicKey)
    } else if holds("CERTIFICATE") {
        Err(KeyError::Certificate)
    } else {
        Err(KeyError::NotPem)
    }
}

fn name(nid: Option<Nid>) -> String {
    nid.and_then(|nid| nid.short_name().ok()).unwrap_or("unknown").to_owned()
}
