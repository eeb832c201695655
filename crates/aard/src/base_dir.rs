//! The base directory: what lies where, and that one daemon has it at a time.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::net::UnixListener;

/// A base directory that this process has for itself.
pub(crate) struct BaseDir {
    path: PathBuf,
    /// Held for as long as the daemon lives; the command line takes it where the daemon is stopped.
    _lock: File,
}

impl BaseDir {
    /// Takes the directory; makes what is missing.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        for dir in [path, &path.join("run")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .with_context(|| format!("cannot create `{}`", dir.display()))?;
        }
        let lock_path = path.join("run/aard.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| format!("cannot open `{}`", lock_path.display()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(Errno::WOULDBLOCK) => bail!("`{}` is in use by another aard or aar", path.display()),
            Err(error) => Err(error).with_context(|| format!("cannot lock `{}`", lock_path.display())),
        }
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.path.join("certs")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// What uploads to a bucket have beyond their last whole part.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.path.join("uploads")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// Listens on the administrators' socket.
    pub(crate) fn listen(&self) -> Result<UnixListener> {
        // Left by a process that is gone: the lock says that no other is there.
        self.remove_socket()?;
        let path = self.socket();
        let listener =
            UnixListener::bind(&path).with_context(|| format!("cannot listen on `{}`", path.display()))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o660))
            .with_context(|| format!("cannot set the mode of `{}`", path.display()))?;
        Ok(listener)
    }

    /// Removes the administrators' socket, so that whoever looks for a daemon sees that there is none.
    pub(crate) fn remove_socket(&self) -> Result<()> {
        let path = self.socket();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn socket(&self) -> PathBuf {
        self.path.join("run/aar.sock")
    }
}
