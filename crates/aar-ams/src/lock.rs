//! Who has a state directory.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::error::Error;

/// Keeps everybody else out of a state directory, which is made where there is none, as long as the file is open.
pub(crate) fn lock(state: &Path) -> aar_sync::Result<File> {
    fs::create_dir_all(state).map_err(Error::file("create", state))?;
    let path = state.join("lock");
    let lock = File::create(&path).map_err(Error::file("create", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(aar_sync::Error::Locked(state.to_owned())),
        Err(TryLockError::Error(e)) => Err(Error::file("lock", &path)(e).into()),
    }
}
