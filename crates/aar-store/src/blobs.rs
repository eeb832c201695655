//! Images: big, immutable, named by their SHA-256.

use std::ops::Range;
use std::pin::Pin;
use std::time::SystemTime;

use aar_model::Digest;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::{Result, Uploads};

/// Bytes on their way out of a store, in pieces of bounded size.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// An image that lies in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub image: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was completed.
    pub modified: SystemTime,
}

/// Where images lie.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Begins to receive an image of `size` bytes, where that is known.
    async fn begin(&self, image: &Digest, size: Option<u64>) -> Result<Box<dyn Upload>>;

    /// The image's size in bytes, where it is stored.
    async fn size(&self, image: &Digest) -> Result<Option<u64>>;

    /// The bytes of `range`, which lies within the image.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound) where the image is not stored.
    async fn read(&self, image: &Digest, range: Range<u64>) -> Result<ByteStream>;

    /// Removes an image. One that is not there is a success. Readers that have begun finish.
    async fn delete(&self, image: &Digest) -> Result<()>;

    /// All images that are complete.
    async fn list(&self) -> Result<Vec<BlobInfo>>;

    /// Removes what uploads of an earlier process left behind, and answers how many there were. Only to be called where
    /// no upload is under way. Those that can be gone on with stay.
    async fn sweep_uploads(&self) -> Result<usize>;

    /// The uploads that can be gone on with.
    fn uploads(&self) -> &dyn Uploads;
}

/// An image that is being received. Dropped before [`commit`](Upload::commit) has succeeded, it leaves nothing behind.
#[async_trait]
pub trait Upload: Send {
    /// Takes the next bytes; waits where the store is slower than the sender.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Ends the upload: compares what came with the digest that was announced, makes it durable and gives it its name.
    /// Answers the size in bytes. An image that is stored already stays as it is.
    ///
    /// # Errors
    /// [`Mismatch`](crate::Error::Mismatch) where the bytes are not those announced.
    async fn commit(self: Box<Self>) -> Result<u64>;
}
