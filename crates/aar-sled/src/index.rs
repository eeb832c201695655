use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use aar_store::{Change, ETag, Error, Index, RecordKey, Result, Scope};
use tracing::warn;

use crate::contain::{Failure, contain};
use crate::entry::{Decoder, encode_key, encode_value, prefix};
use crate::packed::Packer;

/// Bytes that sled may keep of what it has read. It keeps to that only where it is asked often (each of its cache's 256
/// shards looks at what it holds after 64 lookups), so that an index of some 10 MiB stays in memory after a full scan.
const CACHE: u64 = 1024 * 1024;
/// How much of a crash's last moments may be missing from the index, in milliseconds.
const FLUSH_EVERY_MS: u64 = 1000;

/// The index in a directory.
pub struct SledIndex {
    db: sled::Db,
    path: PathBuf,
    was_damaged: bool,
    /// sled's batches are atomic for a crash and for one lookup; this makes them so for a scan.
    changes: RwLock<()>,
    /// Held until the last: sled may be thrown away and begun anew only by the one who has this.
    _lock: File,
}

impl SledIndex {
    /// Opens the index in the directory `dir`, which is made where it is missing. Reads all of it; what is damaged is
    /// thrown away, and the index is empty then. Answers also what `visit` makes of its entries, in the order of their keys.
    ///
    /// # Errors
    /// Where another process has it open, or the directory cannot be read and written.
    pub fn open<T: Default>(
        dir: &Path,
        visit: impl Fn(&mut T, RecordKey, &ETag, &[u8]),
    ) -> Result<(Self, T)> {
        let error = |source: io::Error| file_error(format!("open the index `{}`", dir.display()), source);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(error)?;
        let lock = lock(&dir.join("lock")).map_err(error)?;
        let path = dir.join("sled");
        wait_until_let_go(&path).map_err(error)?;
        let ((db, visited), was_damaged) = match contain(|| open_whole(&path, &visit)) {
            Ok(opened) => (opened, false),
            Err(damage) => {
                warn!(path = %path.display(), error = &damage as &dyn std::error::Error, "the index is damaged and begun anew");
                fs::remove_dir_all(&path).map_err(error)?;
                let opened = contain(|| open_whole(&path, &visit)).map_err(|failure| match failure {
                    Failure::Sled(sled::Error::Io(source)) => error(source),
                    other => error(io::Error::other(other)),
                })?;
                (opened, true)
            }
        };
        Ok((Self { db, path, was_damaged, changes: RwLock::default(), _lock: lock }, visited))
    }

    /// Whether opening found damage, and began an empty index.
    pub fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// Makes all changes durable. Blocks on the disk. Dropping the index does so too.
    pub fn flush(&self) -> Result<()> {
        self.contain(|| Ok(self.db.flush().map(drop)?))
    }

    fn contain<T>(&self, action: impl FnOnce() -> std::result::Result<T, Failure>) -> Result<T> {
        contain(action).map_err(|failure| Error::Corrupt {
            what: format!("the index `{}`", self.path.display()),
            source: failure.into(),
        })
    }
}

impl fmt::Debug for SledIndex {
    /// Not the records, of which sled would show all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledIndex").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Index for SledIndex {
    fn scan(&self, scope: Scope<'_>, visit: &mut dyn FnMut(RecordKey, ETag, &[u8])) -> Result<()> {
        let _unchanging = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        let mut decoder = Decoder::default();
        let mut entries = match scope {
            Scope::Record(key) => {
                let bytes = encode_key(key);
                if let Some(value) = self.contain(|| Ok(self.db.get(&bytes)?))? {
                    let (tag, document) =
                        self.contain(|| decoder.value(&value).ok_or(Failure::Entry(bytes)))?;
                    visit(key.clone(), tag, document);
                }
                return Ok(());
            }
            Scope::Application(name) => self.db.scan_prefix(prefix(name)),
            Scope::All => self.db.iter(),
        };
        while let Some(entry) = self.contain(|| Ok(entries.next().transpose()?))? {
            let (key, tag, document) = self.contain(|| read(&entry, &mut decoder))?;
            visit(key, tag, document);
        }
        Ok(())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let mut batch = sled::Batch::default();
        let mut packer = Packer::new();
        for change in changes {
            match change {
                Change::Put(key, tag, document) => {
                    batch.insert(encode_key(&key), encode_value(&tag, &document, &mut packer));
                }
                Change::Remove(key) => batch.remove(encode_key(&key)),
            }
        }
        let _alone = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        self.contain(|| Ok(self.db.apply_batch(batch)?))
    }
}

/// Opens sled and reads every entry once.
fn open_whole<T: Default>(
    path: &Path,
    visit: impl Fn(&mut T, RecordKey, &ETag, &[u8]),
) -> std::result::Result<(sled::Db, T), Failure> {
    let db =
        sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(Some(FLUSH_EVERY_MS)).open()?;
    let mut decoder = Decoder::default();
    let mut visited = T::default();
    for entry in &*db {
        let entry = entry?;
        let (key, tag, document) = read(&entry, &mut decoder)?;
        visit(&mut visited, key, &tag, document);
    }
    Ok((db, visited))
}

fn read<'a>(
    (key, value): &(sled::IVec, sled::IVec),
    decoder: &'a mut Decoder,
) -> std::result::Result<(RecordKey, ETag, &'a [u8]), Failure> {
    let wrong = || Failure::Entry(key.to_vec());
    let record = decoder.key(key).ok_or_else(wrong)?;
    let (tag, document) = decoder.value(value).ok_or_else(wrong)?;
    Ok((record, tag, document))
}

fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is in use by another process"))
        }
        Err(TryLockError::Error(source)) => Err(source),
    }
}

/// sled's threads hold its file a moment longer than the index whose they were, and sled refuses to open it meanwhile.
fn wait_until_let_go(path: &Path) -> io::Result<()> {
    match File::open(path.join("db")) {
        Ok(file) => file.lock(),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(source),
    }
}

fn file_error(action: String, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace(source.into()),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::Denied { action, source: source.into() }
        }
        _ => Error::Io { action, source: source.into() },
    }
}
