//! The index follows the store: at every start, and on demand.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aar_model::AppName;
use aar_model::wire::Image;
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::time::timeout;

use super::core::Registry;
use super::document::{ApplicationDocument, VersionDocument, decode};
use super::event::Action;
use super::images::Held;
use crate::{Blobs, Change, ETag, Error, Index, RecordKey, Records, Result, Scope};

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
    /// The index may still be opening: meanwhile the store is listed.
    pub async fn open(
        blobs: Arc<dyn Blobs>,
        records: Arc<dyn Records>,
        index: impl Future<Output = Result<Arc<dyn Index>>>,
    ) -> Result<(Self, Option<Reconciled>)> {
        let (listed, index) = tokio::join!(timeout(PATIENCE, records.list()), index);
        let listed = listed
            .unwrap_or_else(|_| Err(Error::OutOfReach(format!("nothing came for {PATIENCE:?}").into())));
        let registry = Self::new(blobs, records, index?);
        let settled = match listed {
            Ok(listed) => registry.settle(listed).await,
            Err(error) => Err(error),
        };
        match settled {
            Ok(found) => Ok((registry, Some(found))),
            Err(error @ (Error::OutOfReach(_) | Error::Denied { .. } | Error::Io { .. })) => {
                registry.images.replace(registry.held_by_index()?);
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
        let reconciled = self.settle(self.records.list().await?).await?;
        self.tell(Action::RegistryRebuilt, None, None, true);
        Ok(reconciled)
    }

    /// Brings store and index into the state that changes begin from.
    async fn settle(&self, listed: Vec<(RecordKey, ETag)>) -> Result<Reconciled> {
        let uploads = async {
            let swept = self.blobs.sweep_uploads().await?;
            if swept > 0 {
                tracing::info!(swept, "removed what unfinished uploads had left");
            }
            self.load_uploads().await
        };
        let ((), (reconciled, deleted)) = tokio::try_join!(uploads, self.reconcile(listed, false))?;
        for name in deleted {
            let _application = self.applications.lock(&name).await;
            self.finish_deletion(&name).await?;
        }
        self.reconciled.store(true, Ordering::Release);
        Ok(reconciled)
    }

    /// The images that records hold, as far as the index knows.
    fn held_by_index(&self) -> Result<Held> {
        let mut gathered = Gathered::default();
        self.index.scan(Scope::All, &mut |key, _, document| {
            // A record that cannot be read is read again when the store is in reach.
            let _ = gathered.add(&key, document);
        })?;
        Ok(gathered.held)
    }

    /// Makes the index anew from the records. Reads go on meanwhile, changes wait.
    pub async fn rebuild(&self) -> Result<Reconciled> {
        let _commits = self.commits.write().await;
        let (reconciled, _) = self.reconcile(self.records.list().await?, true).await?;
        self.tell(Action::RegistryRebuilt, None, None, true);
        Ok(reconciled)
    }

    /// Brings the index to what the store says; reads the records whose tag the index does not have, or `all`. Answers also
    /// which applications are deleted and have records yet.
    async fn reconcile(
        &self,
        listed: Vec<(RecordKey, ETag)>,
        all: bool,
    ) -> Result<(Reconciled, Vec<AppName>)> {
        let mut outcome = Reconciled { records: listed.len(), ..Reconciled::default() };
        let mut unread: HashMap<RecordKey, ETag> = listed.into_iter().collect();
        let mut unlisted = Vec::new();
        let mut known = HashSet::new();
        // Counted aside and taken over at the end: meanwhile, an image that is held must not look unused.
        let mut gathered = Gathered::default();
        self.index.scan(Scope::All, &mut |key, tag, document| match unread.get(&key) {
            None => unlisted.push(Change::Remove(key)),
            Some(listed) if *listed == tag && !all => {
                // Where the index says what cannot be, the record is read again.
                if gathered.add(&key, document).is_ok() {
                    unread.remove(&key);
                }
            }
            Some(_) => {
                known.insert(key);
            }
        })?;
        outcome.changed += unlisted.len();
        for batch in unlisted.chunks(BATCH) {
            self.show(batch.to_vec())?;
        }

        let mut changes = Vec::new();
        let reads = unread.into_keys().map(|key| async {
            let read = self.records.get(&key).await;
            (key, read)
        });
        let mut reads = futures_util::stream::iter(reads).buffer_unordered(READS);
        while let Some((key, read)) = reads.next().await {
            match read {
                Ok(Some((document, tag))) => {
                    match check(&key, &document).and_then(|()| gathered.add(&key, &document)) {
                        Ok(()) => {
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
    /// Takes in one record; everything else in it is skipped without being kept.
    fn add(&mut self, key: &RecordKey, document: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct OfApplication {
            #[serde(default)]
            deleted: bool,
        }
        #[derive(Deserialize)]
        struct OfVersion {
            images: Vec<Image>,
        }
        if key.number().is_some() {
            self.held.add(&decode::<OfVersion>(key, document)?.images);
        } else if decode::<OfApplication>(key, document)?.deleted {
            self.deleted.push(key.app().clone());
        }
        Ok(())
    }
}

fn check(key: &RecordKey, document: &[u8]) -> Result<()> {
    match key.number() {
        None => decode::<ApplicationDocument>(key, document).map(drop),
        Some(_) => decode::<VersionDocument>(key, document).map(drop),
    }
}
