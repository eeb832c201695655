//! Bytes on their way to a file.
//!
//! Chunks are gathered into batches. A batch is hashed and written on a thread of its own while the next one is gathered,
//! and no thread waits for a sender: however many are slow, none is held up by another.

use std::io;
use std::mem;
use std::path::PathBuf;

use aar_store::{Error, Result};
use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::{error, joined};

/// Bytes, and chunks, that are worth a thread's attention: to wake it, and to be woken by it, costs as much as to hash some
/// 20 KiB. A sender may have two batches here, one that is gathered and one that is written.
const BATCH: usize = 1024 * 1024;
const BATCH_CHUNKS: usize = 256;

/// What batches go to.
pub(crate) trait Sink: Send + 'static {
    fn write(&mut self, batch: &[Bytes]) -> io::Result<()>;
}

/// Gathers batches for `S`.
pub(crate) struct Batches<S> {
    /// Where that writes, for errors.
    path: PathBuf,
    state: State<S>,
    batch: Vec<Bytes>,
    batched: usize,
}

enum State<S> {
    Idle(Box<S>),
    Busy(JoinHandle<io::Result<Box<S>>>),
    Failed,
}

impl<S: Sink> Batches<S> {
    pub(crate) fn new(path: PathBuf, sink: S) -> Self {
        Self { path, state: State::Idle(Box::new(sink)), batch: Vec::new(), batched: 0 }
    }

    /// Takes the next bytes; waits where the disk is slower than the sender.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if !chunk.is_empty() {
            self.batched += chunk.len();
            self.batch.push(chunk);
        }
        if self.batched >= BATCH || self.batch.len() >= BATCH_CHUNKS {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// Where all went that was taken.
    pub(crate) async fn finish(mut self) -> Result<Box<S>> {
        self.hand_over().await?;
        self.idle().await?;
        match self.state {
            State::Idle(sink) => Ok(sink),
            State::Busy(_) | State::Failed => Err(self.failed()),
        }
    }

    /// Waits until the thread has written its batch.
    pub(crate) async fn idle(&mut self) -> Result<()> {
        if let State::Busy(writing) = &mut self.state {
            self.state = match joined(writing.await) {
                Ok(sink) => State::Idle(sink),
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
        let State::Idle(mut sink) = mem::replace(&mut self.state, State::Failed) else {
            return Err(self.failed());
        };
        let batch = mem::take(&mut self.batch);
        self.batched = 0;
        self.state = State::Busy(spawn_blocking(move || sink.write(&batch).map(|()| sink)));
        Ok(())
    }

    fn failed(&self) -> Error {
        error("write an image to", &self.path, io::Error::other("the upload has failed before"))
    }
}
