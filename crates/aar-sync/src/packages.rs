//! A directory of packages, whose images are to be on a registry. It is laid out as a mirror is:
//! `<name>/<version>/<architecture>/<one file>`, with `application.json` and `version.json` where there are fields to set.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aar_client::ImageAddress;
use aar_model::is_registry_owned;
use async_trait::async_trait;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use crate::{Application, Catalogue, Error, Package, Release, Result, Source};

/// A file that was written less than so long ago may be written on.
const SETTLED: Duration = Duration::from_secs(5);

/// A directory of packages.
pub struct Packages {
    root: PathBuf,
    looks: Arc<Looks>,
    /// Whether nothing was being written when it was listed last.
    is_settled: AtomicBool,
    /// Watches as long as it is there.
    _watcher: Option<RecommendedWatcher>,
}

/// When to look next.
#[derive(Default)]
struct Looks {
    at: Mutex<Option<Instant>>,
    earlier: Notify,
}

impl Packages {
    /// The packages in `root`, which are watched from now on, as far as the system can.
    pub fn open(root: &Path) -> Result<Self> {
        fs::read_dir(root).map_err(Error::file("read", root))?;
        let looks = Arc::new(Looks::default());
        let watcher = watch(root, Arc::clone(&looks))
            .inspect_err(|error| {
                tracing::warn!(%error, "cannot watch the directory; what is new is found at the next interval");
            })
            .ok();
        Ok(Self { root: root.to_owned(), looks, is_settled: AtomicBool::new(true), _watcher: watcher })
    }

    /// The file of a package.
    fn file(&self, image: &ImageAddress) -> Result<PathBuf> {
        let ImageAddress { name, version, architecture } = image;
        let dir = self.root.join(format!("{name}/{version}/{architecture}"));
        let gone = || Error::file("read", &dir)(io::ErrorKind::NotFound.into());
        packages(&dir)?.pop().ok_or_else(gone)
    }
}

fn watch(root: &Path, looks: Arc<Looks>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is not changing; and where events are lost, it is time to look as well.
        let is_reading = event.is_ok_and(|event| {
            matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
        });
        if !is_reading {
            looks.look_in(SETTLED);
        }
    })?;
    watcher.watch(root, RecursiveMode::Recursive)?;
    Ok(watcher)
}

impl Looks {
    /// Looks after a while, or before if that is due already.
    fn look_in(&self, pause: Duration) {
        self.at().get_or_insert_with(|| Instant::now() + pause);
        self.earlier.notify_one();
    }

    fn at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for Packages {
    async fn list(&self) -> Result<Arc<Catalogue>> {
        let root = self.root.clone();
        let scan = spawn_blocking(move || Scan::new().applications(&root));
        let (catalogue, is_settled) = scan.await.unwrap_or_else(|panic| Err(Error::End(panic.into())))?;
        self.is_settled.store(is_settled, Relaxed);
        if !is_settled {
            self.looks.look_in(SETTLED);
        }
        Ok(Arc::new(catalogue))
    }

    async fn changed(&self) {
        loop {
            let at = *self.looks.at();
            let Some(at) = at else {
                self.looks.earlier.notified().await;
                continue;
            };
            sleep_until(at).await;
            *self.looks.at() = None;
            return;
        }
    }

    fn is_settled(&self) -> bool {
        self.is_settled.load(Relaxed)
    }

    async fn fetch(&self, image: &ImageAddress, _: &Package, _: &Path) -> Result<PathBuf> {
        self.file(image)
    }
}

/// One walk through the directory.
struct Scan {
    now: SystemTime,
    is_settled: bool,
}

impl Scan {
    fn new() -> Self {
        Self { now: SystemTime::now(), is_settled: true }
    }

    /// The packages that are complete, and whether there may soon be more.
    fn applications(mut self, root: &Path) -> Result<(Catalogue, bool)> {
        let mut catalogue = Catalogue::default();
        for (name, dir) in directories(root)? {
            let Some(mut fields) = self.fields(&dir.join("application.json"))? else { continue };
            fields.retain(|name, _| !is_registry_owned(name));
            let mut application = Application { fields, ..Application::default() };
            for (version, dir) in directories(&dir)? {
                let Some(mut fields) = self.fields(&dir.join("version.json"))? else { continue };
                // Whether a version is shown to clients is its publisher's to say.
                fields.retain(|name, _| name == "published" || !is_registry_owned(name));
                let mut release = Release { fields, ..Release::default() };
                for (architecture, dir) in directories(&dir)? {
                    if let Some(package) = self.package(&dir)? {
                        release.packages.insert(architecture, package);
                    }
                }
                if !release.packages.is_empty() {
                    application.versions.insert(version, release);
                }
            }
            if !application.versions.is_empty() {
                catalogue.0.insert(name, application);
            }
        }
        Ok((catalogue, self.is_settled))
    }

    fn package(&mut self, dir: &Path) -> Result<Option<Package>> {
        let mut files = packages(dir)?;
        let Some(file) = files.pop() else { return Ok(None) };
        if !files.is_empty() {
            tracing::warn!(directory = %dir.display(), "there are several files; leave the one that is the package");
            return Ok(None);
        }
        let Some(size) = self.settled(&file)? else { return Ok(None) };
        Ok((size > 0).then_some(Package { size: Some(size), ..Package::default() }))
    }

    /// Fields from a file that may be missing. None where it is about to change, or cannot be understood: what is beside it
    /// is not to be pushed without them.
    fn fields(&mut self, path: &Path) -> Result<Option<Map<String, Value>>> {
        if !path.exists() {
            return Ok(Some(Map::new()));
        }
        if self.settled(path)?.is_none() {
            return Ok(None);
        }
        let bytes = fs::read(path).map_err(Error::file("read", path))?;
        match serde_json::from_slice::<Map<String, Value>>(&bytes) {
            Ok(fields) => Ok(Some(fields)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "this is no JSON object; what it belongs to is not pushed");
                Ok(None)
            }
        }
    }

    /// The size of a file that is not being written.
    fn settled(&mut self, path: &Path) -> Result<Option<u64>> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let written = metadata.modified().map_err(Error::file("read", path))?;
        // A time in the future says nothing.
        if self.now.duration_since(written).is_ok_and(|age| age < SETTLED) {
            self.is_settled = false;
            return Ok(None);
        }
        Ok(Some(metadata.len()))
    }
}

/// The directories whose names mean something.
fn directories<T: FromStr>(dir: &Path) -> Result<Vec<(T, PathBuf)>> {
    let named = |entry: &DirEntry| entry.file_name().to_str().and_then(|name| name.parse().ok());
    let entries = entries(dir)?.into_iter().filter(|entry| entry.path().is_dir());
    Ok(entries.filter_map(|entry| Some((named(&entry)?, entry.path()))).collect())
}

/// The files that may be packages: neither hidden nor on their way.
fn packages(dir: &Path) -> Result<Vec<PathBuf>> {
    let is_package = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let partial = [".part", ".partial", ".new", ".tmp"];
        path.is_file()
            && !name.starts_with(b".")
            && !partial.iter().any(|suffix| name.ends_with(suffix.as_bytes()))
    };
    Ok(entries(dir)?.iter().map(DirEntry::path).filter(is_package).collect())
}

fn entries(dir: &Path) -> Result<Vec<DirEntry>> {
    match fs::read_dir(dir).and_then(Iterator::collect) {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()), // it went meanwhile
        Err(error) => Err(Error::file("read", dir)(error)),
    }
}
