//! Files that are there whole, or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`")]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// For `map_err` on what fails with a file.
    pub fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// A user of the machine, and the group of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// Finds a user of this machine.
pub fn owner(name: &str) -> Option<Owner> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        Some(Owner { uid, gid: fields.next()?.parse().ok()? })
    })
}

/// The text of a file, if there is one.
pub fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path)(error)),
    }
}

/// Where a file is written before it gets its name.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Writes a file: beside its place, and with its permissions from the beginning.
pub fn write(path: &Path, mut content: impl Read, mode: u32, owner: Option<Owner>) -> Result<(), FileError> {
    stage(path, &mut content, mode, owner)?;
    put(path)
}

/// The first half of [`write()`]: the file is there under another name, which is answered.
pub fn stage(
    path: &Path,
    content: &mut impl Read,
    mode: u32,
    owner: Option<Owner>,
) -> Result<PathBuf, FileError> {
    let aside = beside(path);
    // A leftover might have been made with other permissions.
    remove(&aside)?;
    let mut write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        if let Some(owner) = owner {
            chown(&aside, Some(owner.uid), Some(owner.gid))?;
        }
        io::copy(content, &mut file)?;
        file.flush()?;
        // Whatever the umask is.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    };
    write().map_err(FileError::new("write", &aside))?;
    Ok(aside)
}

/// The second half of [`write()`].
pub fn put(path: &Path) -> Result<(), FileError> {
    fs::rename(beside(path), path).and_then(|()| sync_dir(path)).map_err(FileError::new("replace", path))
}

/// Removes a file, if there is one.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory with all that is in it, if there is one.
pub fn remove_tree(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a directory and those above it.
pub fn create_dirs(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::new("create", path))
}

/// Makes the names in the directory of `path` durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_replaces_another_with_its_own_permissions() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        write(&path, &b"one"[..], 0o644, None).unwrap();
        // What a killed run has left is in nobody's way.
        fs::write(beside(&path), "leftover").unwrap();
        write(&path, &b"two"[..], 0o600, None).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        assert_eq!(owner("root"), Some(Owner { uid: 0, gid: 0 }));
        assert_eq!(owner("roo"), None);
    }
}
