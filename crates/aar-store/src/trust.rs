//! Which certificates are trusted, and as what.

use std::collections::BTreeMap;

use aar_model::{CertificateInfo, Fingerprint, FingerprintPrefix, Role, TrustChange};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How the registry stands to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Trusted under a role.
    Trusted(Role),
    /// Trusted once, and never again.
    Revoked,
    /// Never heard of.
    Unknown,
}

/// A certificate that somebody brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificate {
    /// The certificate.
    pub der: Vec<u8>,
    /// A name for people.
    pub name: String,
    /// What it shall be trusted as.
    pub role: Role,
    /// Who brings it: `operator`, `relation:<id>`.
    pub source: String,
}

/// Who brings a certificate, and which role each of them gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sources(BTreeMap<String, Role>);

impl Sources {
    /// The source gives this role from now on.
    pub fn give(&mut self, source: String, role: Role) {
        self.0.insert(source, role);
    }

    /// The source gives nothing any more. Answers whether it gave something.
    pub fn withdraw(&mut self, source: &str) -> bool {
        self.0.remove(source).is_some()
    }

    /// All sources give this role, whatever they gave.
    pub fn give_all(&mut self, role: Role) {
        self.0.values_mut().for_each(|given| *given = role);
    }

    /// The greatest role that a source gives; none where there is no source.
    pub fn role(&self) -> Option<Role> {
        self.0.values().max().copied()
    }

    /// Who they are.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Why the trust store refuses.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No certificate begins so.
    #[error("no certificate has a fingerprint that begins with {0}; `aar trust list` shows them all")]
    NotFound(FingerprintPrefix),
    /// More than one certificate begins so.
    #[error("{count} certificates have a fingerprint that begins with {prefix}; give more digits")]
    Ambiguous {
        /// What was given.
        prefix: FingerprintPrefix,
        /// How many match.
        count: usize,
    },
    /// The certificate was revoked, which is final.
    #[error("certificate {0} was revoked and can never be trusted again; make a new key and certificate")]
    Revoked(Fingerprint),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The trust store. What it is asked is answered from memory; what it is told is durable when answered, and effective for
/// the next question.
#[async_trait]
pub trait Trust: Send + Sync + 'static {
    /// How the registry stands to a certificate. Called for every request.
    fn standing(&self, fingerprint: &Fingerprint) -> Standing;

    /// Notes that a request came with this certificate. Called for every request; cheap.
    fn note_seen(&self, fingerprint: &Fingerprint);

    /// The certificates that are trusted, or those that are revoked, ordered by role and name.
    fn list(&self, revoked: bool) -> Vec<CertificateInfo>;

    /// The one certificate, trusted or revoked, whose fingerprint begins so.
    fn get(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo, TrustError>;

    /// Trusts a certificate under the greatest of the roles that its sources give it. The role that the source has given it
    /// before is forgotten.
    async fn add(&self, certificate: NewCertificate) -> Result<(CertificateInfo, TrustChange), TrustError>;

    /// Trusts a certificate no more; it may be added again. A revoked one is refused: its entry stays for good.
    async fn remove(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo, TrustError>;

    /// Trusts a certificate no more for the sake of one source. What other sources give it stays; where there are none, it
    /// is removed, and the answer has no sources. A source that does not bring it changes nothing.
    async fn withdraw(&self, prefix: &FingerprintPrefix, source: &str)
    -> Result<CertificateInfo, TrustError>;

    /// Trusts a certificate never again. Revoking twice is a success.
    async fn revoke(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo, TrustError>;

    /// Writes down what [`note_seen`](Trust::note_seen) gathered.
    async fn save_seen(&self) -> Result<(), TrustError>;
}
