//! Why AMS is not as it should be.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aar_model::{AppName, Version};

/// Result of a call, or of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call, or a step, fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// AMS cannot be reached, or refuses in its own words.
    #[error(transparent)]
    Call(aar_client::Error),
    /// The answer is none that is understood.
    #[error("AMS's answer makes no sense: {0}")]
    Protocol(String),
    /// AMS took a change and failed to make it.
    #[error("AMS could not do it: {0}")]
    Failed(String),
    /// AMS took a change and has not made it.
    #[error("AMS has not done it in {0:?}, and is asked again later")]
    Slow(Duration),
    /// AMS is still at it.
    #[error("AMS is still making {name} of version {version}, and is looked at again later")]
    Unfinished {
        /// Of which application.
        name: AppName,
        /// Of which of the registry's versions.
        version: Version,
    },
    /// An older version was not made.
    #[error(
        "version {version} of {name} waits for version {older}, as AMS launches what was made last: withdraw that if it \
         cannot be made"
    )]
    HeldBack {
        /// Of which application.
        name: AppName,
        /// Which.
        version: Version,
        /// What it waits for.
        older: Version,
    },
    /// An application of that name is somebody else's.
    #[error(
        "AMS has an application `{0}` that is not known to come from the registry, and it is left alone: rename or delete \
         it there, or leave it out by tags"
    )]
    Foreign(AppName),
    /// The image is none that AMS could make an application of.
    #[error("the image is no application package: {0}")]
    NoPackage(String),
    /// The package is another application's.
    #[error("the package's manifest names the application `{0}`: push the image under that name")]
    OtherName(String),
    /// AMS is too old.
    #[error("AMS lacks the API extension `{extension}`, and so {consequence}: upgrade it")]
    Extension {
        /// Which.
        extension: &'static str,
        /// What does not work therefore.
        consequence: &'static str,
    },
    /// A note cannot be understood.
    #[error("the note `{path}` is damaged: remove it, and what it stood for is left alone on AMS")]
    Note {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// A local file fails.
    #[error(transparent)]
    Local(#[from] aar_sync::Error),
}

impl Error {
    /// For `map_err` on what fails with a local file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let error = aar_sync::Error::file(action, path);
        move |source| Self::Local(error(source))
    }

    /// Whether there is no such thing on AMS.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Call(aar_client::Error::NotFound(_)))
    }

    /// Whether AMS has surely not done what it was called for: it said so. A conflict may be with what an earlier call did.
    pub(crate) fn is_refusal(&self) -> bool {
        use aar_client::Error as Client;
        matches!(
            self,
            Self::Call(
                Client::Unauthorised(_) | Client::Forbidden(_) | Client::NotFound(_) | Client::BadRequest(_)
            )
        )
    }
}

impl From<aar_client::Error> for Error {
    fn from(error: aar_client::Error) -> Self {
        use aar_client::Error as Client;
        match error {
            Client::Unreachable { address, source, .. } => {
                Self::Call(Client::Unreachable { what: "AMS", address, source })
            }
            Client::Protocol(text) => Self::Protocol(text),
            file @ Client::File { .. } => Self::Local(file.into()),
            other => Self::Call(other),
        }
    }
}

impl From<Error> for aar_sync::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Local(error) => error,
            other => Self::End(Box::new(other)),
        }
    }
}
