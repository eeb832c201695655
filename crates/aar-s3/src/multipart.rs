//! An upload of parts as S3 keeps it: begun, noted, and completed or aborted.
//!
//! Whatever ends it before it is complete, the parts that were sent cost money until it is aborted. Some stores forget to
//! list uploads, so each is noted in an object of its own, from which a later process knows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aar_model::Digest;
use aar_store::image_key;
use bytes::Bytes;
use rusoto_core::RusotoError;
use rusoto_s3::{
    AbortMultipartUploadRequest, CompleteMultipartUploadRequest, CompletedMultipartUpload, CompletedPart,
    CreateMultipartUploadRequest, ListPartsRequest, S3, UploadPartRequest,
};
use tokio::runtime::Handle;
use tracing::warn;

use crate::S3Store;
use crate::action::Action;
use crate::client::{Client, Result, found, streamed, tag};

/// Where uploads are noted, and where `check` scribbles: `uploads/<image>-<random>` holds the upload's id.
pub(crate) const NOTES: &str = "uploads/";
/// How often an upload is aborted until its parts are gone: one that is on its way may still arrive after the first time.
const ABORTS: usize = 3;

/// The images that this process is uploading.
#[derive(Default)]
pub(crate) struct Live(Mutex<HashMap<Digest, usize>>);

impl Live {
    fn images(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn contains(&self, image: &Digest) -> bool {
        self.images().contains_key(image)
    }

    /// Notes that an image is being uploaded, until what this answers is dropped.
    pub(crate) fn enter(self: &Arc<Self>, image: Digest) -> Entered {
        *self.images().entry(image).or_default() += 1;
        Entered { live: self.clone(), image }
    }
}

pub(crate) struct Entered {
    live: Arc<Live>,
    image: Digest,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut images = self.live.images();
        if let Some(count) = images.get_mut(&self.image) {
            *count -= 1;
            if *count == 0 {
                images.remove(&self.image);
            }
        }
    }
}

/// An upload that is under way. Dropped before it is complete, it is aborted.
pub(crate) struct Multipart(Option<Begun>);

struct Begun {
    client: Client,
    key: String,
    id: String,
    note: String,
    /// Given up last.
    _live: Entered,
}

impl Multipart {
    /// Begins an upload, and answers also what sends its parts.
    pub(crate) async fn begin(store: &S3Store, image: Digest) -> Result<(Self, Sender)> {
        let live = store.live().enter(image);
        let client = store.client().clone();
        let key = store.key(&image_key(&image));
        let id = create(&client, &key).await?;
        let note = store.key(&format!("{NOTES}{image}-{:016x}", fastrand::u64(..)));
        let sender = Sender { client: client.clone(), key: key.clone(), id: id.clone() };
        let begun = Self(Some(Begun { client, key, id, note, _live: live }));
        begun.note().await?;
        Ok((begun, sender))
    }

    async fn note(&self) -> Result<()> {
        if let Some(Begun { client, id, note, .. }) = &self.0 {
            client.put(note, Bytes::copy_from_slice(id.as_bytes())).await?;
        }
        Ok(())
    }

    /// Puts the parts together to an object of `size` bytes.
    pub(crate) async fn complete(mut self, parts: Vec<CompletedPart>, size: u64) -> Result<()> {
        let Some(Begun { client, key, id, .. }) = &self.0 else { return Ok(()) };
        complete(client, key, id, parts, size).await?;
        if let Some(begun) = self.0.take() {
            begun.forget().await;
        }
        Ok(())
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if let (Some(begun), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                match abort(&begun.client, &begun.key, &begun.id).await {
                    Ok(_) => begun.forget().await,
                    Err(error) => {
                        warn!(key = begun.key, %error, "an upload is left behind until the next sweep");
                    }
                }
            });
        }
    }
}

impl Begun {
    /// Removes the note; one that is left is removed by the next sweep.
    async fn forget(&self) {
        if let Err(error) = self.client.delete(&self.note).await {
            warn!(key = self.note, %error, "the note of an upload is left behind until the next sweep");
        }
    }
}

/// Sends parts of one upload.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) key: String,
    pub(crate) id: String,
}

impl Sender {
    /// Sends part `number`, counted from 1, whose MD5 is `md5` in base64.
    pub(crate) async fn send(self, number: i64, md5: String, part: Vec<Bytes>) -> Result<CompletedPart> {
        let e_tag = self
            .client
            .call(Action::PutObject, |s3| {
                let request = UploadPartRequest {
                    bucket: self.client.bucket(),
                    key: self.key.clone(),
                    upload_id: self.id.clone(),
                    part_number: number,
                    content_md5: Some(md5.clone()),
                    body: Some(streamed(part.clone())),
                    ..UploadPartRequest::default()
                };
                async move { s3.upload_part(request).await.and_then(|output| tag(output.e_tag.as_deref())) }
            })
            .await?;
        Ok(CompletedPart { e_tag: Some(format!("\"{e_tag}\"")), part_number: Some(number) })
    }
}

/// Puts the parts of an upload together to an object of `size` bytes.
pub(crate) async fn complete(
    client: &Client,
    key: &str,
    id: &str,
    parts: Vec<CompletedPart>,
    size: u64,
) -> Result<()> {
    let parts = CompletedMultipartUpload { parts: Some(parts) };
    let outcome = client
        .call(Action::PutObject, |s3| {
            let request = CompleteMultipartUploadRequest {
                bucket: client.bucket(),
                key: key.to_owned(),
                upload_id: id.to_owned(),
                multipart_upload: Some(parts.clone()),
                ..CompleteMultipartUploadRequest::default()
            };
            // An error that comes with status 200 is known by nothing but the tag that it lacks.
            async move {
                s3.complete_multipart_upload(request).await.and_then(|output| tag(output.e_tag.as_deref()))
            }
        })
        .await;
    if let Err(error) = outcome {
        // It may have been completed by an attempt whose answer was lost.
        match client.size(key).await {
            Ok(Some(stored)) if stored == size => {}
            _ => return Err(error),
        }
    }
    Ok(())
}

/// Begins an upload and answers its id.
pub(crate) async fn create(client: &Client, key: &str) -> Result<String> {
    client
        .call(Action::PutObject, |s3| {
            let request = CreateMultipartUploadRequest {
                bucket: client.bucket(),
                key: key.to_owned(),
                ..CreateMultipartUploadRequest::default()
            };
            async move {
                let output = s3.create_multipart_upload(request).await?;
                let id = output.upload_id.filter(|id| !id.is_empty());
                id.ok_or_else(|| RusotoError::ParseError("it has no UploadId".into()))
            }
        })
        .await
}

/// Aborts an upload until nothing of it is left. Answers whether there was anything.
pub(crate) async fn abort(client: &Client, key: &str, id: &str) -> Result<bool> {
    let mut existed = false;
    for _ in 0..ABORTS {
        let aborted = client.call(Action::AbortMultipartUpload, |s3| {
            let request = AbortMultipartUploadRequest {
                bucket: client.bucket(),
                key: key.to_owned(),
                upload_id: id.to_owned(),
                ..AbortMultipartUploadRequest::default()
            };
            async move { s3.abort_multipart_upload(request).await }
        });
        if found(aborted.await)?.is_none() {
            break;
        }
        existed = true;
        if found(list_parts(client, key, id).await)?.is_none() {
            break;
        }
    }
    Ok(existed)
}

/// Asks for an upload's first part; there is no such upload where it has been aborted.
pub(crate) async fn list_parts(client: &Client, key: &str, id: &str) -> Result<()> {
    client
        .call(Action::ListMultipartUploadParts, |s3| {
            let request = ListPartsRequest {
                bucket: client.bucket(),
                key: key.to_owned(),
                upload_id: id.to_owned(),
                max_parts: Some(1),
                ..ListPartsRequest::default()
            };
            async move { s3.list_parts(request).await.map(drop) }
        })
        .await
}
