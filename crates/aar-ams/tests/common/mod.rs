//! A registry that is in memory, and a synchronisation of AMS with it.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aar_ams::{Ams, AmsTarget, Wanted};
use aar_client::ImageAddress;
use aar_model::{Architecture, Digest};
use aar_sync::{Catalogue, Outcome, Package, Selection, Source, Sync, Timing};
use aar_tests::ams_server::{AmsServer, Packed, package};
use async_trait::async_trait;
use serde_json::{Map, Value};
use tempfile::TempDir;

/// A registry that is in memory.
#[derive(Default)]
pub(crate) struct Registry {
    catalogue: Mutex<Catalogue>,
    images: Mutex<HashMap<Digest, Vec<u8>>>,
    fetches: AtomicUsize,
}

impl Registry {
    /// Publishes an image; answers its SHA-256.
    pub(crate) fn publish(&self, name: &str, version: u32, image: Vec<u8>) -> String {
        self.publish_for(name, version, "x86_64", image)
    }

    pub(crate) fn publish_for(&self, name: &str, version: u32, architecture: &str, image: Vec<u8>) -> String {
        let media_type = match &image[..2] {
            b"BZ" => "application/x-bzip2",
            b"PK" => "application/zip",
            _ => "application/octet-stream",
        };
        let fingerprint = Digest::of(&image);
        let package = Package {
            fingerprint: Some(fingerprint),
            size: Some(image.len() as u64),
            media_type: Some(media_type.into()),
        };
        let mut catalogue = self.catalogue.lock().unwrap();
        let application = catalogue.0.entry(name.parse().unwrap()).or_default();
        let release = application.versions.entry(version.to_string().parse().unwrap()).or_default();
        release.packages.insert(architecture.parse().unwrap(), package);
        self.images.lock().unwrap().insert(fingerprint, image);
        fingerprint.to_string()
    }

    /// Publishes a package of the application that it is published as.
    pub(crate) fn publish_package(&self, name: &str, version: u32) -> String {
        let content = format!("{name} {version}");
        self.publish(name, version, package(Packed::TarBzip2, name, "", content.as_bytes()))
    }

    pub(crate) fn set(&self, name: &str, field: &str, value: Value) {
        let mut catalogue = self.catalogue.lock().unwrap();
        catalogue.0.get_mut(name).unwrap().fields.extend(Map::from_iter([(field.to_owned(), value)]));
    }

    pub(crate) fn withdraw(&self, name: &str, version: u32) {
        let mut catalogue = self.catalogue.lock().unwrap();
        let versions = &mut catalogue.0.get_mut(name).unwrap().versions;
        versions.remove(&version.to_string().parse().unwrap()).unwrap();
    }

    pub(crate) fn delete(&self, name: &str) {
        self.catalogue.lock().unwrap().0.remove(name).unwrap();
    }

    /// How often an image was fetched.
    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Source for Registry {
    async fn list(&self) -> aar_sync::Result<Arc<Catalogue>> {
        Ok(Arc::new(self.catalogue.lock().unwrap().clone()))
    }

    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    async fn fetch(&self, _: &ImageAddress, package: &Package, target: &Path) -> aar_sync::Result<PathBuf> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let image = self.images.lock().unwrap()[&package.fingerprint.unwrap()].clone();
        std::fs::write(target, image).unwrap();
        Ok(target.to_owned())
    }
}

/// An AMS, a registry, and what is remembered.
pub(crate) struct Fixture {
    pub(crate) ams: AmsServer,
    pub(crate) registry: Registry,
    pub(crate) dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { ams: AmsServer::unix(dir.path()), registry: Registry::default(), dir }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// One round of a synchronisation that starts for it.
    pub(crate) async fn pull(&self) -> aar_sync::Result<Outcome> {
        let target = AmsTarget::open(Ams::unix(self.ams.socket()), &self.state())?;
        self.pull_to(&target).await
    }

    pub(crate) async fn pull_to(&self, target: &AmsTarget) -> aar_sync::Result<Outcome> {
        let source = Wanted { source: &self.registry, target, architecture: Architecture::X86_64 };
        let timing = Timing { interval: Duration::from_secs(3600), parallel: NonZeroUsize::new(4).unwrap() };
        Sync { source: &source, target, selection: Selection::default(), timing }.round().await
    }

    /// One round that leaves nothing undone.
    pub(crate) async fn pull_all(&self) {
        let outcome = self.pull().await.unwrap();
        assert!(outcome.failures.is_empty(), "{outcome:?}");
    }

    /// What could not be done in a round.
    pub(crate) async fn failures(&self) -> Vec<String> {
        self.pull().await.unwrap().failures.iter().map(ToString::to_string).collect()
    }

    /// Lets an hour pass since an application was noted.
    pub(crate) fn age(&self, name: &str) {
        let path = self.state().join(format!("applications/{name}.json"));
        let mut note: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let begun_at = &mut note["making"]["begun_at"];
        *begun_at = (begun_at.as_i64().unwrap() - 3600).into();
        std::fs::write(&path, note.to_string()).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }

    /// What AMS has published of one application, oldest first.
    pub(crate) fn published(&self, name: &str) -> Vec<String> {
        self.ams.published().remove(name).unwrap_or_default()
    }
}
