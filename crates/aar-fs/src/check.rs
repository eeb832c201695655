//! Whether the directory still takes files.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aar_store::Result;

use crate::FsBlobs;
use crate::durable::{TEMPORARY, sync_dir};
use crate::error::{blocking, error};
use crate::root::{IMAGES, RECORDS, UPLOADS};

const TEXT: &[u8] = b"a file of a check of the storage";

impl FsBlobs {
    /// Writes, syncs, reads and removes a file in each directory that the registry writes to.
    pub async fn check(&self) -> Vec<(PathBuf, Result<()>)> {
        let mut outcomes = Vec::new();
        for dir in [UPLOADS, IMAGES, RECORDS] {
            let dir = self.root().join(dir);
            let tried = dir.clone();
            let outcome = blocking(move || {
                scribble(&tried).map_err(|source| error("write, read and remove a file in", &tried, source))
            });
            outcomes.push((dir, outcome.await));
        }
        outcomes
    }

    /// The directory that is open as a store.
    pub fn root_directory(&self) -> PathBuf {
        self.root().join("")
    }

    /// Bytes that the file system has left for the registry.
    ///
    /// # Errors
    /// The directory cannot be looked at.
    pub async fn free_space(&self) -> Result<u64> {
        let path = self.root_directory();
        blocking(move || {
            let stat = rustix::fs::statvfs(&path)
                .map_err(|source| error("tell the free space of", &path, source.into()))?;
            Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
        })
        .await
    }
}

fn scribble(dir: &Path) -> io::Result<()> {
    // Named as what a crash may leave behind, and tidied up as that.
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir)?;
    file.write_all(TEXT)?;
    file.as_file().sync_all()?;
    sync_dir(dir)?;
    if fs::read(file.path())? != TEXT {
        return Err(io::Error::other("what was read is not what was written"));
    }
    file.close()
}
