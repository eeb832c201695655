//! Records: small JSON documents that say what the registry holds. They lie beside the images and are the truth.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{RecordKey, Result};

/// Changes whenever a record's content does; made by the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub Box<str>);

/// Where records lie.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// Writes a record in one step: after a crash there is the old document or the new one. Durable when answered.
    async fn put(&self, key: &RecordKey, document: Bytes) -> Result<ETag>;

    /// Reads a record, where there is one.
    async fn get(&self, key: &RecordKey) -> Result<Option<(Bytes, ETag)>>;

    /// Removes a record; durable when answered. One that is not there is a success.
    async fn delete(&self, key: &RecordKey) -> Result<()>;

    /// The keys of all records, in no order, each with the tag that [`get`](Records::get) would answer.
    async fn list(&self) -> Result<Vec<(RecordKey, ETag)>>;
}
