use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aar_model::{CertificateInfo, Role};
use aar_store::{Sources, Standing};
use serde::{Deserialize, Serialize};

/// Where a certificate lies, which is what it is to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Revoked,
    Clients,
    Publishers,
}

impl Place {
    /// All, in the order in which they win where a certificate lies in several: no mistake gives more than it should.
    pub(super) const ALL: [Self; 3] = [Self::Revoked, Self::Clients, Self::Publishers];

    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Clients => "clients",
            Self::Publishers => "publishers",
        }
    }

    pub(super) fn of(info: &CertificateInfo) -> Self {
        match (info.revoked_at, info.role) {
            (Some(_), _) => Self::Revoked,
            (None, Role::Client) => Self::Clients,
            (None, Role::Publisher) => Self::Publishers,
        }
    }

    pub(super) fn standing(self) -> Standing {
        match self {
            Self::Revoked => Standing::Revoked,
            Self::Clients => Standing::Trusted(Role::Client),
            Self::Publishers => Standing::Trusted(Role::Publisher),
        }
    }
}

/// What is known of a certificate, in the file beside it. Whatever is missing has a default, also the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    pub(super) name: String,
    /// The role that a revoked certificate had.
    pub(super) role: Option<Role>,
    pub(super) sources: Sources,
    pub(super) added_at: Option<i64>,
    pub(super) last_seen_at: Option<i64>,
    pub(super) revoked_at: Option<i64>,
}

impl From<&Certificate> for Details {
    fn from(certificate: &Certificate) -> Self {
        let Certificate { info, sources } = certificate;
        Self {
            name: info.name.clone(),
            role: Some(info.role),
            sources: sources.clone(),
            added_at: Some(info.added_at),
            last_seen_at: info.last_seen_at,
            revoked_at: info.revoked_at,
        }
    }
}

/// A certificate with all that is known of it.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) info: CertificateInfo,
    /// What `info` tells the names and the greatest role of.
    pub(super) sources: Sources,
}

impl Certificate {
    /// The same with other sources.
    pub(super) fn with_sources(&self, sources: Sources) -> Self {
        let role = sources.role().unwrap_or(self.info.role);
        Self { info: CertificateInfo { sources: sources.names(), role, ..self.info.clone() }, sources }
    }
}

/// A certificate in memory.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it is on the disk.
    certificate: Certificate,
    /// When a request last came with it, in Unix seconds at a full minute; 0 for never.
    seen: AtomicI64,
}

impl Entry {
    pub(super) fn new(certificate: Certificate) -> Self {
        let seen = AtomicI64::new(certificate.info.last_seen_at.unwrap_or_default());
        Self { certificate, seen }
    }

    pub(super) fn place(&self) -> Place {
        Place::of(&self.certificate.info)
    }

    pub(super) fn see(&self) {
        let minute = now() / 60 * 60;
        // A load alone leaves the line to all who read it.
        if self.seen.load(Ordering::Relaxed) != minute {
            self.seen.store(minute, Ordering::Relaxed);
        }
    }

    /// Takes over when `other`, an older entry of the same certificate, was seen.
    pub(super) fn seen_like(&self, other: &Self) {
        self.seen.fetch_max(other.seen.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn info(&self) -> CertificateInfo {
        let seen = self.seen.load(Ordering::Relaxed);
        CertificateInfo { last_seen_at: (seen != 0).then_some(seen), ..self.certificate.info.clone() }
    }

    pub(super) fn certificate(&self) -> Certificate {
        Certificate { info: self.info(), sources: self.certificate.sources.clone() }
    }

    /// Whether it was seen since it was written.
    pub(super) fn is_outdated(&self) -> bool {
        self.seen.load(Ordering::Relaxed) != self.certificate.info.last_seen_at.unwrap_or_default()
    }
}

/// Unix seconds.
pub(super) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
