//! What uploads of an earlier process left behind.

use std::collections::BTreeSet;

use aar_model::Digest;
use aar_store::{image_key, parse_image_key};
use rusoto_s3::{ListMultipartUploadsRequest, MultipartUpload, S3};
use tracing::info;

use crate::S3Store;
use crate::action::Action;
use crate::client::{Client, Result};
use crate::error::S3Error;
use crate::multipart::{NOTES, abort};
use crate::uploads::{self, RESUMABLE};

/// Aborts all uploads below the store's prefix but those of images that this process is uploading, and those that can be
/// gone on with. Answers how many there were.
///
/// An image is live from before its upload begins until that is complete or aborted. So an upload that is found and is not
/// live here is none of this process, or has come to its end.
pub(crate) async fn uploads(store: &S3Store) -> Result<usize> {
    let client = store.client();
    let mut found = BTreeSet::new();
    for upload in listed(client, store.prefix()).await? {
        if let (Some(key), Some(id)) = (upload.key, upload.upload_id) {
            let ours = key.strip_prefix(store.prefix()).unwrap_or_default();
            if ours.starts_with(NOTES)
                || parse_image_key(ours).is_some_and(|image| !store.live().contains(&image))
            {
                found.insert((key, id));
            }
        }
    }
    let mut notes = Vec::new();
    for note in client.list(&store.key(NOTES)).await?.into_iter().filter_map(|object| object.key) {
        if note.strip_prefix(store.prefix()).is_some_and(|key| key.starts_with(RESUMABLE)) {
            continue;
        }
        let image = noted(note.strip_prefix(store.prefix()).unwrap_or_default());
        if image.is_some_and(|image| store.live().contains(&image)) {
            continue;
        }
        if let (Some(image), Some((id, _))) = (image, client.get(&note).await?) {
            let id = String::from_utf8_lossy(&id).into_owned();
            if !id.is_empty() {
                found.insert((store.key(&image_key(&image)), id));
            }
        }
        notes.push(note);
    }
    // Read last: what was begun meanwhile was live before, or is noted now.
    for (_, kept) in uploads::notes(store).await? {
        found.remove(&(store.key(&image_key(&kept.note.image)), kept.upload));
    }
    let mut aborted = 0;
    for (key, id) in found {
        if abort(client, &key, &id).await? {
            info!(key, "aborted an upload that was left behind");
            aborted += 1;
        }
    }
    for note in notes {
        client.delete(&note).await?;
    }
    Ok(aborted)
}

/// The image whose upload is noted under this key.
fn noted(key: &str) -> Option<Digest> {
    key.strip_prefix(NOTES)?.split_once('-')?.0.parse().ok()
}

/// All uploads to keys that begin so.
pub(crate) async fn listed(client: &Client, prefix: &str) -> Result<Vec<MultipartUpload>> {
    let mut uploads = Vec::new();
    let mut next = (None, None);
    loop {
        let page = client
            .call(Action::ListBucketMultipartUploads, |s3| {
                let request = ListMultipartUploadsRequest {
                    bucket: client.bucket(),
                    prefix: Some(prefix.to_owned()),
                    key_marker: next.0.clone(),
                    upload_id_marker: next.1.clone(),
                    ..ListMultipartUploadsRequest::default()
                };
                async move { s3.list_multipart_uploads(request).await }
            })
            .await?;
        uploads.extend(page.uploads.unwrap_or_default());
        let after = (page.next_key_marker, page.next_upload_id_marker);
        if page.is_truncated != Some(true) {
            return Ok(uploads);
        }
        if after == next {
            return Err(S3Error::Garbled("a listing does not come to its end".into()));
        }
        next = after;
    }
}
