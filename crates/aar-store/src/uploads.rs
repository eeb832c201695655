//! Uploads that may come in several goes: they outlive the connection, and the process.

use std::time::{SystemTime, UNIX_EPOCH};

use aar_model::{Digest, Hasher};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Result, UploadId};

/// What is kept of an upload beside its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// What the registry has to know of it.
    pub about: Value,
    /// The image that it is to become.
    pub image: Digest,
    /// Bytes of the image.
    pub size: u64,
    /// Bytes that have come and are durable.
    pub offset: u64,
    /// What hashes on from these.
    pub hasher: Hasher,
    /// When the upload was begun or the latest of them came, Unix seconds.
    pub touched_at: i64,
}

impl Note {
    /// The note of an upload of which nothing has come.
    pub fn new(about: Value, image: Digest, size: u64) -> Self {
        Self { about, image, size, offset: 0, hasher: Hasher::default(), touched_at: unix_now() }
    }

    /// Notes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        self.touched_at = unix_now();
    }

    /// Notes how far the upload has come.
    pub fn advance(&mut self, offset: u64, hasher: Hasher) {
        (self.offset, self.hasher, self.touched_at) = (offset, hasher, unix_now());
    }
}

/// Where uploads are kept. Operations on one upload must not run at the same time.
#[async_trait]
pub trait Uploads: Send + Sync + 'static {
    /// Keeps a new upload; durable when answered.
    ///
    /// # Errors
    /// [`NoSpace`](crate::Error::NoSpace) where it can be told that there is no room for all of it;
    /// [`TooLarge`](crate::Error::TooLarge) where there can never be.
    async fn create(&self, id: &UploadId, note: Note) -> Result<()>;

    /// Goes on with an upload where it ended. What comes is kept from time to time where it `counts_at_once`, else not
    /// before [`keep`](Incoming::keep).
    async fn resume(&self, id: &UploadId, counts_at_once: bool) -> Result<Box<dyn Incoming>>;

    /// Makes an image of an upload of which all has come; the upload stays, and this may be repeated. An image that is
    /// stored already stays as it is.
    ///
    /// # Errors
    /// [`Mismatch`](crate::Error::Mismatch) where the bytes are not those announced;
    /// [`NotFound`](crate::Error::NotFound) where they are gone, and no image has been made of them.
    async fn complete(&self, id: &UploadId) -> Result<()>;

    /// Keeps nothing of an upload but its note, with another content; durable when answered.
    async fn retire(&self, id: &UploadId, about: Value) -> Result<()>;

    /// Removes an upload. One that is not there is a success.
    async fn remove(&self, id: &UploadId) -> Result<()>;

    /// All uploads that are kept.
    async fn list(&self) -> Result<Vec<(UploadId, Note)>>;
}

/// The bytes of an upload on their way in. It ends with [`keep`](Incoming::keep) or [`give_up`](Incoming::give_up), after
/// which nothing of it goes on.
#[async_trait]
pub trait Incoming: Send {
    /// How many bytes have come before.
    fn offset(&self) -> u64;

    /// Takes the next bytes, no more than the image has; waits where the store is slower than the sender.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Makes durable what has come. Answers how many bytes of the image that is in all.
    async fn keep(self: Box<Self>) -> Result<u64>;

    /// Forgets what has come since it was kept last.
    async fn give_up(self: Box<Self>);
}

fn unix_now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
