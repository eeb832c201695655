//! Why an operation is refused.

use crate::{Cause, Error};

/// Why an operation of the registry did not happen.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing, or the caller may not see it.
    #[error("{0}")]
    NotFound(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// The caller's view is out of date.
    #[error("application {0} has changed since; read it again and repeat the change")]
    PreconditionFailed(aar_model::AppName),
    /// The body did not arrive.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why the body of a push did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke, or the sender did not keep to the protocol.
    #[error("the body was cut off")]
    Cut(#[source] Cause),
    /// Nothing came for too long.
    #[error("the body stalled: nothing came for {0} s")]
    Idle(u64),
}
