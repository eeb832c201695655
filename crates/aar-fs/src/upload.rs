//! An image on its way in.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use aar_model::{Digest, Hasher};
use aar_store::{Error, Result, Upload, image_key};
use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tempfile::TempPath;
use tokio::runtime::Handle;

use crate::batches::{Batches, Sink};
use crate::direct::DirectFile;
use crate::durable::{TEMPORARY, create_dirs, open_file, parent, sync_dir};
use crate::error::{blocking, error};
use crate::root::{Root, UPLOADS};

/// An image that is being received.
pub(crate) struct FsUpload(Batches<Received>);

/// What has been written.
pub(crate) struct Received {
    root: Arc<Root>,
    image: Digest,
    declared: Option<u64>,
    file: DirectFile,
    temporary: Temporary,
    hasher: Hasher,
    size: u64,
}

impl FsUpload {
    pub(crate) async fn begin(root: Arc<Root>, image: Digest, declared: Option<u64>) -> Result<Self> {
        let path = root.join(UPLOADS);
        let received = blocking({
            let path = path.clone();
            move || {
                Received::create(root, &path, image, declared)
                    .map_err(|source| error("write an image to", &path, source))
            }
        })
        .await?;
        Ok(Self(Batches::new(path, received)))
    }
}

#[async_trait]
impl Upload for FsUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.0.write(&chunk).await
    }

    async fn commit(self: Box<Self>) -> Result<u64> {
        let received = self.0.finish().await?;
        blocking(move || received.commit()).await
    }
}

impl Received {
    fn create(root: Arc<Root>, uploads: &Path, image: Digest, declared: Option<u64>) -> io::Result<Self> {
        let (file, path) = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(uploads)?.into_parts();
        let temporary = Temporary(Some(path));
        if let Some(size @ 1..) = declared {
            reserve(&file, size)?;
        }
        let file = DirectFile::new(file);
        Ok(Self { root, image, declared, file, temporary, hasher: Hasher::default(), size: 0 })
    }

    fn commit(self) -> Result<u64> {
        let Self { root, image, declared, file, temporary, hasher, size } = self;
        let actual = hasher.finish();
        if actual != image {
            temporary
                .remove()
                .map_err(|source| error("remove an image from", &root.join(UPLOADS), source))?;
            return Err(Error::Mismatch { expected: image, actual });
        }
        let path = root.join(image_key(&image));
        let name = || -> io::Result<()> {
            if declared.is_some_and(|declared| declared > size) {
                // Gives back what was set aside for more.
                file.set_len(size)?;
            }
            prepare(&root, &path)?;
            if is_stored(&path, size) {
                temporary.remove()?;
            } else {
                file.sync()?;
                temporary.rename(&path)?;
            }
            // Also where it was stored: whoever stored it may not have come to this.
            sync_dir(parent(&path))
        };
        name().map_err(|source| error("store", &path, source))?;
        Ok(size)
    }
}

impl Sink for Received {
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        self.hasher.update(batch);
        self.file.write_at(batch, self.size)?;
        self.size += batch.len() as u64;
        Ok(())
    }
}

/// Tells now whether there is room for `size` bytes. Where the file system cannot, writing will tell.
pub(crate) fn reserve(file: &File, size: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, size) {
        Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(full.into()),
        _ => Ok(()),
    }
}

/// Makes the directory of an image's path.
pub(crate) fn prepare(root: &Root, path: &Path) -> io::Result<()> {
    let _alone = root.change();
    create_dirs(parent(path))
}

/// Whether the image of this path, and of `size` bytes, is stored.
pub(crate) fn is_stored(path: &Path, size: u64) -> bool {
    open_file(path).is_ok_and(|(_, stat)| u64::try_from(stat.st_size) == Ok(size))
}

/// The name of a file that has no other name yet. Dropped, it takes the file with it.
struct Temporary(Option<TempPath>);

impl Temporary {
    fn remove(mut self) -> io::Result<()> {
        self.0.take().map_or(Ok(()), TempPath::close)
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        self.0.take().map_or(Ok(()), |temporary| temporary.persist(path).map_err(|failed| failed.error))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // To free a big file takes a while, which no sender's task should wait for.
        if let (Some(temporary), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(temporary));
        }
    }
}
