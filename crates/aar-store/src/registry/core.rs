//! The registry itself: its parts, and what every operation shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aar_model::wire::Image;
use aar_model::{AppName, Digest};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{RwLock, RwLockReadGuard, broadcast};

use super::document::{Documents, encode};
use super::event::{BACKLOG, Event};
use super::images::Images;
use super::locks::{Held, Locks};
use super::uploads::UploadTable;
use crate::{Blobs, Change, Error, Index, RecordKey, Records, Result, Scope};

/// The registry: images and records, and the index through which they are read.
///
/// Operations that change something must not be dropped half-way: run them in a task of their own where the caller may go
/// away.
pub struct Registry {
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) records: Arc<dyn Records>,
    pub(super) index: Arc<dyn Index>,
    pub(super) images: Images,
    /// One writer an application.
    pub(super) applications: Locks<AppName>,
    /// Shared by writers while they commit, exclusive for whoever replaces the index.
    pub(super) commits: RwLock<()>,
    generation: AtomicU64,
    /// Records that cannot be read. What they hold is not known: while there are any, nothing counts as unused.
    pub(super) damaged: AtomicUsize,
    /// Whether the index was compared with the store since the start. Until then nothing is changed.
    pub(super) reconciled: AtomicBool,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) uploads: UploadTable,
}

/// What the registry holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Number of different images.
    pub images: u64,
    /// Bytes of all images.
    pub bytes: u64,
}

impl Registry {
    pub(super) fn new(blobs: Arc<dyn Blobs>, records: Arc<dyn Records>, index: Arc<dyn Index>) -> Self {
        Self {
            blobs,
            records,
            index,
            images: Images::default(),
            applications: Locks::default(),
            commits: RwLock::default(),
            generation: AtomicU64::new(0),
            damaged: AtomicUsize::new(0),
            reconciled: AtomicBool::new(false),
            events: broadcast::Sender::new(BACKLOG),
            uploads: UploadTable::default(),
        }
    }

    /// Changes with every change of the registry: what was read under one generation still holds while it is the same.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether the store was out of reach at the start and has not been since: reads are answered from the index as it was,
    /// changes are refused.
    pub fn is_degraded(&self) -> bool {
        !self.reconciled.load(Ordering::Acquire)
    }

    /// Refuses a change while the registry is degraded.
    pub(super) fn refuse_degraded(&self) -> Result<()> {
        if self.is_degraded() {
            return Err(Error::OutOfReach("it has not answered since the registry was started".into()));
        }
        Ok(())
    }

    /// The right to commit changes.
    pub(super) async fn committing(&self) -> Result<RwLockReadGuard<'_, ()>> {
        let commits = self.commits.read().await;
        self.refuse_degraded()?;
        Ok(commits)
    }

    /// What the registry holds.
    pub fn totals(&self) -> Totals {
        let (images, bytes) = self.images.totals();
        Totals { images, bytes }
    }

    /// The records of one application, as the index has them.
    pub(super) fn documents(&self, name: &AppName) -> Result<Documents> {
        let mut documents = Documents::default();
        let mut outcome = Ok(());
        self.index.scan(Scope::Application(name), &mut |key, _, document| {
            if outcome.is_ok() {
                outcome = documents.add(&key, document);
            }
        })?;
        outcome.map(|()| documents)
    }

    /// Makes a record durable. Answers the change that the index has to follow.
    pub(super) async fn write(&self, key: RecordKey, document: &(impl Serialize + Sync)) -> Result<Change> {
        let document = encode(document);
        let tag = self.records.put(&key, document.clone()).await?;
        Ok(Change::Put(key, tag, document))
    }

    /// Lets readers see changes that are durable.
    pub(super) fn show(&self, changes: Vec<Change>) -> Result<()> {
        let shown = self.index.apply(changes);
        self.generation.fetch_add(1, Ordering::Release);
        shown
    }

    /// Puts a record back after its change failed: the store may have carried it out all the same.
    pub(super) async fn put_back(&self, key: &RecordKey, before: Option<Bytes>) {
        let undone = match before {
            Some(document) => self.records.put(key, document).await.map(drop),
            None => self.records.delete(key).await,
        };
        if let Err(error) = undone {
            tracing::error!(
                record = key.path(),
                error = &error as &dyn std::error::Error,
                "cannot undo a failed change; run `aar maintenance rebuild` once the store works again"
            );
        }
    }

    /// Removes those of `images` that nothing uses any more. What fails is left to the collector.
    pub(super) async fn remove_unused(&self, images: &[Digest]) {
        if self.damaged.load(Ordering::Acquire) > 0 {
            return;
        }
        for image in images {
            if let Some(_removal) = self.removal(image).await
                && let Err(error) = self.blobs.delete(image).await
            {
                tracing::warn!(
                    %image,
                    error = &error as &dyn std::error::Error,
                    "cannot remove an unused image; the collector will try again"
                );
            }
        }
    }

    /// The right to remove `image`, where nothing needs it.
    pub(super) async fn removal(&self, image: &Digest) -> Option<Held<'_, Digest>> {
        // An upload becomes its image under a pin, which waits for the removal: it is looked for under that, not before.
        self.images.removal(image).await.filter(|_| !self.is_awaited(image))
    }

    pub(super) fn discount(&self, images: &[Image]) {
        for image in images {
            self.images.remove(&image.fingerprint);
        }
    }
}

/// Unix seconds.
pub(super) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
