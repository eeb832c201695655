//! What can go wrong in a store.

use aar_model::Digest;

/// The error below a store's error: a backend's own.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Result of a store's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a store, in terms that mean the same for every backend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such image.
    #[error("image {0} is not in the store")]
    NotFound(Digest),
    /// What was received is not what was announced.
    #[error("the body's SHA-256 is {actual}, not {expected} as announced")]
    Mismatch {
        /// The SHA-256 that was announced.
        expected: Digest,
        /// The SHA-256 of the bytes that came.
        actual: Digest,
    },
    /// The store takes no image of so many bytes, however much room there is.
    #[error("the store takes no image of {0} bytes")]
    TooLarge(u64, #[source] Cause),
    /// The store is full.
    #[error("no space is left in the store")]
    NoSpace(#[source] Cause),
    /// The store does not answer; trying later may help.
    #[error("the store is out of reach")]
    OutOfReach(#[source] Cause),
    /// The store refuses; somebody has to mend permissions.
    #[error("the store denies {action}")]
    Denied {
        /// What was tried, with the path or key.
        action: String,
        /// The backend's own error.
        source: Cause,
    },
    /// What is stored is damaged.
    #[error("{what} is damaged")]
    Corrupt {
        /// What, with the path or key.
        what: String,
        /// The backend's own error.
        source: Cause,
    },
    /// Anything else, with what was tried.
    #[error("cannot {action}")]
    Io {
        /// What was tried, with the path or key.
        action: String,
        /// The backend's own error.
        source: Cause,
    },
}
