//! An image on its way in.

use aar_model::Digest;
use aar_store::{Error, Result, Upload, image_key};
use async_trait::async_trait;
use bytes::Bytes;

use crate::S3Store;
use crate::client;
use crate::error::S3Error;
use crate::multipart::Multipart;
use crate::parts::admit;
use crate::sending::{Sending, Sent};

/// An image that is being received.
pub(crate) struct S3Upload {
    store: S3Store,
    image: Digest,
    key: String,
    /// Ends before the upload is aborted.
    sending: Sending,
    multipart: Multipart,
}

impl S3Upload {
    pub(crate) async fn begin(store: S3Store, image: Digest, declared: Option<u64>) -> Result<Self> {
        let key = store.key(&image_key(&image));
        let at = |error: S3Error| error.at("write an image to", &key);
        declared.map_or(Ok(()), admit).map_err(at)?;
        let (multipart, sender) = Multipart::begin(&store, image).await.map_err(at)?;
        let sending = Sending::new(store.clone(), sender, store.part_size(), declared, Sent::default());
        Ok(Self { store, image, key, sending, multipart })
    }

    /// Hands over what is left, and answers the digest.
    async fn finish(&mut self) -> client::Result<Digest> {
        // An image of no bytes has one part all the same.
        if self.sending.gathered() > 0 || self.sending.handed_over().0 == 0 {
            self.sending.hand_over().await?;
        }
        Ok(self.sending.hashed().await?.clone().finish())
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        while !chunk.is_empty() {
            if self.sending.fill(&mut chunk) {
                self.sending.hand_over().await.map_err(|error| error.at("write an image to", &self.key))?;
            }
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<u64> {
        let actual = self.finish().await.map_err(|error| error.at("write an image to", &self.key))?;
        if actual != self.image {
            return Err(Error::Mismatch { expected: self.image, actual });
        }
        let Self { store, key, mut sending, multipart, .. } = *self;
        let sent = sending.all_sent().await.map_err(|error| error.at("write an image to", &key))?;
        let (_, size) = sending.handed_over();
        let stored = store.client().size(&key).await.map_err(|error| error.at("look up", &key))?;
        if stored != Some(size) {
            multipart.complete(sent, size).await.map_err(|error| error.at("store", &key))?;
        }
        Ok(size)
    }
}
