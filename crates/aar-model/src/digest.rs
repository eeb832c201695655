//! SHA-256 in its two uses: the digest that names an image and the fingerprint that names a certificate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use sha2::digest::common::hazmat::SerializableState as _;

/// The SHA-256 of an image, the name under which it is stored. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// The SHA-256 over a certificate's DER, by which a peer is pinned. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

/// Not 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is written as 64 hex digits")]
pub struct InvalidDigest;

fn parse_hex(text: &str) -> Result<[u8; 32], InvalidDigest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidDigest)?;
    Ok(bytes)
}

macro_rules! sha256_newtype {
    ($name:ident) => {
        impl $name {
            /// The 32 bytes of the hash.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The hash of `bytes`.
            pub fn of(bytes: &[u8]) -> Self {
                Self(sha2::Sha256::digest(bytes).into())
            }
        }

        impl FromStr for $name {
            type Err = InvalidDigest;

            fn from_str(text: &str) -> Result<Self, InvalidDigest> {
                parse_hex(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidDigest;

            fn try_from(text: String) -> Result<Self, InvalidDigest> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(hash: $name) -> Self {
                hash.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 64];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

sha256_newtype!(Digest);
sha256_newtype!(Fingerprint);

/// Computes a [`Digest`] over bytes that arrive in pieces. Serialised, it goes on in another process where it was.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hasher(sha2::Sha256);

/// Not the state of a hasher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not the state of a SHA-256 that is being computed")]
pub struct InvalidState;

impl Hasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl From<Hasher> for String {
    fn from(hasher: Hasher) -> Self {
        hex::encode(hasher.0.serialize())
    }
}

impl TryFrom<String> for Hasher {
    type Error = InvalidState;

    fn try_from(state: String) -> Result<Self, InvalidState> {
        let state = hex::decode(state).map_err(|_| InvalidState)?;
        let state = state.as_slice().try_into().map_err(|_| InvalidState)?;
        sha2::Sha256::deserialize(state).map(Self).map_err(|_| InvalidState)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// The beginning of a fingerprint, long enough to be typed by hand: 8 to 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FingerprintPrefix(String);

/// Not 8 to 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is given by its first 8 to 64 hex digits")]
pub struct InvalidPrefix;

impl FingerprintPrefix {
    /// Whether `fingerprint` begins so.
    pub fn matches(&self, fingerprint: &Fingerprint) -> bool {
        fingerprint.to_string().starts_with(&self.0)
    }
}

impl FromStr for FingerprintPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let fits = (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        if fits { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidPrefix) }
    }
}

impl From<Fingerprint> for FingerprintPrefix {
    fn from(fingerprint: Fingerprint) -> Self {
        Self(fingerprint.to_string())
    }
}

impl fmt::Display for FingerprintPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
