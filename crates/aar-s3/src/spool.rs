//! What an upload has beyond its last whole part, as a file of this machine: `<upload>-<bytes in whole parts>`.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aar_store::{Error, Result, UploadId};
use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::S3Store;
use crate::parts::BLOCK;

/// How many bytes the spool has of an upload whose whole parts have `offset` bytes, and when they were written, in Unix
/// seconds.
pub(crate) async fn size(store: &S3Store, id: &UploadId, offset: u64) -> Result<(u64, i64)> {
    let path = path(store, id, offset);
    blocking(store, move |_| match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((0, 0)),
        metadata => {
            let metadata = metadata?;
            let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            Ok((metadata.len(), i64::try_from(written).unwrap_or(i64::MAX)))
        }
    })
    .await
}

/// What the spool has of an upload whose whole parts have `offset` bytes.
pub(crate) async fn read(store: &S3Store, id: &UploadId, offset: u64) -> Result<Vec<Bytes>> {
    let path = path(store, id, offset);
    blocking(store, move |_| {
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let mut blocks = Vec::new();
        loop {
            let mut block = Vec::new();
            if (&mut file).take(BLOCK as u64).read_to_end(&mut block)? == 0 {
                return Ok(blocks);
            }
            blocks.push(block.into());
        }
    })
    .await
}

/// Writes what an upload has beyond its whole parts of `offset` bytes, in one step; durable when answered. What the spool
/// had of it before is removed.
pub(crate) async fn write(store: &S3Store, id: &UploadId, offset: u64, tail: Vec<Bytes>) -> Result<()> {
    let (id, path) = (id.clone(), path(store, id, offset));
    blocking(store, move |dir| {
        if !tail.is_empty() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            for piece in &tail {
                file.write_all(piece)?;
            }
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|failed| failed.error)?;
            // The directory may be new itself.
            for dir in dir.ancestors().take(2) {
                File::open(dir)?.sync_all()?;
            }
        }
        remove_if(dir, |name| {
            name.strip_prefix(&id.to_string()).is_some_and(|rest| rest.starts_with('-'))
                && (tail.is_empty() || !path.ends_with(name))
        })
    })
    .await
}

/// Removes what the spool has of uploads other than these.
pub(crate) async fn retain(store: &S3Store, ids: Vec<UploadId>) -> Result<()> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    blocking(store, move |dir| {
        remove_if(dir, |name| {
            !ids.iter().any(|id| name.strip_prefix(id).is_some_and(|rest| rest.starts_with('-')))
        })
    })
    .await
}

fn remove_if(dir: &Path, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if unwanted(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn path(store: &S3Store, id: &UploadId, offset: u64) -> PathBuf {
    store.spool().join(format!("{id}-{offset}"))
}

/// Does `work` to the spool's directory on a thread that may wait.
async fn blocking<T: Send + 'static>(
    store: &S3Store,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let dir = store.spool().to_owned();
    let outcome = spawn_blocking(move || work(&dir).map_err(|source| (dir, source))).await;
    let (dir, source) = match outcome {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(failed)) => failed,
        Err(panic) => (store.spool().to_owned(), io::Error::other(panic)),
    };
    Err(match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::NoSpace(source.into()),
        _ => Error::Io { action: format!("use `{}`", dir.display()), source: source.into() },
    })
}
