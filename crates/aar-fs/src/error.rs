//! From the kernel's errors to the store's.

use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::path::Path;

use aar_store::{Error, Result};

/// The store's error for `source`, which came up when `verb` was done to `path`.
pub(crate) fn error(verb: &str, path: &Path, source: io::Error) -> Error {
    let action = format!("{verb} `{}`", path.display());
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::NoSpace(source.into())
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::Denied { action, source: source.into() }
        }
        _ => Error::Io { action, source: source.into() },
    }
}

/// The store's error for a file that cannot be what the registry wrote.
pub(crate) fn corrupt(path: &Path, problem: impl Into<aar_store::Cause>) -> Error {
    Error::Corrupt { what: format!("`{}`", path.display()), source: problem.into() }
}

/// What `result` holds, or nothing where a file or directory is missing.
pub(crate) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does `work`, which waits for the disk, on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// The outcome of a task; its panic goes on here.
pub(crate) fn joined<T>(outcome: std::result::Result<T, tokio::task::JoinError>) -> T {
    outcome.unwrap_or_else(|failed| resume_unwind(failed.into_panic()))
}
