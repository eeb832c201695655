//! Why a round, or a step of it, fails.

use std::io;
use std::path::{Path, PathBuf};

use aar_client::ImageAddress;

/// Result of a round, or of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a round, or a step of it, fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry refuses, or cannot be reached.
    #[error(transparent)]
    Registry(aar_client::Error),
    /// The other end refuses, or cannot be reached.
    #[error(transparent)]
    End(Box<dyn std::error::Error + Send + Sync>),
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
    /// What is to come does not fit.
    #[error("what is new takes {needed} bytes, and `{path}` has {free} left: make space, or select less")]
    NoSpace {
        /// Bytes that are to come.
        needed: u64,
        /// Bytes that there are.
        free: u64,
        /// Where.
        path: PathBuf,
    },
    /// Another synchronisation has the directory.
    #[error("another `aar sync` is at work in `{0}`")]
    Locked(PathBuf),
    /// Something is in the way that was not put there by synchronisation.
    #[error("`{0}` is in the way and was not put there by `aar sync`: move it elsewhere")]
    Foreign(PathBuf),
    /// A package was written while it was pushed.
    #[error(
        "`{0}` has changed while it was sent, and was taken back: move packages into place when they are complete"
    )]
    Changed(PathBuf),
    /// What is run on changes fails.
    #[error("the command for changes failed for {image}")]
    Command {
        /// What it was told of.
        image: ImageAddress,
        /// How it ended.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// For `map_err` on what fails with a local file.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

impl From<aar_client::Error> for Error {
    fn from(error: aar_client::Error) -> Self {
        match error {
            aar_client::Error::File { action, path, source } => Self::File { action, path, source },
            other => Self::Registry(other),
        }
    }
}
