//! An image on its way out.
//!
//! Pages that are in memory are copied on the spot; only where the disk has to be waited for does another thread do that.
//! Buffers go round: each returns when the last user of its bytes drops them.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use aar_store::Result;
use bytes::Bytes;
use futures_util::Stream;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use crate::error::{corrupt, error, joined};

/// Bytes in a buffer: few enough to stay in the processor's nearest cache until they are encrypted.
const CHUNK: usize = 32 * 1024;
/// Buffers that wait for their next use, at most.
const SPARE: usize = 4;

type Buffer = Box<[u8]>;

/// The bytes of a range of a file.
pub(crate) struct Reader {
    file: Arc<File>,
    path: PathBuf,
    left: Range<u64>,
    spare: Arc<Mutex<Vec<Buffer>>>,
    /// A read that waits for the disk.
    waiting: Option<JoinHandle<(io::Result<usize>, Buffer)>>,
}

impl Reader {
    /// Reads `range` of a file of `size` bytes.
    pub(crate) fn new(file: File, path: PathBuf, range: Range<u64>, size: u64) -> Result<Self> {
        if range.end > size {
            return Err(corrupt(&path, format!("it has {size} bytes where {} are expected", range.end)));
        }
        // Only advice: reading works without.
        let _ = fadvise(&file, 0, None::<NonZeroU64>, Advice::Sequential);
        Ok(Self { file: Arc::new(file), path, left: range, spare: Arc::default(), waiting: None })
    }

    fn buffer(&self) -> Buffer {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; self.wanted().min(CHUNK)].into())
    }

    /// The next bytes of what is left, as far as they fit into a buffer.
    fn wanted(&self) -> usize {
        usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX)
    }

    fn chunk(&mut self, outcome: io::Result<usize>, buffer: Buffer) -> Result<Bytes> {
        let length = match outcome {
            Ok(0) => return Err(corrupt(&self.path, format!("it ends after {} bytes", self.left.start))),
            Ok(length) => length,
            Err(source) => return Err(error("read", &self.path, source)),
        };
        self.left.start += length as u64;
        Ok(Bytes::from_owner(Lent { buffer, length, home: self.spare.clone() }))
    }
}

impl Stream for Reader {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = self.get_mut();
        let chunk = loop {
            if let Some(waiting) = &mut this.waiting {
                let (outcome, buffer) = joined(ready!(Pin::new(waiting).poll(context)));
                this.waiting = None;
                break this.chunk(outcome, buffer);
            }
            if this.left.is_empty() {
                return Poll::Ready(None);
            }
            let mut buffer = this.buffer();
            let (length, offset) = (buffer.len().min(this.wanted()), this.left.start);
            let in_memory = preadv2(
                &this.file,
                &mut [IoSliceMut::new(&mut buffer[..length])],
                offset,
                ReadWriteFlags::NOWAIT,
            );
            match in_memory {
                Ok(length) => break this.chunk(Ok(length), buffer),
                // Not in memory, or the file system cannot tell.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {
                    let file = this.file.clone();
                    this.waiting = Some(tokio::task::spawn_blocking(move || {
                        let outcome = file.read_at(&mut buffer[..length], offset);
                        (outcome, buffer)
                    }));
                }
                Err(failed) => break this.chunk(Err(failed.into()), buffer),
            }
        };
        if chunk.is_err() {
            this.left.start = this.left.end;
        }
        Poll::Ready(Some(chunk))
    }
}

/// A buffer in the hands of whoever reads.
struct Lent {
    buffer: Buffer,
    length: usize,
    home: Arc<Mutex<Vec<Buffer>>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}
