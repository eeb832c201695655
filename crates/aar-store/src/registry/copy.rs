//! Copying: all images and records go to another store. The registry goes on meanwhile, and stays as it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use aar_model::Digest;
use aar_model::wire::{CopyReport, DamagedImage};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::core::Registry;
use crate::{Blobs, ETag, Error, RecordKey, Records, Result, Scope};

/// Rounds through the images before changes have to wait. Each has only what was pushed during the one before.
const ROUNDS: usize = 4;

/// Records that are read, or written, at once.
const AT_ONCE: usize = 16;

/// Why a copy did not come to its end. What was copied stays, and another copy goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Some records are not as the index has them, or cannot be read: what they hold would be lost.
    #[error(
        "the storage holds records that the registry does not know as they are, or cannot read: run `aar maintenance \
         rebuild`, mend or remove those that the log names then, and copy again"
    )]
    Unsettled,
    /// The registry's own store failed.
    #[error("the registry's own storage failed")]
    Source(#[source] Error),
    /// The store that is copied to failed.
    #[error("cannot copy to the other storage")]
    Target(#[source] Error),
}

impl Registry {
    /// Copies all images that records hold, and then all records, to another store. What that has already is passed over;
    /// what only that has is named and left alone. Every image is hashed on its way.
    ///
    /// Changes wait only at the end: while records are written, and images that came last. So the copy is of one moment.
    /// Dropped half-way, it ends there and leaves no image half copied.
    pub async fn copy_to(&self, blobs: &dyn Blobs, records: &dyn Records) -> Result<CopyReport, CopyError> {
        self.refuse_degraded().map_err(CopyError::Source)?;
        // Found at the end, it would have taken hours.
        {
            let _commits = self.commits.write().await;
            self.settled_records().await?;
        }
        let stored = blobs.list().await.map_err(CopyError::Target)?;
        let mut copy = Copying {
            registry: self,
            target: blobs,
            stored: stored.into_iter().map(|blob| (blob.image, blob.size)).collect(),
            seen: HashSet::new(),
            damaged: BTreeMap::new(),
            report: CopyReport::default(),
        };
        for _ in 0..ROUNDS {
            if !copy.images().await? {
                break;
            }
        }
        let there = self.compare_records(records).await?;

        let _commits = self.commits.write().await;
        copy.images().await?;
        let mut report = copy.finish().map_err(CopyError::Source)?;
        self.copy_records(records, there, &mut report).await?;
        Ok(report)
    }

    /// The records of the store, which are those of the index. To be called while nobody commits.
    async fn settled_records(&self) -> Result<Vec<(RecordKey, ETag)>, CopyError> {
        let listed = self.records.list().await.map_err(CopyError::Source)?;
        let listed: HashMap<_, _> = listed.into_iter().collect();
        let mut known = Vec::with_capacity(listed.len());
        let scanned = self.index.scan(Scope::All, &mut |key, tag, _| known.push((key, tag)));
        scanned.map_err(CopyError::Source)?;
        if known.len() != listed.len() || known.iter().any(|(key, tag)| listed.get(key) != Some(tag)) {
            return Err(CopyError::Unsettled);
        }
        Ok(known)
    }

    /// The records that the other store has; with their tag here, where they are the same.
    async fn compare_records(
        &self,
        target: &dyn Records,
    ) -> Result<HashMap<RecordKey, Option<ETag>>, CopyError> {
        let listed = target.list().await.map_err(CopyError::Target)?;
        let compared = listed.into_iter().map(async |(key, _)| {
            let theirs = target.get(&key).await.map_err(CopyError::Target)?;
            let ours = self.indexed(&key).map_err(CopyError::Source)?;
            let same = ours.zip(theirs).filter(|((_, ours), (theirs, _))| ours == theirs);
            Ok((key, same.map(|((tag, _), _)| tag)))
        });
        stream::iter(compared).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Writes the records that the other store has not, or has otherwise. To be called while nobody commits.
    async fn copy_records(
        &self,
        target: &dyn Records,
        mut there: HashMap<RecordKey, Option<ETag>>,
        report: &mut CopyReport,
    ) -> Result<(), CopyError> {
        // Changed applications, versions, new applications: as a push would, or so that an application appears at once.
        let mut steps = [const { Vec::new() }; 3];
        for (key, tag) in self.settled_records().await? {
            let theirs = there.remove(&key);
            if theirs.as_ref().is_some_and(|same| same.as_ref() == Some(&tag)) {
                report.records_skipped += 1;
                continue;
            }
            let step = if key.number().is_some() { 1 } else { 2 * usize::from(theirs.is_none()) };
            steps[step].push(key);
        }
        for keys in steps {
            report.records += keys.len() as u64;
            let written = keys.into_iter().map(async |key| {
                let Some((_, document)) = self.indexed(&key).map_err(CopyError::Source)? else {
                    return Err(CopyError::Unsettled);
                };
                target.put(&key, document).await.map(drop).map_err(CopyError::Target)
            });
            stream::iter(written).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        report.extra = there.keys().map(RecordKey::path).collect();
        report.extra.sort_unstable();
        Ok(())
    }

    /// A record as the index has it.
    fn indexed(&self, key: &RecordKey) -> Result<Option<(ETag, Bytes)>> {
        let mut found = None;
        self.index.scan(Scope::Record(key), &mut |_, tag, document| {
            found = Some((tag, Bytes::copy_from_slice(document)));
        })?;
        Ok(found)
    }
}

/// Images on their way to another store.
struct Copying<'a> {
    registry: &'a Registry,
    target: &'a dyn Blobs,
    /// What the target has, with the size in bytes.
    stored: HashMap<Digest, u64>,
    /// What has been dealt with.
    seen: HashSet<Digest>,
    /// What cannot be copied, and why.
    damaged: BTreeMap<Digest, String>,
    report: CopyReport,
}

impl Copying<'_> {
    /// Copies the images that records hold and that have not been dealt with. Answers whether there were any.
    async fn images(&mut self) -> Result<bool, CopyError> {
        let images = &self.registry.images;
        let mut any = false;
        for (image, size) in images.held() {
            if self.seen.contains(&image) {
                continue;
            }
            any = true;
            let pin = images.pin(&image).await;
            // Else it was deleted before it was pinned.
            let outcome = if images.is_held(&image) { self.image(image, size).await } else { Ok(()) };
            drop(pin);
            // Whoever deleted it meanwhile has left it because of the pin.
            self.registry.remove_unused(&[image]).await;
            outcome?;
        }
        Ok(any)
    }

    async fn image(&mut self, image: Digest, size: u64) -> Result<(), CopyError> {
        if self.stored.get(&image) == Some(&size) {
            self.report.images_skipped += 1;
        } else if let Some(problem) = self.transfer(&image, size).await? {
            tracing::error!(%image, problem, "an image is damaged and is not copied");
            self.damaged.insert(image, problem);
        } else {
            tracing::info!(%image, size_bytes = size, "copied an image");
            self.report.images += 1;
            self.report.bytes += size;
        }
        self.seen.insert(image);
        Ok(())
    }

    /// Copies one image. Answers what is wrong with it, where anything is: then the target has nothing of it.
    async fn transfer(&self, image: &Digest, size: u64) -> Result<Option<String>, CopyError> {
        match self.registry.wrong_size(image, size).await {
            Ok(None) => {}
            Ok(problem) => return Ok(problem),
            Err(error) => return unreadable(error),
        }
        let mut bytes = match self.registry.blobs.read(image, 0..size).await {
            Ok(bytes) => bytes,
            Err(error) => return unreadable(error),
        };
        let mut upload = self.target.begin(image, Some(size)).await.map_err(CopyError::Target)?;
        while let Some(chunk) = bytes.next().await {
            match chunk {
                Ok(chunk) => upload.write(chunk).await.map_err(CopyError::Target)?,
                Err(error) => return unreadable(error),
            }
            // Cached pages come without waiting: let others have the thread in between.
            tokio::task::yield_now().await;
        }
        match upload.commit().await {
            Ok(_) => Ok(None),
            Err(Error::Mismatch { actual, .. }) => Ok(Some(format!("its SHA-256 is {actual}"))),
            Err(error) => Err(CopyError::Target(error)),
        }
    }

    fn finish(mut self) -> Result<CopyReport> {
        self.damaged.retain(|image, _| self.registry.images.is_held(image));
        if !self.damaged.is_empty() {
            let mut holders = self.registry.holders()?;
            let damaged = self.damaged.into_iter().map(|(fingerprint, problem)| {
                let applications = holders.remove(&fingerprint).map(|(_, holders)| holders);
                DamagedImage { fingerprint, problem, applications: applications.unwrap_or_default() }
            });
            self.report.damaged = damaged.collect();
        }
        Ok(self.report)
    }
}

/// One image that cannot be read is damaged; where the whole store is out of reach, none is.
fn unreadable(error: Error) -> Result<Option<String>, CopyError> {
    match error {
        Error::OutOfReach(_) => Err(CopyError::Source(error)),
        other => Ok(Some(other.to_string())),
    }
}
