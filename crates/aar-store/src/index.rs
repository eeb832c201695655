//! The index: a mirror of the records from which requests are answered. It may be lost at any time.

use aar_model::AppName;
use bytes::Bytes;

use crate::{ETag, RecordKey, Result};

/// A change of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record is this now.
    Put(RecordKey, ETag, Bytes),
    /// The record is gone.
    Remove(RecordKey),
}

/// Which records are visited.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// All.
    All,
    /// Those of one application and its versions.
    Application(&'a AppName),
    /// This one.
    Record(&'a RecordKey),
}

/// A mirror of the records, ordered by key. Its calls return at once and may be made from asynchronous code.
pub trait Index: Send + Sync + 'static {
    /// Calls `visit` with key, tag and document of the records in `scope`, in the order of their keys.
    fn scan(&self, scope: Scope<'_>, visit: &mut dyn FnMut(RecordKey, ETag, &[u8])) -> Result<()>;

    /// Carries out all changes or none, for readers as well as after a crash.
    fn apply(&self, changes: Vec<Change>) -> Result<()>;
}
