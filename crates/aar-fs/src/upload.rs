//! An image on its way in.
//!
//! Chunks are gathered into batches. A batch is hashed and written on a thread of its own while the next one is gathered,
//! and no thread waits for a sender: however many are slow, none is held up by another.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aar_model::{Digest, Hasher};
use aar_store::{Error, Result, Upload, image_key};
use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tempfile::TempPath;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::direct::DirectFile;
use crate::durable::{TEMPORARY, create_dirs, open_file, parent, sync_dir};
use crate::error::{blocking, error, joined};
use crate::root::{Root, UPLOADS};

/// Bytes, and chunks, that are worth a thread's attention.
const BATCH: usize = 256 * 1024;
const BATCH_CHUNKS: usize = 256;
/// How many times as much is gathered while the thread is busy, before the sender has to wait.
const AHEAD: usize = 2;

/// An image that is being received.
pub(crate) struct FsUpload {
    /// The directory of uploads, for errors.
    path: PathBuf,
    state: State,
    batch: Vec<Bytes>,
    batched: usize,
}

enum State {
    Idle(Box<Received>),
    Busy(JoinHandle<io::Result<Box<Received>>>),
    Failed,
}

/// What has been written.
struct Received {
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
        Ok(Self { path, state: State::Idle(Box::new(received)), batch: Vec::new(), batched: 0 })
    }

    /// Waits until the thread has written its batch.
    async fn idle(&mut self) -> Result<()> {
        if let State::Busy(writing) = &mut self.state {
            self.state = match joined(writing.await) {
                Ok(received) => State::Idle(received),
                Err(source) => {
                    self.state = State::Failed;
                    return Err(error("write an image to", &self.path, source));
                }
            };
        }
        Ok(())
    }

    /// Hands the batch to the thread, once that is idle.
    async fn hand_over(&mut self) -> Result<()> {
        self.idle().await?;
        let State::Idle(mut received) = mem::replace(&mut self.state, State::Failed) else {
            return Err(error(
                "write an image to",
                &self.path,
                io::Error::other("the upload has failed before"),
            ));
        };
        let batch = mem::take(&mut self.batch);
        self.batched = 0;
        self.state = State::Busy(spawn_blocking(move || received.write(&batch).map(|()| received)));
        Ok(())
    }
}

#[async_trait]
impl Upload for FsUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if !chunk.is_empty() {
            self.batched += chunk.len();
            self.batch.push(chunk);
        }
        let enough = |times| self.batched >= times * BATCH || self.batch.len() >= times * BATCH_CHUNKS;
        let busy = matches!(&self.state, State::Busy(writing) if !writing.is_finished());
        if enough(1) && !busy || enough(AHEAD) {
            self.hand_over().await?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<u64> {
        self.hand_over().await?;
        self.idle().await?;
        let State::Idle(received) = mem::replace(&mut self.state, State::Failed) else {
            return Err(error(
                "write an image to",
                &self.path,
                io::Error::other("the upload has failed before"),
            ));
        };
        blocking(move || received.commit()).await
    }
}

impl Received {
    fn create(root: Arc<Root>, uploads: &Path, image: Digest, declared: Option<u64>) -> io::Result<Self> {
        let (file, path) = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(uploads)?.into_parts();
        let temporary = Temporary(Some(path));
        if let Some(size @ 1..) = declared {
            // Tells now whether there is room. Where the file system cannot, writing will tell.
            if let Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) =
                fallocate(&file, FallocateFlags::KEEP_SIZE, 0, size)
            {
                return Err(full.into());
            }
        }
        let file = DirectFile::new(file);
        Ok(Self { root, image, declared, file, temporary, hasher: Hasher::default(), size: 0 })
    }

    fn write(&mut self, batch: &[Bytes]) -> io::Result<()> {
        for chunk in batch {
            self.hasher.update(chunk);
            self.file.write(chunk)?;
            self.size += chunk.len() as u64;
        }
        Ok(())
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
            let file = file.finish()?;
            if declared.is_some_and(|declared| declared > size) {
                // Gives back what was set aside for more.
                file.set_len(size)?;
            }
            {
                let _alone = root.change();
                create_dirs(parent(&path))?;
            }
            let stored = open_file(&path).is_ok_and(|(_, stat)| u64::try_from(stat.st_size) == Ok(size));
            if stored {
                temporary.remove()?;
            } else {
                file.sync_data()?;
                temporary.rename(&path)?;
            }
            // Also where it was stored: whoever stored it may not have come to this.
            sync_dir(parent(&path))
        };
        name().map_err(|source| error("store", &path, source))?;
        Ok(size)
    }
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
