//! Files of one process at a time, that are there whole or not at all, also after a loss of power.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Keeps everybody else out of `whose` by a file `lock` in `dir`, which is made where there is none, as long as it is open.
///
/// # Errors
/// [`Error::Locked`] where somebody else has it.
pub fn lock(dir: &Path, whose: &Path) -> Result<File> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    let path = dir.join("lock");
    let lock = File::create(&path).map_err(Error::file("create", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(whose.to_owned())),
        Err(TryLockError::Error(error)) => Err(Error::file("lock", &path)(error)),
    }
}

/// Writes a file beside its name and renames it.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let beside = beside(path);
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(Error::file("write", path))?;
    sync_parent(path)
}

/// Creates directories from `root` on down.
pub fn create_dirs(root: &Path, dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    for created in dir.ancestors().take_while(|it| *it != root) {
        sync_parent(created)?;
    }
    Ok(())
}

/// Removes a file, and what an interrupted write left of it; it need not be there.
pub fn remove(path: &Path) -> Result<()> {
    for path in [path, &beside(path)] {
        gone(fs::remove_file(path)).map_err(Error::file("remove", path))?;
    }
    Ok(())
}

/// Removes a directory if it is empty.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => gone(other).map_err(Error::file("remove", path)),
    }
}

/// Makes what was renamed or removed in the directory of `path` durable.
pub fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(Error::file("write", parent))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
