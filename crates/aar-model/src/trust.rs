//! What the trust store says of a certificate.

use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Role};

/// A certificate of the trust store, as the administration API lists it. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateInfo {
    /// The certificate's DER in base64 (standard alphabet, padded).
    pub certificate: String,
    /// SHA-256 over the DER.
    pub fingerprint: Fingerprint,
    /// The role it has, or had before it was revoked.
    pub role: Role,
    /// A name for people; the subject's common name where none was given.
    pub name: String,
    /// Who brought it: `operator` for commands and actions, `relation:<id>` for a relation.
    pub sources: Vec<String>,
    /// When it was first added.
    pub added_at: i64,
    /// When a request last came with it; to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<i64>,
    /// When it was revoked; revoking is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
}

/// What adding a certificate changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustChange {
    /// It is trusted now and was not before.
    Added,
    /// It was trusted under that role already.
    Unchanged,
    /// It was trusted under the other role, and has changed it.
    RoleChanged,
}
