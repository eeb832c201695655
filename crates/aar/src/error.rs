//! Why a command fails, how that is told, and with which exit code.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use aar_model::Fingerprint;
use aar_store::TrustError;

use crate::exit::Exit;
use crate::output::printable;

/// Result of a command.
pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Client(#[from] aar_client::Error),
    #[error(transparent)]
    Ams(#[from] aar_ams::Error),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Config(#[from] aar_config::ConfigError),
    #[error(transparent)]
    Identity(#[from] aar_tls::IdentityError),
    #[error(transparent)]
    Tls(#[from] aar_tls::TlsError),
    #[error(transparent)]
    Sync(#[from] aar_sync::Error),
    #[error("not in step: {failed} failed and {conflicts} conflicts, as told above")]
    OutOfStep { failed: usize, conflicts: usize, exit: Exit },
    #[error("cannot trust what is in {origin}")]
    Certificate { origin: String, source: aar_tls::CertificateError },
    #[error("cannot {action} `{path}`")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    #[error("cannot start to work")]
    Start(#[source] io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("no fingerprint says which server at {address} is the right one; it shows {presented}")]
    Unpinned { address: String, presented: Fingerprint },
    #[error("the daemon is starting or stopping; try again")]
    DaemonBetween,
    #[error("nothing was done")]
    Declined,
    #[error("{0} damaged")]
    Damaged(String),
    #[error("the other storage holds {0} that the registry does not")]
    Extra(String),
    #[error("{failed} of {all} checks of the storage failed")]
    Storage { failed: usize, all: usize },
}

impl Error {
    /// For `map_err` on what fails with a local file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// Whether somebody stopped reading the output.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code that scripts see.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(e) => exit_of_client(e),
            Self::Ams(e) => exit_of_ams(e),
            Self::Sync(e) => exit_of_sync(e),
            Self::OutOfStep { exit, .. } => *exit,
            Self::Trust(e) => match e {
                TrustError::NotFound(_) => Exit::NotFound,
                TrustError::Revoked(_) => Exit::Conflict,
                TrustError::Store(aar_store::Error::NoSpace(_)) => Exit::NoSpace,
                _ => Exit::Failure,
            },
            Self::File { source, .. } | Self::Output(source) if is_full(source) => Exit::NoSpace,
            Self::Usage(_) | Self::Unpinned { .. } => Exit::Usage,
            Self::NotFound(_) => Exit::NotFound,
            Self::Damaged(_) => Exit::Verification,
            Self::Extra(_) => Exit::Extra,
            Self::Storage { .. } => Exit::Storage,
            _ => Exit::Failure,
        }
    }

    /// What is written on standard error: the error, its causes, and what may help.
    pub(crate) fn report(&self) -> String {
        let mut text = format!("aar: {self}");
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        let text = printable(&text);
        match self.hint() {
            None => text,
            Some(hint) => format!("{text}\nhint: {hint}"),
        }
    }

    fn hint(&self) -> Option<String> {
        use aar_client::Error as Client;
        const FINGERPRINT: &str = "`openssl x509 -in /var/lib/aar/certs/server.crt -noout -fingerprint -sha256` on the registry's machine";
        match self {
            Self::Unpinned { .. } => Some(format!(
                "compare it with what {FINGERPRINT} prints, then give it with --fingerprint, AAR_FINGERPRINT or \
                 `fingerprint` in the client's configuration"
            )),
            Self::Client(Client::Pin { .. }) | Self::Sync(aar_sync::Error::Registry(Client::Pin { .. })) => {
                Some(format!("if the registry has a new certificate, {FINGERPRINT} prints its fingerprint"))
            }
            Self::Client(e @ Client::Unreachable { .. })
            | Self::Sync(aar_sync::Error::Registry(e @ Client::Unreachable { .. })) => match e.connection_error()? {
                io::ErrorKind::PermissionDenied => {
                    Some("the daemon's socket is for its user and group: try sudo".into())
                }
                io::ErrorKind::NotFound => {
                    Some("is the daemon running? `systemctl status aard` tells".into())
                }
                _ => None,
            },
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("what lies there may be for another user only: try sudo".into())
            }
            Self::Client(Client::Unauthorised(_))
            | Self::Sync(aar_sync::Error::Registry(Client::Unauthorised(_))) => Some(
                "the certificate is shown that --cert and --key, AAR_CERT and AAR_KEY or the client's configuration name"
                    .into(),
            ),
            Self::Client(Client::Interrupted(_)) => Some("the same command may succeed now".into()),
            _ => None,
        }
    }
}

fn exit_of_client(error: &aar_client::Error) -> Exit {
    use aar_client::Error as Client;
    match error {
        Client::Address(_) => Exit::Usage,
        Client::Unreachable { .. } | Client::Interrupted(_) | Client::Store { .. } => Exit::Unreachable,
        Client::Pin { .. } | Client::Verification { .. } => Exit::Verification,
        Client::Unauthorised(_) | Client::Forbidden(_) => Exit::NotAllowed,
        Client::NotFound(_) => Exit::NotFound,
        Client::Conflict(_) => Exit::Conflict,
        Client::NoSpace(_) => Exit::NoSpace,
        Client::File { source, .. } if is_full(source) => Exit::NoSpace,
        _ => Exit::Failure,
    }
}

/// The exit code for what keeps two ends from being in step.
pub(crate) fn exit_of_sync(error: &aar_sync::Error) -> Exit {
    use aar_sync::Error as Sync;
    match error {
        Sync::Registry(e) => exit_of_client(e),
        Sync::NoSpace { .. } => Exit::NoSpace,
        Sync::File { source, .. } if is_full(source) => Exit::NoSpace,
        Sync::Foreign(_) | Sync::Changed(_) => Exit::Conflict,
        Sync::End(e) => e.downcast_ref().map_or(Exit::Failure, exit_of_ams),
        _ => Exit::Failure,
    }
}

fn exit_of_ams(error: &aar_ams::Error) -> Exit {
    use aar_ams::Error as Ams;
    match error {
        Ams::Call(e) => exit_of_client(e),
        Ams::Foreign(_) | Ams::OtherName(_) => Exit::Conflict,
        Ams::Local(e) => exit_of_sync(e),
        _ => Exit::Failure,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
