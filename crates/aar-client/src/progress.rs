//! Who wants to know how far a transfer has come.

use std::time::Duration;

use crate::Error;

/// What a transfer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading a local file for its digest.
    Hashing,
    /// Sending an image.
    Sending,
    /// Receiving an image.
    Receiving,
}

/// Is told how far a transfer has come; from several threads, so often that it should be cheap.
pub trait Progress: Send + Sync {
    /// A step begins, or begins anew, with `done` of `total` bytes behind it.
    fn begin(&self, step: Step, done: u64, total: u64);
    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
    /// The transfer was cut by `error` and goes on after `pause`.
    fn retry(&self, error: &Error, pause: Duration);
}

/// Does not want to know.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Step, _: u64, _: u64) {}
    fn advance(&self, _: u64) {}
    fn retry(&self, _: &Error, _: Duration) {}
}
