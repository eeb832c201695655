//! Verifying: every image is read and hashed again.

use std::collections::BTreeMap;

use aar_model::wire::{DamagedImage, Image, VerifyReport};
use aar_model::{Digest, Hasher};
use futures_util::StreamExt;

use super::core::Registry;
use super::view::Viewer;
use crate::Result;

impl Registry {
    /// Reads every image that a record holds, and names those whose bytes are not what their name says.
    pub async fn verify(&self) -> Result<VerifyReport> {
        let mut report = VerifyReport { images: 0, bytes: 0, damaged: Vec::new() };
        for (fingerprint, (size, applications)) in self.holders()? {
            report.images += 1;
            report.bytes += size;
            if let Some(problem) = self.problem(&fingerprint, size).await {
                tracing::error!(image = %fingerprint, problem, "an image is damaged");
                report.damaged.push(DamagedImage { fingerprint, problem, applications });
            }
        }
        Ok(report)
    }

    /// The images that versions hold: the size in bytes, and who holds it, each as `name/version/architecture`.
    pub(super) fn holders(&self) -> Result<BTreeMap<Digest, (u64, Vec<String>)>> {
        let mut held = BTreeMap::<Digest, (u64, Vec<String>)>::new();
        self.applications(Viewer::Publisher, &mut |application| {
            for version in application.versions {
                for Image { architecture, fingerprint, size, .. } in version.images {
                    let holder = format!("{}/{}/{architecture}", application.name, version.number);
                    held.entry(fingerprint).or_insert((size, Vec::new())).1.push(holder);
                }
            }
        })?;
        Ok(held)
    }

    /// What is wrong with an image, where anything is.
    async fn problem(&self, image: &Digest, size: u64) -> Option<String> {
        match self.wrong_size(image, size).await {
            Err(error) => return Some(error.to_string()),
            Ok(Some(problem)) => return Some(problem),
            Ok(None) => {}
        }
        match self.hash(image, size).await {
            Err(error) => Some(error.to_string()),
            Ok(actual) if actual != *image => Some(format!("its SHA-256 is {actual}")),
            Ok(_) => None,
        }
    }

    /// What is wrong with an image's size, where anything is.
    pub(super) async fn wrong_size(&self, image: &Digest, size: u64) -> Result<Option<String>> {
        Ok(match self.blobs.size(image).await? {
            None => Some("it is missing".into()),
            Some(actual) if actual != size => Some(format!("it has {actual} bytes instead of {size}")),
            Some(_) => None,
        })
    }

    async fn hash(&self, image: &Digest, size: u64) -> Result<Digest> {
        let mut bytes = self.blobs.read(image, 0..size).await?;
        let mut hasher = Hasher::default();
        while let Some(chunk) = bytes.next().await {
            hasher.update(&chunk?);
            // Cached pages come without waiting: let others have the thread in between.
            tokio::task::yield_now().await;
        }
        Ok(hasher.finish())
    }
}
