//! Receiving an image into a file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aar_model::wire::Image;
use aar_model::{Digest, Hasher};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::error::{Error, Result};
use crate::patience::Patience;
use crate::progress::{Progress, Step};
use crate::push::{blocking, hash};
use crate::{Client, Download, ImageAddress};

/// How many pieces, of 16 to 256 KiB, the network may be ahead of the disk.
const PIECES_AHEAD: usize = 16;
/// How much is written at a time.
const BLOCK: usize = 256 * 1024;

impl Client {
    /// Pulls an image, of which `expected` is known, into the file `target`. It is received into `<target>.part`, which a
    /// later pull goes on with if this one ends early, and gets its name once it is complete, right and durable.
    ///
    /// # Errors
    /// [`Error::Verification`] where the bytes are wrong; nothing is left then. [`Error::Busy`] where another pull has
    /// the same target.
    pub async fn pull(
        &self,
        image: &ImageAddress,
        expected: &Image,
        target: &Path,
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        let (goal, watcher) = (target.to_owned(), Arc::clone(progress));
        let mut part = blocking(move || Part::open(&goal, &*watcher)).await?;
        let resumed = part.length > 0;
        part = self.receive_all(image, expected, part, progress).await?;
        if resumed && part.digest() != expected.fingerprint {
            // What was there was of another image.
            part = blocking(move || part.reset()).await?;
            part = self.receive_all(image, expected, part, progress).await?;
        }
        let (goal, fingerprint) = (target.to_owned(), expected.fingerprint);
        blocking(move || part.finish(&goal, fingerprint)).await
    }

    /// Receives until the part is as long as the image, over as many connections as it takes.
    async fn receive_all(
        &self,
        image: &ImageAddress,
        expected: &Image,
        mut part: Part,
        progress: &Arc<dyn Progress>,
    ) -> Result<Part> {
        if part.length > expected.size {
            part = blocking(move || part.reset()).await?;
        }
        let mut patience = Patience::default();
        while part.length < expected.size {
            let before = part.length;
            let received = match self.download(image, part.length, &expected.fingerprint).await {
                Err(e) => Err(e),
                Ok(download) => {
                    let (back, received) = receive(download, expected, part, progress).await?;
                    part = back;
                    received
                }
            };
            match received {
                Ok(()) => {}
                Err(e) if e.may_pass() => patience.pause(e, part.length > before, progress).await?,
                Err(e) => return Err(e),
            }
        }
        Ok(part)
    }
}

/// Receives what one connection brings. The outer error is one of the part, the inner one of the connection.
async fn receive(
    mut download: Download,
    expected: &Image,
    mut part: Part,
    progress: &Arc<dyn Progress>,
) -> Result<(Part, Result<()>)> {
    if download.fingerprint != expected.fingerprint {
        let (expected, actual) = (expected.fingerprint, download.fingerprint);
        return Err(Error::Verification { expected, actual });
    }
    if download.size != expected.size {
        let sizes = format!("an image of {} bytes, listed with {}", download.size, expected.size);
        return Err(Error::Protocol(sizes));
    }
    if download.offset == 0 && part.length > 0 {
        part = blocking(move || part.reset()).await?;
    } else if download.offset != part.length {
        let offsets = format!("bytes from {} on, where {} was asked for", download.offset, part.length);
        return Err(Error::Protocol(offsets));
    }
    progress.begin(Step::Receiving, part.length, expected.size);
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let writer = spawn_blocking(move || part.write(pieces));
    let received = loop {
        match download.next().await {
            Ok(Some(piece)) => {
                let length = piece.len() as u64;
                if sender.send(piece).await.is_err() {
                    break Ok(()); // the writer has failed and says why
                }
                progress.advance(length);
            }
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    drop(sender);
    let part = writer.await.unwrap_or_else(|panic| Err(Error::Protocol(panic.to_string())))?;
    Ok((part, received))
}

/// The beginning of an image, in a file that no other pull writes. Dropped while it is empty, the file goes.
struct Part {
    file: File,
    path: PathBuf,
    length: u64,
    hasher: Hasher,
}

impl Part {
    /// Opens `<target>.part`, with what an earlier pull left in it.
    fn open(target: &Path, progress: &dyn Progress) -> Result<Self> {
        let mut path = target.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut file = Self::lock(&path)?;
        let length = file.metadata().map_err(Error::file("read", &path))?.len();
        if length > 0 {
            progress.begin(Step::Hashing, 0, length);
        }
        let (hasher, length) = hash(&mut file, progress).map_err(Error::file("read", &path))?;
        Ok(Self { file, path, length, hasher })
    }

    fn lock(path: &Path) -> Result<File> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(Error::file("open", path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Error::Busy(path.to_owned())),
                Err(TryLockError::Error(e)) => return Err(Error::file("lock", path)(e)),
            }
            // Between open and lock another pull may have finished and given the file its final name.
            let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            let held = file.metadata().map_err(Error::file("read", path))?;
            if fs::metadata(path).is_ok_and(|named| id(named) == id(held)) {
                return Ok(file);
            }
        }
    }

    /// Forgets what is there.
    fn reset(mut self) -> Result<Self> {
        self.file.set_len(0).map_err(Error::file("truncate", &self.path))?;
        (self.length, self.hasher) = (0, Hasher::default());
        Ok(self)
    }

    /// Appends all pieces that come.
    fn write(mut self, mut pieces: mpsc::Receiver<Bytes>) -> Result<Self> {
        self.append(&mut pieces).map_err(Error::file("write", &self.path))?;
        Ok(self)
    }

    fn append(&mut self, pieces: &mut mpsc::Receiver<Bytes>) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        let mut file = BufWriter::with_capacity(BLOCK, &self.file);
        while let Some(piece) = pieces.blocking_recv() {
            self.hasher.update(&piece);
            file.write_all(&piece)?;
            self.length += piece.len() as u64;
        }
        file.flush()
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Proves the image, makes it durable and gives it its name.
    fn finish(self, target: &Path, expected: Digest) -> Result<()> {
        let actual = self.digest();
        if actual != expected {
            fs::remove_file(&self.path).map_err(Error::file("remove", &self.path))?;
            return Err(Error::Verification { expected, actual });
        }
        self.file.sync_all().map_err(Error::file("write", &self.path))?;
        fs::rename(&self.path, target).map_err(Error::file("rename", &self.path))?;
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file("write", folder))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.length == 0 {
            // Of no use to a later pull. The lock is still held, so that nobody else's file is hit.
            let _ = fs::remove_file(&self.path);
        }
    }
}
