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
    /// The upload ends elsewhere than the caller wants to go on; it ends at this byte.
    #[error("the upload ends at byte {0}: go on from there")]
    WrongOffset(u64),
    /// Others send bytes of the upload just now.
    #[error("the upload is being sent by another request just now; try again once that has ended")]
    Locked,
    /// The caller has as many uploads under way as it may.
    #[error("{0} uploads of this certificate are not finished: go on with them, or end them with DELETE")]
    TooMany(usize),
    /// More came than was announced.
    #[error("more bytes came than the {0} that were announced; these were not kept")]
    TooLong(u64),
    /// The registry has ended it.
    #[error("the registry had to interrupt the upload; ask with HEAD where to go on")]
    Interrupted,
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
    /// What came is not what the sender meant to send.
    #[error("the body's checksum is not that which was sent with it; nothing of it was kept")]
    Checksum,
    /// Who sends it is trusted no more, for this reason.
    #[error("{0}")]
    Untrusted(&'static str),
    /// Who sends it may read, and push no more.
    #[error("the client certificate is no publisher's any more")]
    Forbidden,
}
