//! What a trusted certificate may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The role under which a certificate is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Client,
    /// Reads and writes.
    Publisher,
}

impl Role {
    /// The role's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Publisher => "publisher",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the role is `client` or `publisher`, not `{0}`")]
pub struct InvalidRole(String);

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        match text {
            "client" => Ok(Self::Client),
            "publisher" => Ok(Self::Publisher),
            other => Err(InvalidRole(other.chars().take(64).collect())),
        }
    }
}
