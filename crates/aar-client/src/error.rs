//! Why a call failed, in the terms that its caller decides by.

use std::io;
use std::path::{Path, PathBuf};

use aar_model::wire;
use aar_model::{Digest, Fingerprint};
use hyper::StatusCode;

/// Result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// Whatever lies below an error.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed. Refusals hold the registry's own words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none that can be talked to.
    #[error("`{0}` is not the address of a registry: it is written https://HOST[:PORT]")]
    Address(String),
    /// No connection came about.
    #[error("cannot reach {what} at {address}")]
    Unreachable {
        /// The registry, or the store of its images.
        what: &'static str,
        /// Host and port, or the socket's path.
        address: String,
        /// What stood in the way.
        source: Cause,
    },
    /// The server is not the one that was pinned.
    #[error("the server at {address} has the certificate {presented}, not {expected} as pinned")]
    Pin {
        /// Host and port.
        address: String,
        /// The fingerprint that was pinned.
        expected: Fingerprint,
        /// The fingerprint of the certificate that the server showed.
        presented: Fingerprint,
    },
    /// 401: the registry does not trust the certificate.
    #[error("{0}")]
    Unauthorised(String),
    /// 403: the certificate's role does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// 404
    #[error("{0}")]
    NotFound(String),
    /// 409: it contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Any other 4xx.
    #[error("{0}")]
    BadRequest(String),
    /// 507: the registry is full.
    #[error("{0}")]
    NoSpace(String),
    /// Any other status that is no success.
    #[error("{text}")]
    Server {
        /// The HTTP status.
        status: u16,
        /// The registry's words.
        text: String,
    },
    /// The store that the registry sends to for an image does not give it.
    #[error("{address}, where the image lies, answers {status} ({code})")]
    Store {
        /// Host and port.
        address: String,
        /// The HTTP status.
        status: u16,
        /// The store's word for it, such as `AccessDenied`.
        code: String,
    },
    /// The connection broke, or went silent, before the call was answered.
    #[error("the connection was cut")]
    Interrupted(#[source] Cause),
    /// The answer is none that this client understands.
    #[error("the registry's answer makes no sense: {0}")]
    Protocol(String),
    /// What was received is not what was announced.
    #[error("the image's SHA-256 is {actual}, not {expected} as announced")]
    Verification {
        /// The digest that was announced.
        expected: Digest,
        /// The digest of the bytes that came.
        actual: Digest,
    },
    /// Another pull writes the same file.
    #[error("another pull is writing `{0}`")]
    Busy(PathBuf),
    /// A local file fails.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried, `open`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// Whether nobody is at the address: the host refuses the connection, or the socket is not there.
    pub fn is_nobody_there(&self) -> bool {
        matches!(self.connection_error(), Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }

    /// Why the operating system made no connection.
    pub fn connection_error(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Unreachable { source, .. } => source.downcast_ref::<io::Error>().map(io::Error::kind),
            _ => None,
        }
    }

    /// The refusal that a status and a body stand for.
    pub(crate) fn refused(status: StatusCode, body: &[u8]) -> Self {
        let text = match serde_json::from_slice::<wire::Error>(body) {
            Ok(answer) => answer.error,
            Err(_) => format!("the server answers {status}"),
        };
        match status.as_u16() {
            401 => Self::Unauthorised(text),
            403 => Self::Forbidden(text),
            404 => Self::NotFound(text),
            409 => Self::Conflict(text),
            // What these stand for passes.
            status @ (408 | 423) => Self::Server { status, text },
            400..=499 => Self::BadRequest(text),
            507 => Self::NoSpace(text),
            status => Self::Server { status, text },
        }
    }

    /// A time limit that has passed.
    pub(crate) fn silent(seconds: u64) -> Self {
        let text = format!("nothing came for {seconds} s");
        Self::Interrupted(io::Error::new(io::ErrorKind::TimedOut, text).into())
    }

    /// For `map_err` on what fails with a local file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// Whether the same call may succeed a little later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            // A URL of the store may have expired on the way; the registry makes another.
            Self::Unreachable { .. } | Self::Interrupted(_) | Self::Store { .. } => true,
            Self::Server { status, .. } => matches!(status, 408 | 423 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}
