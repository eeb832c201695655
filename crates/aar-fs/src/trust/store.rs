use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aar_model::{CertificateInfo, Fingerprint, FingerprintPrefix, TrustChange};
use aar_store::{Error, NewCertificate, Standing, Trust, TrustError};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::task::spawn_blocking;

use super::directory::Directory;
use super::entry::{Certificate, Entry, Place, now};
use crate::error::{blocking, joined};

type Result<T> = std::result::Result<T, TrustError>;
type Known = HashMap<Fingerprint, Arc<Entry>>;

/// Certificates as files, mirrored in memory. A clone shares them.
#[derive(Debug, Clone)]
pub struct FsTrust {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    known: ArcSwap<Known>,
    /// One writer at a time, who changes the disk first and then what is known.
    directory: Mutex<Directory>,
}

impl FsTrust {
    /// Opens the directory `certs`, and makes what is missing of it. Files that it does not know are left alone.
    ///
    /// # Errors
    /// Where the directory cannot be read and written.
    pub async fn open(certs: &Path) -> std::result::Result<Self, Error> {
        let directory = Mutex::new(Directory::new(certs.to_owned()));
        let store = Self { inner: Arc::new(Inner { known: ArcSwap::default(), directory }) };
        store.reload().await?;
        Ok(store)
    }

    /// Reads the directory again. Where that fails, all stays as it was.
    pub async fn reload(&self) -> std::result::Result<(), Error> {
        let inner = self.inner.clone();
        blocking(move || inner.load(&inner.hold())).await
    }

    /// Carries out `change` on a thread that may wait. It is finished also where nobody waits for it any more.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Inner, &Directory) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        let change = move || {
            let directory = inner.hold();
            let outcome = change(&inner, &directory);
            if let Err(TrustError::Store(_)) = outcome {
                // It may have come half-way, and what the disk says counts. Where that cannot be read either, the first
                // error tells enough.
                let _ = inner.load(&directory);
            }
            outcome
        };
        joined(spawn_blocking(change).await)
    }
}

impl Inner {
    /// Lets questions be answered by what is on the disk now. Only for whoever holds the directory.
    fn load(&self, directory: &Directory) -> std::result::Result<(), Error> {
        let known = self.known.load();
        let loaded = directory.load()?.into_iter().map(|(fingerprint, certificate)| {
            let entry = Entry::new(certificate);
            if let Some(before) = known.get(&fingerprint) {
                entry.seen_like(before);
            }
            (fingerprint, Arc::new(entry))
        });
        self.known.store(Arc::new(loaded.collect()));
        Ok(())
    }

    fn hold(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, prefix: &FingerprintPrefix) -> Result<Certificate> {
        let known = self.known.load();
        let mut matching = known.iter().filter(|(fingerprint, _)| prefix.matches(fingerprint));
        match (matching.next(), matching.count()) {
            (None, _) => Err(TrustError::NotFound(prefix.clone())),
            (Some((_, entry)), 0) => Ok(entry.certificate()),
            (Some(_), more) => Err(TrustError::Ambiguous { prefix: prefix.clone(), count: more + 1 }),
        }
    }

    /// The same where one certificate was changed.
    fn set(&self, fingerprint: Fingerprint, certificate: Option<Certificate>) {
        let mut known = Known::clone(&self.known.load());
        match certificate {
            Some(certificate) => known.insert(fingerprint, Arc::new(Entry::new(certificate))),
            None => known.remove(&fingerprint),
        };
        self.known.store(Arc::new(known));
    }
}

#[async_trait]
impl Trust for FsTrust {
    fn standing(&self, fingerprint: &Fingerprint) -> Standing {
        self.inner.known.load().get(fingerprint).map_or(Standing::Unknown, |entry| entry.place().standing())
    }

    fn note_seen(&self, fingerprint: &Fingerprint) {
        if let Some(entry) = self.inner.known.load().get(fingerprint) {
            entry.see();
        }
    }

    fn list(&self, revoked: bool) -> Vec<CertificateInfo> {
        let known = self.inner.known.load();
        let wanted = known.values().filter(|entry| (entry.place() == Place::Revoked) == revoked);
        let mut listed: Vec<_> = wanted.map(|entry| entry.info()).collect();
        listed.sort_by(|a, b| (a.role, &a.name, a.fingerprint).cmp(&(b.role, &b.name, b.fingerprint)));
        listed
    }

    fn get(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        Ok(self.inner.find(prefix)?.info)
    }

    async fn add(&self, certificate: NewCertificate) -> Result<(CertificateInfo, TrustChange)> {
        self.change(move |inner, directory| {
            let NewCertificate { der, name, role, source } = certificate;
            let fingerprint = Fingerprint::of(&der);
            let before = inner.known.load().get(&fingerprint).map(|entry| entry.certificate());
            let mut sources = before.as_ref().map(|known| known.sources.clone()).unwrap_or_default();
            sources.give(source, role);
            let (certificate, change) = match before {
                Some(known) if known.info.revoked_at.is_some() => {
                    return Err(TrustError::Revoked(fingerprint));
                }
                None => {
                    let info = CertificateInfo {
                        certificate: STANDARD.encode(&der),
                        fingerprint,
                        role,
                        name,
                        sources: sources.names(),
                        added_at: now(),
                        last_seen_at: None,
                        revoked_at: None,
                    };
                    let certificate = Certificate { info, sources };
                    directory.add(&certificate, &der)?;
                    (certificate, TrustChange::Added)
                }
                Some(known) => {
                    let certificate = known.with_sources(sources);
                    let changed = directory.write_sources(&known, &certificate)?;
                    (certificate, if changed { TrustChange::RoleChanged } else { TrustChange::Unchanged })
                }
            };
            inner.set(fingerprint, Some(certificate.clone()));
            Ok((certificate.info, change))
        })
        .await
    }

    async fn remove(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        let prefix = prefix.clone();
        self.change(move |inner, directory| {
            let Certificate { info, .. } = inner.find(&prefix)?;
            if info.revoked_at.is_some() {
                return Err(TrustError::Revoked(info.fingerprint));
            }
            directory.remove(&info)?;
            inner.set(info.fingerprint, None);
            Ok(info)
        })
        .await
    }

    async fn withdraw(&self, prefix: &FingerprintPrefix, source: &str) -> Result<CertificateInfo> {
        let (prefix, source) = (prefix.clone(), source.to_owned());
        self.change(move |inner, directory| {
            let known = inner.find(&prefix)?;
            if known.info.revoked_at.is_some() {
                return Err(TrustError::Revoked(known.info.fingerprint));
            }
            let mut sources = known.sources.clone();
            if !sources.withdraw(&source) {
                return Ok(known.info);
            }
            let certificate = known.with_sources(sources);
            let left = if certificate.info.sources.is_empty() {
                directory.remove(&known.info)?;
                None
            } else {
                directory.write_sources(&known, &certificate)?;
                Some(certificate.clone())
            };
            inner.set(certificate.info.fingerprint, left);
            Ok(certificate.info)
        })
        .await
    }

    async fn revoke(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        let prefix = prefix.clone();
        self.change(move |inner, directory| {
            let known = inner.find(&prefix)?;
            if known.info.revoked_at.is_some() {
                return Ok(known.info);
            }
            let info = CertificateInfo { revoked_at: Some(now()), ..known.info.clone() };
            let certificate = Certificate { info: info.clone(), sources: known.sources };
            directory.change_place(Place::of(&known.info), &certificate)?;
            inner.set(info.fingerprint, Some(certificate));
            Ok(info)
        })
        .await
    }

    async fn save_seen(&self) -> Result<()> {
        self.change(|inner, directory| {
            let known = inner.known.load_full();
            for entry in known.values().filter(|entry| entry.is_outdated()) {
                let certificate = entry.certificate();
                directory.write_details(&certificate)?;
                inner.set(certificate.info.fingerprint, Some(certificate));
            }
            Ok(())
        })
        .await
    }
}
