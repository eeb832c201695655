//! What of a registry is for an AMS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aar_client::ImageAddress;
use aar_model::Architecture;
use aar_sync::{Application, Catalogue, Package, Source};
use async_trait::async_trait;

use crate::AmsTarget;
use crate::error::Result;

/// A registry without what an AMS does not take: images that are no packages or for other machines, more versions than AMS
/// keeps, and versions that are older than one that AMS has already. AMS numbers versions in the order in which they come,
/// and launches the last: an older one that came late would be taken for the newest.
pub struct Wanted<'a> {
    /// The registry.
    pub source: &'a dyn Source,
    /// The AMS.
    pub target: &'a AmsTarget,
    /// What the machines of AMS are.
    pub architecture: Architecture,
}

#[async_trait]
impl Source for Wanted<'_> {
    async fn list(&self) -> aar_sync::Result<Arc<Catalogue>> {
        let mut wanted = Catalogue::clone(&*self.source.list().await?);
        let limit = self.limit().await?;
        let present = self.target.present().await?;
        for (name, application) in &mut wanted.0 {
            self.trim(application);
            let there = present.get(name).map(|note| &note.versions);
            let newest = there.and_then(|versions| versions.keys().max());
            let kept = application.versions.keys().rev().take(limit).min().copied();
            application.versions.retain(|version, _| {
                let is_there = there.is_some_and(|there| there.contains_key(version));
                let is_late = newest.is_some_and(|newest| version < newest) && !is_there;
                if is_late {
                    tracing::info!(%name, %version, "left out, as AMS has a newer version already");
                }
                !is_late && kept.is_none_or(|kept| *version >= kept)
            });
        }
        wanted.0.retain(|_, application| !application.versions.is_empty());
        Ok(Arc::new(wanted))
    }

    async fn changed(&self) {
        self.source.changed().await;
    }

    async fn fetch(
        &self,
        image: &ImageAddress,
        package: &Package,
        target: &Path,
    ) -> aar_sync::Result<PathBuf> {
        self.source.fetch(image, package, target).await
    }
}

impl Wanted<'_> {
    fn trim(&self, application: &mut Application) {
        application.versions.retain(|_, release| {
            release.packages.retain(|architecture, package| {
                *architecture == self.architecture && may_be_package(package.media_type.as_deref())
            });
            !release.packages.is_empty()
        });
    }

    /// How many versions of an application AMS keeps.
    async fn limit(&self) -> Result<usize> {
        match self.target.ams().max_published_versions().await {
            Ok(limit) => Ok(limit.unwrap_or(usize::MAX)),
            // Who may not read the configuration finds out in the long way.
            Err(e) if e.is_refusal() => Ok(usize::MAX),
            Err(e) => Err(e),
        }
    }
}

fn may_be_package(media_type: Option<&str>) -> bool {
    matches!(media_type, None | Some("application/x-bzip2" | "application/zip"))
}
