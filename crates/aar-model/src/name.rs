//! Names and numbers that address an image: application, version, architecture.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An application's name: `^[a-z0-9][a-z0-9._-]{0,62}$`, AMS's rule, which also makes it safe as a file name and in a URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(Arc<str>);

/// A name that breaks the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an application's name has 1 to 63 of a-z, 0-9, `.`, `_` and `-`, and begins with a letter or a digit"
)]
pub struct InvalidName;

impl AppName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let starts = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let continues = |b: &u8| starts(b) || matches!(b, b'.' | b'_' | b'-');
        match text.as_bytes() {
            [first, rest @ ..] if starts(first) && rest.len() <= 62 && rest.iter().all(continues) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidName),
        }
    }
}

impl TryFrom<String> for AppName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<AppName> for String {
    fn from(name: AppName) -> Self {
        name.as_str().to_owned()
    }
}

impl Borrow<str> for AppName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version of an application: 0 to 2^31-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Version(u32);

/// Not a number from 0 to 2^31-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is a whole number from 0 to 2147483647")]
pub struct InvalidVersion;

impl Version {
    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Version {
    type Error = InvalidVersion;

    fn try_from(number: i64) -> Result<Self, InvalidVersion> {
        i32::try_from(number).ok().and_then(|n| u32::try_from(n).ok()).map(Self).ok_or(InvalidVersion)
    }
}

impl From<Version> for i64 {
    fn from(version: Version) -> Self {
        version.0.into()
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    /// Decimal digits without sign or leading zeros, so that one version has one spelling.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let number: i64 = text.parse().map_err(|_| InvalidVersion)?;
        if canonical { Self::try_from(number) } else { Err(InvalidVersion) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The processor architecture that an image is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Architecture {
    /// `x86_64`, also taken as `amd64`.
    X86_64,
    /// `aarch64`, also taken as `arm64`.
    Aarch64,
}

/// An architecture that the registry does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the architecture is `x86_64` (or `amd64`) or `aarch64` (or `arm64`), not `{0}`")]
pub struct InvalidArchitecture(String);

impl Architecture {
    /// The architecture's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl FromStr for Architecture {
    type Err = InvalidArchitecture;

    fn from_str(text: &str) -> Result<Self, InvalidArchitecture> {
        match text {
            "x86_64" | "amd64" => Ok(Self::X86_64),
            "aarch64" | "arm64" => Ok(Self::Aarch64),
            other => Err(InvalidArchitecture(other.chars().take(64).collect())),
        }
    }
}

impl TryFrom<String> for Architecture {
    type Error = InvalidArchitecture;

    fn try_from(text: String) -> Result<Self, InvalidArchitecture> {
        text.parse()
    }
}

impl From<Architecture> for String {
    fn from(architecture: Architecture) -> Self {
        architecture.as_str().to_owned()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
