//! Whether the policy permits what the registry does: each permission is tried on scratch keys.

use aar_store::Result;
use bytes::Bytes;
use rusoto_s3::{GetBucketLocationRequest, ListObjectsV2Request, S3};

use crate::S3Store;
use crate::action::Action;
use crate::client::{self, Client, found};
use crate::error::S3Error;
use crate::multipart::{NOTES, abort, create, list_parts};
use crate::sweep::listed;

/// What came of trying one permission.
#[derive(Debug)]
pub struct PermissionCheck {
    /// The IAM action.
    pub permission: &'static str,
    /// The ARN on which a policy has to permit it.
    pub resource: String,
    /// Why it failed, where it did.
    pub outcome: Result<()>,
}

impl S3Store {
    /// Tries each permission that the registry needs, and leaves nothing behind.
    pub async fn check(&self) -> Vec<PermissionCheck> {
        let client = self.client().hasty();
        let scratch = self.key(&format!("{NOTES}check-{:016x}", fastrand::u64(..)));
        let (location, list, list_uploads, object, upload) = tokio::join!(
            location(&client),
            list(&client, self.prefix()),
            listed(&client, &scratch),
            object(&client, &scratch),
            upload(&client, &scratch),
        );
        let [put, get, delete] = object;
        let [create, list_parts, abort] = upload;
        [
            (Action::GetBucketLocation, location),
            (Action::ListBucket, list),
            (Action::ListBucketMultipartUploads, list_uploads.map(drop)),
            (Action::PutObject, put.and(create)),
            (Action::GetObject, get),
            (Action::ListMultipartUploadParts, list_parts),
            (Action::AbortMultipartUpload, abort),
            (Action::DeleteObject, delete),
        ]
        .map(|(action, outcome)| {
            let place = client.place();
            PermissionCheck {
                permission: action.permission(),
                resource: action.resource(&place.region, &place.bucket),
                outcome: outcome.map_err(|error| error.at("check", &scratch)),
            }
        })
        .into()
    }
}

async fn location(client: &Client) -> client::Result<()> {
    let answer = client
        .call(Action::GetBucketLocation, |s3| {
            let request =
                GetBucketLocationRequest { bucket: client.bucket(), ..GetBucketLocationRequest::default() };
            async move { s3.get_bucket_location(request).await.map(drop) }
        })
        .await;
    match answer {
        // Not every store answers with AWS's document. That it answers with one takes permission.
        Err(S3Error::Garbled(_)) => Ok(()),
        answer => answer,
    }
}

async fn list(client: &Client, prefix: &str) -> client::Result<()> {
    client
        .call(Action::ListBucket, |s3| {
            let request = ListObjectsV2Request {
                bucket: client.bucket(),
                prefix: Some(prefix.to_owned()),
                max_keys: Some(1),
                ..ListObjectsV2Request::default()
            };
            async move { s3.list_objects_v2(request).await.map(drop) }
        })
        .await
}

/// Puts, gets and deletes an object. That there is none, where it could not be put, is an answer that takes permission.
async fn object(client: &Client, key: &str) -> [client::Result<()>; 3] {
    let put = client.put(key, Bytes::new()).await.map(drop);
    let get = client.get(key).await.map(drop);
    [put, get, client.delete(key).await]
}

/// Begins an upload, asks for its parts and aborts it. That there is none, where it could not be begun, is an answer that
/// takes permission.
async fn upload(client: &Client, key: &str) -> [client::Result<()>; 3] {
    let (id, created) = match create(client, key).await {
        Ok(id) => (id, Ok(())),
        Err(error) => ("none".into(), Err(error)),
    };
    let parts = found(list_parts(client, key, &id).await).map(drop);
    let mut aborted = abort(client, key, &id).await.map(drop);
    if let Err(S3Error::Denied { permission, .. }) = &aborted
        && *permission != Action::AbortMultipartUpload.permission()
    {
        // What is denied is to see that nothing is left.
        aborted = Ok(());
    }
    [created, parts, aborted]
}
