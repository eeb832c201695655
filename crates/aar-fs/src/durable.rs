//! Changes of the file system that a crash does not undo.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Uid, fstat};
use rustix::io::Errno;

/// How the names of files begin that are being written, so that none is taken for a finished one.
pub(crate) const TEMPORARY: &str = ".writing-";

/// Makes a directory and those above it that are missing. Calls for one tree must not run at the same time: the one that
/// finds a directory there trusts that it is durable.
pub(crate) fn create_dirs(dir: &Path) -> io::Result<()> {
    let create = || DirBuilder::new().mode(0o700).create(dir);
    match create() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_dirs(parent(dir))?;
            create()?;
        }
        created => created?,
    }
    adopt(&open_dir(dir)?, parent(dir))?;
    sync_dir(parent(dir))
}

/// Writes a file in one step: after a crash there is the old one or the new one. Answers what `stat` says of the new one.
pub(crate) fn write_file(path: &Path, bytes: &[u8], modified: SystemTime) -> io::Result<Stat> {
    let dir = parent(path);
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir)?;
    file.write_all(bytes)?;
    adopt(file.as_file(), dir)?;
    file.as_file().set_modified(modified)?;
    file.as_file().sync_all()?;
    let file = file.persist(path).map_err(|failed| failed.error)?;
    sync_dir(dir)?;
    Ok(fstat(file)?)
}

/// Removes a file, where it is there.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_dir(parent(path))),
    }
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    open_dir(dir)?.sync_all()
}

/// Opens a regular file for reading. Neither follows a link nor waits for the other end of a pipe: what is no regular file
/// is an error of the kind `Other`.
pub(crate) fn open_file(path: &Path) -> io::Result<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let special = || io::Error::other("it is not a regular file");
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::NXIO) => return Err(special()),
        opened => File::from(opened?),
    };
    let stat = fstat(&file)?;
    if is_file(&stat) { Ok((file, stat)) } else { Err(special()) }
}

pub(crate) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
}

fn open_dir(dir: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(dir, flags, Mode::empty())?))
}

/// Gives what root makes in another user's directory to that user: the command line may run as root while the daemon, a
/// user of its own, is stopped.
fn adopt(made: &impl AsFd, dir: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(dir)?;
    Ok(rustix::fs::fchown(made, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))?)
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}
