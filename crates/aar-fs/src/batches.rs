//! Bytes on their way to a file.
//!
//! They are gathered into batches. A batch is hashed and written on a thread of its own while the next one is gathered, and
//! no thread waits for a sender: however many are slow, none is held up by another.

use std::io;
use std::mem;
use std::path::PathBuf;

use aar_store::{Error, Result};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::direct::Buffer;
use crate::error::{error, joined};

/// What batches go to.
pub(crate) trait Sink: Send + 'static {
    /// Takes the next batch. All but the last are full.
    fn write(&mut self, batch: &[u8]) -> io::Result<()>;
}

/// Gathers batches for `S`.
pub(crate) struct Batches<S> {
    /// Where that writes, for errors.
    path: PathBuf,
    gathered: Buffer,
    state: State<S>,
}

enum State<S> {
    Idle(Box<Writer<S>>),
    Busy(JoinHandle<io::Result<Box<Writer<S>>>>),
    Failed,
}

/// What a thread needs to write a batch.
struct Writer<S> {
    sink: S,
    batch: Buffer,
}

impl<S: Sink> Batches<S> {
    pub(crate) fn new(path: PathBuf, sink: S) -> Self {
        let writer = Box::new(Writer { sink, batch: Buffer::default() });
        Self { path, gathered: Buffer::default(), state: State::Idle(writer) }
    }

    /// Takes the next bytes; waits where the disk is slower than the sender.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            bytes = self.gathered.fill(bytes);
            if self.gathered.is_full() {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    /// Where all went that was taken.
    pub(crate) async fn finish(mut self) -> Result<S> {
        self.hand_over().await?;
        Ok(self.writer().await?.sink)
    }

    /// Waits until the thread has written its batch.
    pub(crate) async fn idle(&mut self) -> Result<()> {
        if let State::Busy(writing) = &mut self.state {
            self.state = match joined(writing.await) {
                Ok(writer) => State::Idle(writer),
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
        let mut writer = self.writer().await?;
        mem::swap(&mut self.gathered, &mut writer.batch);
        self.state = State::Busy(spawn_blocking(move || {
            writer.sink.write(writer.batch.filled())?;
            writer.batch.clear();
            Ok(writer)
        }));
        Ok(())
    }

    async fn writer(&mut self) -> Result<Box<Writer<S>>> {
        self.idle().await?;
        match mem::replace(&mut self.state, State::Failed) {
            State::Idle(writer) => Ok(writer),
            State::Busy(_) | State::Failed => Err(self.failed()),
        }
    }

    fn failed(&self) -> Error {
        error("write an image to", &self.path, io::Error::other("the upload has failed before"))
    }
}
