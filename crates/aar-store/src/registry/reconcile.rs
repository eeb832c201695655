//! The index follows the store: at every start, and on demand.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aar_model::AppName;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::core::Registry;
use super::document::{ApplicationDocument, VersionDocument, decode};
use super::event::Action;
use super::images::Held;
use super::snapshot::{Content, Indexed, Snapshot, read_content};
use crate::{Blobs, Change, ETag, Error, Index, RecordKey, Records, Result};

/// How long a start waits for the store: whoever starts the registry waits, too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Records that are read at once: a store in the network answers each only after a while.
const READS: usize = 32;

/// Changes that the index takes in one step while it follows the store: bounds memory.
const BATCH: usize = 256;

/// What a reconciliation found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Records in the store.
    pub records: usize,
    /// Records that the index had not, or had otherwise.
    pub changed: usize,
    /// Records that cannot be read and are left out until somebody mends them.
    pub damaged: usize,
}

impl Registry {
    /// Opens the registry on a store: sweeps what an earlier process left of its uploads, reconciles the index with the
    /// store, and finishes deletions that were cut off. Where the store is out of reach or refuses, the registry is degraded
    /// until [`recover`](Self::recover) succeeds, and nothing is answered for what was found.
    ///
    /// The index, which comes with what it holds, may still be opening: meanwhile the store is listed.
    pub async fn open(
        blobs: Arc<dyn Blobs>,
        records: Arc<dyn Records>,
        index: impl Future<Output = Result<(Arc<dyn Index>, Snapshot)>>,
    ) -> Result<(Self, Option<Reconciled>)> {
        let (listed, index) = tokio::join!(timeout(PATIENCE, records.list()), index);
        let listed = listed
            .unwrap_or_else(|_| Err(Error::OutOfReach(format!("nothing came for {PATIENCE:?}").into())));
        let (index, indexed) = index?;
        let registry = Self::new(blobs, records, index);
        let settled = match listed {
            Ok(listed) => registry.settle(listed, &indexed).await,
            Err(error) => Err(error),
        };
        match settled {
            Ok(found) => Ok((registry, Some(found))),
            Err(error @ (Error::OutOfReach(_) | Error::Denied { .. } | Error::Io { .. })) => {
                registry.images.replace(Gathered::from(&indexed).held);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the storage cannot be used: what the index knows is served, changes are refused until it can"
                );
                Ok((registry, None))
            }
            Err(error) => Err(error),
        }
    }

    /// Does what [`open`](Self::open) could not, after which the registry is degraded no more.
    pub async fn recover(&self) -> Result<Reconciled> {
        let _commits = self.commits.write().await;
        let listed = self.records.list().await?;
        let reconciled = self.settle(listed, &Snapshot::of(&*self.index)?).await?;
        self.tell(Action::RegistryRebuilt, None, None, true);
        Ok(reconciled)
    }

    /// Brings store and index into the state that changes begin from.
    async fn settle(&self, listed: Vec<(RecordKey, ETag)>, indexed: &Snapshot) -> Result<Reconciled> {
        let uploads = async {
            let swept = self.blobs.sweep_uploads().await?;
            if swept > 0 {
                tracing::info!(swept, "removed what unfinished uploads had left");
            }
            self.load_uploads().await
        };
        let ((), (reconciled, deleted)) = tokio::try_join!(uploads, self.reconcile(listed, indexed, false))?;
        for name in deleted {
            let _application = self.applications.lock(&name).await;
            self.finish_deletion(&name).await?;
        }
        self.reconciled.store(true, Ordering::Release);
        Ok(reconciled)
    }

    /// Makes the index anew from the records. Reads go on meanwhile, changes wait.
    pub async fn rebuild(&self) -> Result<Reconciled> {
        let _commits = self.commits.write().await;
        let listed = self.records.list().await?;
        let (reconciled, _) = self.reconcile(listed, &Snapshot::of(&*self.index)?, true).await?;
        self.tell(Action::RegistryRebuilt, None, None, true);
        Ok(reconciled)
    }

    /// Brings the index to what the store says; reads the records whose tag the index does not have, or `all`. Answers also
    /// which applications are deleted and have records yet.
    async fn reconcile(
        &self,
        listed: Vec<(RecordKey, ETag)>,
        indexed: &Snapshot,
        all: bool,
    ) -> Result<(Reconciled, Vec<AppName>)> {
        let mut outcome = Reconciled { records: listed.len(), ..Reconciled::default() };
        let mut unread: HashMap<RecordKey, ETag> = listed.into_iter().collect();
        let mut unlisted = Vec::new();
        let mut known = HashSet::new();
        // Counted aside and taken over at the end: meanwhile, an image that is held must not look unused.
        let mut gathered = Gathered::default();
        for Indexed { key, tag, content } in indexed.records() {
            match (unread.get(key), content) {
                (None, _) => unlisted.push(Change::Remove(key.clone())),
                (Some(listed), Some(content)) if *listed.0 == *tag && !all => {
                    gathered.add(key, &content);
                    unread.remove(key);
                }
                // Also where the index says what cannot be: the record is read again.
                _ => {
                    known.insert(key);
                }
            }
        }
        outcome.changed += unlisted.len();
        for batch in unlisted.chunks(BATCH) {
            self.show(batch.to_vec())?;
        }

        let mut changes = Vec::new();
        let mut images = Vec::new();
        let reads = unread.into_keys().map(|key| async {
            let read = self.records.get(&key).await;
            (key, read)
        });
        let mut reads = futures_util::stream::iter(reads).buffer_unordered(READS);
        while let Some((key, read)) = reads.next().await {
            match read {
                Ok(Some((document, tag))) => {
                    images.clear();
                    let content =
                        check(&key, &document).and_then(|()| read_content(&key, &document, &mut images));
                    match content {
                        Ok(deleted) => {
                            gathered.add(&key, &Content { deleted, images: &images });
                            outcome.changed += usize::from(!all || !known.contains(&key));
                            changes.push(Change::Put(key, tag, document));
                        }
                        Err(error) => {
                            outcome.damaged += 1;
                            tracing::error!(
                                error = &error as &dyn std::error::Error,
                                "a record cannot be read and is left out"
                            );
                            changes.push(Change::Remove(key));
                        }
                    }
                }
                Ok(None) => changes.push(Change::Remove(key)),
                Err(error @ (Error::OutOfReach(_) | Error::NoSpace(_))) => return Err(error),
                Err(error) => {
                    outcome.damaged += 1;
                    tracing::error!(
                        record = key.path(),
                        error = &error as &dyn std::error::Error,
                        "a record cannot be read and is left out"
                    );
                    changes.push(Change::Remove(key));
                }
            }
            if changes.len() >= BATCH {
                self.show(std::mem::take(&mut changes))?;
            }
        }
        self.show(changes)?;
        self.images.replace(gathered.held);
        self.damaged.store(outcome.damaged, Ordering::Release);
        Ok((outcome, gathered.deleted))
    }
}

/// What a start needs to know of all records.
#[derive(Default)]
struct Gathered {
    /// The images that they hold.
    held: Held,
    /// The applications that are deleted.
    deleted: Vec<AppName>,
}

impl Gathered {
    fn add(&mut self, key: &RecordKey, content: &Content<'_>) {
        self.held.add(content.images);
        if content.deleted {
            self.deleted.push(key.app().clone());
        }
    }
}

impl From<&Snapshot> for Gathered {
    fn from(indexed: &Snapshot) -> Self {
        let mut gathered = Self::default();
        for Indexed { key, content, .. } in indexed.records() {
            // A record that cannot be read is read again when the store is in reach.
            if let Some(content) = content {
                gathered.add(key, &content);
            }
        }
        gathered
    }
}

fn check(key: &RecordKey, document: &[u8]) -> Result<()> {
    match key.number() {
        None => decode::<ApplicationDocument>(key, document).map(drop),
        Some(_) => decode::<VersionDocument>(key, document).map(drop),
    }
}
