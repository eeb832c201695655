//! The collector: removes what no record holds.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use aar_model::wire::{CollectReport, CollectedImage};

use super::core::Registry;
use crate::{Error, Result};

impl Registry {
    /// Removes images that nothing holds and that were completed more than `grace` ago, and finishes deletions that were
    /// cut off. With `dry_run` it only says what it would remove.
    ///
    /// # Errors
    /// Some records cannot be read: what they hold must not be taken for unused.
    pub async fn collect_garbage(&self, grace: Duration, dry_run: bool) -> Result<CollectReport> {
        self.refuse_degraded()?;
        let damaged = self.damaged.load(Ordering::Acquire);
        if damaged > 0 {
            return Err(Error::Corrupt {
                what: format!("the store ({damaged} records)"),
                source: "mend or remove the records that the log names, then run `aar maintenance rebuild`"
                    .into(),
            });
        }
        if !dry_run {
            self.finish_deletions().await?;
        }
        let mut report = CollectReport { removed: Vec::new(), bytes: 0, dry_run };
        for blob in self.blobs.list().await? {
            // A clock that went back makes a blob look as if it came from the future: it waits.
            let age = SystemTime::now().duration_since(blob.modified).unwrap_or_default();
            if age < grace {
                continue;
            }
            let Some(_removal) = self.removal(&blob.image).await else { continue };
            if !dry_run {
                self.blobs.delete(&blob.image).await?;
            }
            report.bytes += blob.size;
            report.removed.push(CollectedImage { fingerprint: blob.image, size: blob.size });
        }
        Ok(report)
    }

    async fn finish_deletions(&self) -> Result<()> {
        for name in self.leftovers()? {
            let _commits = self.committing().await?;
            let _application = self.applications.lock(&name).await;
            self.finish_deletion(&name).await?;
            let documents = self.documents(&name)?;
            if documents.application.is_some() && documents.versions.is_empty() {
                self.remove_application_record(&name).await?;
            }
        }
        Ok(())
    }
}
