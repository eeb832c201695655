use std::convert::Infallible;

use aar_store::{ETag, RecordKey, Records, Result};
use async_trait::async_trait;
use bytes::Bytes;
use tracing::warn;

use crate::S3Store;
use crate::client::tag;
use crate::error::S3Error;

const RECORDS: &str = "records/applications/";

#[async_trait]
impl Records for S3Store {
    async fn put(&self, key: &RecordKey, document: Bytes) -> Result<ETag> {
        let key = self.key(&key.path());
        let tag = self.client().put(&key, document).await.map_err(|error| error.at("write", &key))?;
        Ok(ETag(tag.into()))
    }

    async fn get(&self, key: &RecordKey) -> Result<Option<(Bytes, ETag)>> {
        let key = self.key(&key.path());
        let found = self.client().get(&key).await.map_err(|error| error.at("read", &key))?;
        Ok(found.map(|(document, tag)| (document, ETag(tag.into()))))
    }

    async fn delete(&self, key: &RecordKey) -> Result<()> {
        let key = self.key(&key.path());
        self.client().delete(&key).await.map_err(|error| error.at("remove", &key))
    }

    async fn list(&self) -> Result<Vec<(RecordKey, ETag)>> {
        let prefix = self.key(RECORDS);
        let objects = self.client().list(&prefix).await.map_err(|error| error.at("list", &prefix))?;
        let mut records = Vec::new();
        for object in objects {
            let path = object.key.unwrap_or_default();
            let Some(key) = path.strip_prefix(self.prefix()).and_then(RecordKey::parse) else {
                warn!(key = path, "passed over what is no record");
                continue;
            };
            let tag = tag::<Infallible>(object.e_tag.as_deref());
            let tag = tag.map_err(|_| S3Error::Garbled("it lists no ETag".into()).at("list", &path))?;
            records.push((key, ETag(tag.into())));
        }
        Ok(records)
    }
}
