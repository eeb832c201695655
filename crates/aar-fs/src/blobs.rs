use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aar_model::Digest;
use aar_store::{BlobInfo, Blobs, ByteStream, Error, Result, Upload, Uploads, image_key, parse_image_key};
use async_trait::async_trait;
use rustix::fs::Stat;
use tracing::warn;

use crate::durable::{TEMPORARY, is_file, open_file, remove_file};
use crate::error::{blocking, corrupt, error, found};
use crate::listing::Dir;
use crate::reader::Reader;
use crate::root::{IMAGES, RECORDS, Root, UPLOADS};
use crate::upload::FsUpload;

/// Images as files.
#[derive(Debug, Clone)]
pub struct FsBlobs {
    root: Arc<Root>,
}

impl FsBlobs {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn shared_root(&self) -> &Arc<Root> {
        &self.root
    }
}

#[async_trait]
impl Blobs for FsBlobs {
    async fn begin(&self, image: &Digest, size: Option<u64>) -> Result<Box<dyn Upload>> {
        Ok(Box::new(FsUpload::begin(self.root.clone(), *image, size).await?))
    }

    async fn size(&self, image: &Digest) -> Result<Option<u64>> {
        let path = self.root.join(image_key(image));
        blocking(move || match found(fs::symlink_metadata(&path)) {
            Ok(Some(metadata)) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(Some(_)) => Err(corrupt(&path, "it is not a regular file")),
            Ok(None) => Ok(None),
            Err(source) => Err(error("look up", &path, source)),
        })
        .await
    }

    async fn read(&self, image: &Digest, range: Range<u64>) -> Result<ByteStream> {
        let image = *image;
        let path = self.root.join(image_key(&image));
        blocking(move || {
            let opened = found(open_file(&path)).map_err(|source| error("open", &path, source))?;
            let (file, stat) = opened.ok_or(Error::NotFound(image))?;
            let reader = Reader::new(file, path, range, size(&stat))?;
            Ok(Box::pin(reader) as ByteStream)
        })
        .await
    }

    async fn delete(&self, image: &Digest) -> Result<()> {
        let path = self.root.join(image_key(image));
        blocking(move || remove_file(&path).map_err(|source| error("remove", &path, source))).await
    }

    async fn list(&self) -> Result<Vec<BlobInfo>> {
        let path = self.root.join(IMAGES);
        blocking(move || list(&path).map_err(|source| error("list", &path, source))).await
    }

    async fn sweep_uploads(&self) -> Result<usize> {
        let root = self.root.clone();
        blocking(move || {
            let _alone = root.change();
            let uploads = root.join(UPLOADS);
            let records = root.join(RECORDS);
            let swept = sweep(&uploads).map_err(|source| error("sweep", &uploads, source))?;
            Ok(swept + sweep_below(&records).map_err(|source| error("sweep", &records, source))?)
        })
        .await
    }

    fn uploads(&self) -> &dyn Uploads {
        self
    }
}

fn list(path: &Path) -> io::Result<Vec<BlobInfo>> {
    let mut images = Vec::new();
    let folders = Dir::open(path)?;
    folders.each(|name| {
        let text = name.to_string_lossy();
        let path = path.join(&*text);
        let Some(dir) = folders.enter(name)? else {
            if folders.stat(name)?.is_some() {
                warn!(path = %path.display(), "passed over what is no directory of images");
            }
            return Ok(());
        };
        dir.each_file(
            &path,
            |file| parse_image_key(&format!("{IMAGES}/{text}/{file}")),
            |image, stat| images.push(info(image, stat)),
        )
    })?;
    Ok(images)
}

fn info(image: Digest, stat: &Stat) -> BlobInfo {
    // A file from before 1970 counts as one of 1970.
    let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
    BlobInfo { image, size: size(stat), modified }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

/// Removes the temporary files in each directory below `path`.
fn sweep_below(path: &Path) -> io::Result<usize> {
    let mut swept = 0;
    let dirs = Dir::open(path)?;
    dirs.each(|name| {
        if dirs.enter(name)?.is_some() {
            swept += sweep(&path.join(&*name.to_string_lossy()))?;
        }
        Ok(())
    })?;
    Ok(swept)
}

/// Removes the temporary files in the directory `path`.
fn sweep(path: &Path) -> io::Result<usize> {
    let mut swept = 0;
    let dir = Dir::open(path)?;
    dir.each(|name| {
        let text = name.to_string_lossy();
        if text.starts_with(TEMPORARY) && dir.stat(name)?.is_some_and(|stat| is_file(&stat)) {
            fs::remove_file(path.join(&*text))?;
            swept += 1;
        }
        Ok(())
    })?;
    Ok(swept)
}
