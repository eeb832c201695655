//! What has become of a machine's files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How a file looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Which file it is.
    inode: u64,
    /// When it was last changed in any way, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileState {
    /// Permissions.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

/// Everything that is on a machine and not on this one, or other than on this one, by its path on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(pub BTreeMap<PathBuf, FileState>);

impl Files {
    pub(super) fn of(upper: &Path) -> Self {
        let mut found = BTreeMap::new();
        collect(upper, Path::new("/"), &mut found);
        Self(found)
    }

    /// How a file looks that is there.
    pub fn state(&self, path: &str) -> &FileState {
        self.0.get(Path::new(path)).unwrap_or_else(|| panic!("{path} is not there, or as on this machine"))
    }

    /// What was made, changed or removed since `before`, but for what is below `except`.
    pub fn changed_since(&self, before: &Self, except: &[&str]) -> Vec<PathBuf> {
        let all = self.0.keys().chain(before.0.keys());
        let mut changed: Vec<_> = all
            .filter(|path| self.0.get(*path) != before.0.get(*path))
            .filter(|path| !except.iter().any(|place| path.starts_with(place)))
            .cloned()
            .collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

fn collect(root: &Path, below: &Path, found: &mut BTreeMap<PathBuf, FileState>) {
    let directory = root.join(below.strip_prefix("/").unwrap());
    // Files of a machine that runs may go at any time.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let path = below.join(entry.file_name());
        if metadata.is_dir() {
            collect(root, &path, found);
        }
        let state = FileState {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: metadata.len(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        found.insert(path, state);
    }
}
