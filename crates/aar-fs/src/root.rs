use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aar_store::Result;

use crate::durable::create_dirs;
use crate::error::{blocking, error};
use crate::{FsBlobs, FsRecords};

pub(crate) const UPLOADS: &str = "uploads";
pub(crate) const IMAGES: &str = "images/sha256";
pub(crate) const RECORDS: &str = "records/applications";

/// Opens a directory as a store of images and records, for this process alone. Makes what is missing of it.
///
/// # Errors
/// Where another process has it open, or it cannot be read and written.
pub async fn open(root: &Path) -> Result<(FsBlobs, FsRecords)> {
    let path = root.to_owned();
    let root = blocking(move || Root::open(path)).await?;
    Ok((FsBlobs::new(root.clone()), FsRecords::new(root)))
}

/// A directory that is open as a store.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    /// Held by whoever makes directories or changes records.
    changing: Mutex<()>,
    /// Nanoseconds since 1970 that were given to a record last.
    last_moment: AtomicU64,
    /// Its lock tells other processes to stay away.
    _lock: File,
}

impl Root {
    fn open(path: PathBuf) -> Result<Arc<Self>> {
        for dir in [path.clone(), path.join(UPLOADS), path.join(IMAGES), path.join(RECORDS)] {
            create_dirs(&dir).map_err(|source| error("create", &dir, source))?;
        }
        let lock = lock(&path.join(".lock")).map_err(|source| error("open", &path, source))?;
        Ok(Arc::new(Self {
            path,
            changing: Mutex::default(),
            last_moment: AtomicU64::default(),
            _lock: lock,
        }))
    }

    pub(crate) fn join(&self, key: impl AsRef<Path>) -> PathBuf {
        self.path.join(key)
    }

    pub(crate) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, or a little later: never a moment that was answered before. The kernel's own time stamps move in steps of some
    /// milliseconds, within which two versions of a record could not be told apart.
    pub(crate) fn moment(&self) -> SystemTime {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let next = |last: u64| now.max(last.saturating_add(1));
        let last =
            self.last_moment.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        UNIX_EPOCH + Duration::from_nanos(last.map_or(now, next))
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(ErrorKind::ResourceBusy, "it is in use by another process"))
        }
        Err(TryLockError::Error(source)) => Err(source),
    }
}
