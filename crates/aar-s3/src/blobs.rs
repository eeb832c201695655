use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use aar_model::Digest;
use aar_store::{BlobInfo, Blobs, ByteStream, Error, Result, Upload, Uploads, image_key, parse_image_key};
use async_trait::async_trait;
use jiff::Timestamp;
use tracing::warn;

use crate::S3Store;
use crate::reader;
use crate::sweep;
use crate::upload::S3Upload;

const IMAGES: &str = "images/sha256/";

#[async_trait]
impl Blobs for S3Store {
    async fn begin(&self, image: &Digest, size: Option<u64>) -> Result<Box<dyn Upload>> {
        Ok(Box::new(S3Upload::begin(self.clone(), *image, size).await?))
    }

    async fn size(&self, image: &Digest) -> Result<Option<u64>> {
        let key = self.key(&image_key(image));
        self.client().size(&key).await.map_err(|error| error.at("look up", &key))
    }

    async fn read(&self, image: &Digest, range: Range<u64>) -> Result<ByteStream> {
        let key = self.key(&image_key(image));
        if range.is_empty() {
            // HTTP has no empty ranges.
            return match self.size(image).await? {
                Some(_) => Ok(Box::pin(futures_util::stream::empty())),
                None => Err(Error::NotFound(*image)),
            };
        }
        reader::open(self.client().clone(), *image, key, range).await
    }

    async fn delete(&self, image: &Digest) -> Result<()> {
        let key = self.key(&image_key(image));
        self.client().delete(&key).await.map_err(|error| error.at("remove", &key))
    }

    async fn list(&self) -> Result<Vec<BlobInfo>> {
        let prefix = self.key(IMAGES);
        let objects = self.client().list(&prefix).await.map_err(|error| error.at("list", &prefix))?;
        Ok(objects
            .into_iter()
            .filter_map(|object| {
                let key = object.key?;
                let image = key.strip_prefix(self.prefix()).and_then(parse_image_key);
                if image.is_none() {
                    warn!(key, "passed over what is no image");
                }
                let modified: Timestamp = object.last_modified?.parse().ok()?;
                let modified = u64::try_from(modified.as_second()).ok()?;
                Some(BlobInfo {
                    image: image?,
                    size: object.size?.try_into().ok()?,
                    modified: UNIX_EPOCH + Duration::from_secs(modified),
                })
            })
            .collect())
    }

    /// Uploads of this process that are under way are spared.
    async fn sweep_uploads(&self) -> Result<usize> {
        sweep::uploads(self).await.map_err(|error| error.at("sweep uploads below", self.prefix()))
    }

    fn uploads(&self) -> &dyn Uploads {
        self
    }
}
