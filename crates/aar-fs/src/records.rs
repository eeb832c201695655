use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use aar_store::{ETag, RecordKey, Records, Result};
use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::Stat;
use tracing::warn;

use crate::durable::{create_dirs, open_file, parent, remove_file, sync_dir, write_file};
use crate::error::{blocking, error, found};
use crate::listing::Dir;
use crate::root::{RECORDS, Root};

/// Records as files. A record's tag is made of its file's time, inode and size, so that listing reads no file.
#[derive(Debug, Clone)]
pub struct FsRecords {
    root: Arc<Root>,
}

impl FsRecords {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root }
    }
}

#[async_trait]
impl Records for FsRecords {
    async fn put(&self, key: &RecordKey, document: Bytes) -> Result<ETag> {
        let root = self.root.clone();
        let path = root.join(key.path());
        blocking(move || {
            let _alone = root.change();
            let written =
                create_dirs(parent(&path)).and_then(|()| write_file(&path, &document, root.moment()));
            written.map(|file| tag(&file)).map_err(|source| error("write", &path, source))
        })
        .await
    }

    async fn get(&self, key: &RecordKey) -> Result<Option<(Bytes, ETag)>> {
        let path = self.root.join(key.path());
        blocking(move || read(&path).map_err(|source| error("read", &path, source))).await
    }

    async fn delete(&self, key: &RecordKey) -> Result<()> {
        let root = self.root.clone();
        let path = root.join(key.path());
        blocking(move || {
            let _alone = root.change();
            remove(&path).map_err(|source| error("remove", &path, source))
        })
        .await
    }

    async fn list(&self) -> Result<Vec<(RecordKey, ETag)>> {
        let path = self.root.join(RECORDS);
        blocking(move || list(&path).map_err(|source| error("list", &path, source))).await
    }
}

fn read(path: &Path) -> io::Result<Option<(Bytes, ETag)>> {
    let Some((mut file, stat)) = found(open_file(path))? else { return Ok(None) };
    let mut document = Vec::new();
    file.read_to_end(&mut document)?;
    Ok(Some((document.into(), tag(&stat))))
}

fn remove(path: &Path) -> io::Result<()> {
    remove_file(path)?;
    let application = parent(path);
    // Stays where it holds another record, or a file that is none of ours.
    if fs::remove_dir(application).is_ok() {
        sync_dir(parent(application))?;
    }
    Ok(())
}

fn list(path: &Path) -> io::Result<Vec<(RecordKey, ETag)>> {
    let mut records = Vec::new();
    let applications = Dir::open(path)?;
    applications.each(|name| {
        let text = name.to_string_lossy();
        let path = path.join(&*text);
        let Some(dir) = applications.enter(name)? else {
            if applications.stat(name)?.is_some() {
                warn!(path = %path.display(), "passed over what is no application's directory");
            }
            return Ok(());
        };
        let application = text.parse().ok();
        dir.each_file(
            &path,
            |file| RecordKey::in_file(application.as_ref()?, file),
            |key, stat| records.push((key, tag(stat))),
        )
    })?;
    Ok(records)
}

fn tag(stat: &Stat) -> ETag {
    ETag(format!("{:x}.{:09}-{:x}-{:x}", stat.st_mtime, stat.st_mtime_nsec, stat.st_ino, stat.st_size).into())
}
