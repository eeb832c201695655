//! All four stores in memory: how a backend behaves, without a disk. For tests.
#![allow(clippy::unwrap_used, reason = "a poisoned lock means a test has failed already")]

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aar_model::{CertificateInfo, Digest, Fingerprint, FingerprintPrefix, Hasher, TrustChange};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;

use crate::{
    BlobInfo, Blobs, ByteStream, Change, ETag, Error, Incoming, Index, NewCertificate, Note, RecordKey,
    Records, Result, Scope, Snapshot, Sources, Standing, Trust, TrustError, Upload, UploadId, Uploads,
};

/// Bytes that a reader gets at once.
const CHUNK: usize = 64 * 1024;

/// Bytes of an upload after which these are kept.
const PART: usize = 1024 * 1024;

/// Images, records, index and trust in memory. A clone shares them.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    images: Arc<Mutex<BTreeMap<Digest, (Bytes, SystemTime)>>>,
    uploads: Arc<Mutex<BTreeMap<UploadId, Kept>>>,
    records: Arc<Mutex<HashMap<RecordKey, (Bytes, ETag)>>>,
    writes: Arc<AtomicU64>,
    index: Arc<Mutex<BTreeMap<RecordKey, (ETag, Bytes)>>>,
    certificates: Arc<Mutex<BTreeMap<Fingerprint, (CertificateInfo, Sources)>>>,
}

/// An upload: its note, and what has come.
type Kept = (Note, Vec<u8>);

impl Memory {
    /// This index with what it holds, as [`Registry::open`](crate::Registry::open) takes it.
    pub fn opened(&self) -> Result<(Arc<dyn Index>, Snapshot)> {
        Ok((Arc::new(self.clone()), Snapshot::of(self)?))
    }
}

#[async_trait]
impl Blobs for Memory {
    async fn begin(&self, image: &Digest, _size: Option<u64>) -> Result<Box<dyn Upload>> {
        Ok(Box::new(MemoryUpload {
            store: self.clone(),
            image: *image,
            hasher: Hasher::default(),
            received: Vec::new(),
        }))
    }

    async fn size(&self, image: &Digest) -> Result<Option<u64>> {
        Ok(self.images.lock().unwrap().get(image).map(|(bytes, _)| bytes.len() as u64))
    }

    async fn read(&self, image: &Digest, range: Range<u64>) -> Result<ByteStream> {
        let bytes = match self.images.lock().unwrap().get(image) {
            Some((bytes, _)) => bytes.slice(position(range.start)..position(range.end)),
            None => return Err(Error::NotFound(*image)),
        };
        Ok(Box::pin(stream::unfold(bytes, async |mut rest| {
            let chunk = rest.split_to(rest.len().min(CHUNK));
            (!chunk.is_empty()).then_some((Ok(chunk), rest))
        })))
    }

    async fn delete(&self, image: &Digest) -> Result<()> {
        self.images.lock().unwrap().remove(image);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<BlobInfo>> {
        let images = self.images.lock().unwrap();
        Ok(images
            .iter()
            .map(|(image, (bytes, modified))| BlobInfo {
                image: *image,
                size: bytes.len() as u64,
                modified: *modified,
            })
            .collect())
    }

    async fn sweep_uploads(&self) -> Result<usize> {
        Ok(0)
    }

    fn uploads(&self) -> &dyn Uploads {
        self
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

struct MemoryUpload {
    store: Memory,
    image: Digest,
    hasher: Hasher,
    received: Vec<u8>,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.hasher.update(&chunk);
        self.received.extend_from_slice(&chunk);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<u64> {
        let MemoryUpload { store, image, hasher, received } = *self;
        let actual = hasher.finish();
        if actual != image {
            return Err(Error::Mismatch { expected: image, actual });
        }
        let size = received.len() as u64;
        store.images.lock().unwrap().entry(image).or_insert_with(|| (received.into(), SystemTime::now()));
        Ok(size)
    }
}

#[async_trait]
impl Uploads for Memory {
    async fn create(&self, id: &UploadId, note: Note) -> Result<()> {
        self.uploads.lock().unwrap().insert(id.clone(), (note, Vec::new()));
        Ok(())
    }

    async fn resume(&self, id: &UploadId, counts_at_once: bool) -> Result<Box<dyn Incoming>> {
        let kept = self.uploads.lock().unwrap().get(id).cloned();
        let (note, received) = kept.ok_or_else(|| no_upload(id))?;
        let offset = note.offset;
        let (store, id) = (self.clone(), id.clone());
        Ok(Box::new(MemoryIncoming { store, id, offset, note, received, counts_at_once }))
    }

    async fn complete(&self, id: &UploadId) -> Result<()> {
        let kept = self.uploads.lock().unwrap().get(id).cloned();
        let (note, received) = kept.ok_or_else(|| no_upload(id))?;
        let actual = note.hasher.finish();
        if actual != note.image {
            return Err(Error::Mismatch { expected: note.image, actual });
        }
        let mut images = self.images.lock().unwrap();
        if received.len() as u64 == note.size {
            images.entry(note.image).or_insert_with(|| (received.into(), SystemTime::now()));
        }
        if images.contains_key(&note.image) { Ok(()) } else { Err(Error::NotFound(note.image)) }
    }

    async fn retire(&self, id: &UploadId, about: serde_json::Value) -> Result<()> {
        if let Some((note, received)) = self.uploads.lock().unwrap().get_mut(id) {
            note.about = about;
            received.clear();
        }
        Ok(())
    }

    async fn remove(&self, id: &UploadId) -> Result<()> {
        self.uploads.lock().unwrap().remove(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(UploadId, Note)>> {
        let uploads = self.uploads.lock().unwrap();
        Ok(uploads.iter().map(|(id, (note, _))| (id.clone(), note.clone())).collect())
    }
}

fn no_upload(id: &UploadId) -> Error {
    Error::Io { action: format!("go on with upload {id}"), source: "it is not there".into() }
}

struct MemoryIncoming {
    store: Memory,
    id: UploadId,
    offset: u64,
    note: Note,
    received: Vec<u8>,
    counts_at_once: bool,
}

impl MemoryIncoming {
    fn note(&self) {
        let kept = (self.note.clone(), self.received.clone());
        self.store.uploads.lock().unwrap().insert(self.id.clone(), kept);
    }
}

#[async_trait]
impl Incoming for MemoryIncoming {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.note.take(&chunk);
        self.received.extend_from_slice(&chunk);
        if self.counts_at_once && self.received.len() / PART > (self.received.len() - chunk.len()) / PART {
            self.note();
        }
        Ok(())
    }

    async fn keep(self: Box<Self>) -> Result<u64> {
        self.note();
        Ok(self.note.offset)
    }

    async fn give_up(self: Box<Self>) {}
}

#[async_trait]
impl Records for Memory {
    async fn put(&self, key: &RecordKey, document: Bytes) -> Result<ETag> {
        let tag = ETag(self.writes.fetch_add(1, Ordering::Relaxed).to_string().into());
        self.records.lock().unwrap().insert(key.clone(), (document, tag.clone()));
        Ok(tag)
    }

    async fn get(&self, key: &RecordKey) -> Result<Option<(Bytes, ETag)>> {
        Ok(self.records.lock().unwrap().get(key).cloned())
    }

    async fn delete(&self, key: &RecordKey) -> Result<()> {
        self.records.lock().unwrap().remove(key);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(RecordKey, ETag)>> {
        let records = self.records.lock().unwrap();
        Ok(records.iter().map(|(key, (_, tag))| (key.clone(), tag.clone())).collect())
    }
}

impl Index for Memory {
    fn scan(&self, scope: Scope<'_>, visit: &mut dyn FnMut(RecordKey, ETag, &[u8])) -> Result<()> {
        for (key, (tag, document)) in self.index.lock().unwrap().iter() {
            let visited = match scope {
                Scope::All => true,
                Scope::Application(name) => key.app() == name,
                Scope::Record(wanted) => key == wanted,
            };
            if visited {
                visit(key.clone(), tag.clone(), document);
            }
        }
        Ok(())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let mut index = self.index.lock().unwrap();
        for change in changes {
            match change {
                Change::Put(key, tag, document) => index.insert(key, (tag, document)),
                Change::Remove(key) => index.remove(&key),
            };
        }
        Ok(())
    }
}

impl Memory {
    /// Carries out `change` on the one certificate whose fingerprint begins with `prefix`.
    fn with_certificate<T>(
        &self,
        prefix: &FingerprintPrefix,
        change: impl FnOnce(&mut CertificateInfo, &mut Sources) -> Result<T, TrustError>,
    ) -> Result<T, TrustError> {
        let mut certificates = self.certificates.lock().unwrap();
        let mut matching: Vec<_> =
            certificates.values_mut().filter(|(known, _)| prefix.matches(&known.fingerprint)).collect();
        match matching.as_mut_slice() {
            [] => Err(TrustError::NotFound(prefix.clone())),
            [(known, sources)] => change(known, sources),
            more => Err(TrustError::Ambiguous { prefix: prefix.clone(), count: more.len() }),
        }
    }
}

#[async_trait]
impl Trust for Memory {
    fn standing(&self, fingerprint: &Fingerprint) -> Standing {
        match self.certificates.lock().unwrap().get(fingerprint) {
            None => Standing::Unknown,
            Some((known, _)) if known.revoked_at.is_some() => Standing::Revoked,
            Some((known, _)) => Standing::Trusted(known.role),
        }
    }

    fn note_seen(&self, fingerprint: &Fingerprint) {
        if let Some((known, _)) = self.certificates.lock().unwrap().get_mut(fingerprint) {
            known.last_seen_at = Some(now() / 60 * 60);
        }
    }

    fn list(&self, revoked: bool) -> Vec<CertificateInfo> {
        let certificates = self.certificates.lock().unwrap();
        let all = certificates.values().map(|(known, _)| known);
        let mut listed: Vec<_> = all.filter(|known| known.revoked_at.is_some() == revoked).cloned().collect();
        listed.sort_by(|a, b| (a.role, &a.name).cmp(&(b.role, &b.name)));
        listed
    }

    fn get(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo, TrustError> {
        self.with_certificate(prefix, |known, _| Ok(known.clone()))
    }

    async fn add(&self, certificate: NewCertificate) -> Result<(CertificateInfo, TrustChange), TrustError> {
        let NewCertificate { der, name, role, source } = certificate;
        let fingerprint = Fingerprint::of(&der);
        let mut certificates = self.certificates.lock().unwrap();
        let Some((known, sources)) = certificates.get_mut(&fingerprint) else {
            let mut sources = Sources::default();
            sources.give(source, role);
            let new = CertificateInfo {
                certificate: STANDARD.encode(der),
                fingerprint,
                role,
                name,
                sources: sources.names(),
                added_at: now(),
                last_seen_at: None,
                revoked_at: None,
            };
            certificates.insert(fingerprint, (new.clone(), sources));
            return Ok((new, TrustChange::Added));
        };
        if known.revoked_at.is_some() {
            return Err(TrustError::Revoked(fingerprint));
        }
        sources.give(source, role);
        let before = known.role;
        (known.sources, known.role) = (sources.names(), sources.role().unwrap_or(before));
        let change = if known.role == before { TrustChange::Unchanged } else { TrustChange::RoleChanged };
        Ok((known.clone(), change))
    }

    async fn remove(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo, TrustError> {
        let removed = self.with_certificate(prefix, |known, _| match known.revoked_at {
            None => Ok(known.clone()),
            Some(_) => Err(TrustError::Revoked(known.fingerprint)),
        })?;
        self.certificates.lock().unwrap().remove(&removed.fingerprint);
        Ok(removed)
    }

    async fn withdraw(
        &self,
        prefix: &FingerprintPrefix,
        source: &str,
    ) -> Result<CertificateInfo, TrustError> {
        let left = self.with_certificate(prefix, |known, sources| {
            if known.revoked_at.is_some() {
                return Err(TrustError::Revoked(known.fingerprint));
            }
            if sources.withdraw(source) {
                (known.sources, known.role) = (sources.names(), sources.role().unwrap_or(known.role));
            }
            Ok(known.clone())
        })?;
        if left.sources.is_empty() {
            self.certificates.lock().unwrap().remove(&left.fingerprint);
        }
        Ok(left)
    }

    async fn revoke(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo, TrustError> {
        self.with_certificate(prefix, |known, _| {
            known.revoked_at.get_or_insert_with(now);
            Ok(known.clone())
        })
    }

    async fn save_seen(&self) -> Result<(), TrustError> {
        Ok(())
    }
}

/// Unix seconds.
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::Memory;
    use crate::contract;

    #[tokio::test]
    async fn memory_keeps_the_contract_of_images() {
        contract::blobs(async || ((), Memory::default())).await;
    }

    #[tokio::test]
    async fn memory_keeps_the_contract_of_uploads() {
        contract::uploads(async || ((), Memory::default())).await;
    }

    #[tokio::test]
    async fn memory_keeps_the_contract_of_records() {
        contract::records(async || ((), Memory::default())).await;
    }

    #[tokio::test]
    async fn memory_keeps_the_contract_of_the_index() {
        contract::index(async || ((), Memory::default())).await;
    }

    #[tokio::test]
    async fn memory_keeps_the_contract_of_trust() {
        contract::trust(async || ((), Memory::default())).await;
    }
}
