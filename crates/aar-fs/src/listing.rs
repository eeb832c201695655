//! Reading directories, fast enough for tens of thousands of files.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;
use tracing::warn;

use crate::durable::{TEMPORARY, is_file};

/// Room for the names that the kernel hands over at once.
const BUFFER: usize = 8 * 1024;

/// A directory that is read.
pub(crate) struct Dir(OwnedFd);

impl Dir {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, FLAGS, Mode::empty())?))
    }

    /// A directory in this one; none where there is no directory of that name.
    pub(crate) fn enter(&self, name: &CStr) -> io::Result<Option<Self>> {
        match rustix::fs::openat(&self.0, name, FLAGS, Mode::empty()) {
            Ok(dir) => Ok(Some(Self(dir))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What `stat` says of a name in this directory; none where it is gone.
    pub(crate) fn stat(&self, name: &CStr) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Calls `found` with what `name` makes of each regular file's name, and with the file's `stat`. Names that it makes
    /// nothing of, and what is no regular file, are passed over with a warning; `path` is this directory's for that.
    pub(crate) fn each_file<T>(
        &self,
        path: &Path,
        mut name: impl FnMut(&str) -> Option<T>,
        mut found: impl FnMut(T, &Stat),
    ) -> io::Result<()> {
        self.each(|file| {
            let text = file.to_string_lossy();
            if let Some(named) = name(&text) {
                match self.stat(file)? {
                    Some(stat) if is_file(&stat) => found(named, &stat),
                    Some(_) => warn!(path = %path.join(&*text).display(), "passed over what is no regular file"),
                    // Removed this moment.
                    None => {}
                }
            } else if !text.starts_with(TEMPORARY) {
                warn!(path = %path.join(&*text).display(), "passed over a file that the registry does not know");
            }
            Ok(())
        })
    }

    /// Calls `visit` with every name in the directory.
    pub(crate) fn each(&self, mut visit: impl FnMut(&CStr) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut entries = RawDir::new(self.0.as_fd(), &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                visit(name)?;
            }
        }
        Ok(())
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
