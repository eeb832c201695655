//! One call after the other until one succeeds, or none may any more.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use md5::{Digest as _, Md5};
use rusoto_core::{ByteStream, RusotoError};
use rusoto_s3::{
    DeleteObjectRequest, GetObjectOutput, GetObjectRequest, HeadObjectRequest, ListObjectsV2Request, Object,
    PutObjectRequest, S3, S3Client,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::action::Action;
use crate::credentials::Provider;
use crate::error::{Place, S3Error};

pub(crate) type Result<T, E = S3Error> = std::result::Result<T, E>;

/// How often a request is sent.
const ATTEMPTS: u32 = 8;
/// When it is not sent again any more.
const BUDGET: Duration = Duration::from_secs(60);
/// The longest pause after the first attempt; that after each further one may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Talks to one bucket.
#[derive(Clone)]
pub(crate) struct Client {
    s3: S3Client,
    credentials: Arc<Provider>,
    place: Place,
    attempts: u32,
}

impl Client {
    pub(crate) fn new(s3: S3Client, credentials: Arc<Provider>, place: Place) -> Self {
        Self { s3, credentials, place, attempts: ATTEMPTS }
    }

    /// The same, but gives up sooner.
    pub(crate) fn hasty(&self) -> Self {
        Self { attempts: 2, ..self.clone() }
    }

    pub(crate) fn bucket(&self) -> String {
        self.place.bucket.clone()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Sends what `attempt` makes until it succeeds or cannot any more.
    pub(crate) async fn call<T, E, F>(&self, action: Action, attempt: impl Fn(S3Client) -> F) -> Result<T>
    where
        T: Send + 'static,
        E: Debug + Send + 'static,
        F: Future<Output = Result<T, RusotoError<E>>> + Send + 'static,
    {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match contained(attempt(self.s3.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => S3Error::new(error, action, &self.place),
                Err(problem) => S3Error::Garbled(problem),
            };
            if matches!(error, S3Error::Expired { .. }) {
                self.credentials.distrust();
            }
            if !error.may_pass() || attempts >= self.attempts || begun.elapsed() >= BUDGET {
                return Err(error);
            }
            debug!(permission = action.permission(), attempts, %error, "the store is asked again");
            // As many registries as may wait for one store, they come back at different times.
            sleep(pause.mul_f64(fastrand::f64())).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    pub(crate) async fn put(&self, key: &str, body: Bytes) -> Result<String> {
        let md5 = STANDARD.encode(Md5::digest(&body));
        self.call(Action::PutObject, |s3| {
            let request = PutObjectRequest {
                bucket: self.bucket(),
                key: key.to_owned(),
                content_md5: Some(md5.clone()),
                body: Some(streamed(vec![body.clone()])),
                ..PutObjectRequest::default()
            };
            async move { s3.put_object(request).await.and_then(|output| tag(output.e_tag.as_deref())) }
        })
        .await
    }

    /// An object's bytes, which must be few, and its tag.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<(Bytes, String)>> {
        let answer = self.call(Action::GetObject, |s3| {
            let request = self.get_request(key, None);
            async move {
                let output = s3.get_object(request).await?;
                Ok((collected(output.body).await?, tag(output.e_tag.as_deref())?))
            }
        });
        found(answer.await)
    }

    /// An object's bytes as they come. `range` is as HTTP writes it.
    pub(crate) async fn open(&self, key: &str, range: &str) -> Result<GetObjectOutput> {
        self.call(Action::GetObject, |s3| {
            let request = self.get_request(key, Some(range.to_owned()));
            async move { s3.get_object(request).await }
        })
        .await
    }

    fn get_request(&self, key: &str, range: Option<String>) -> GetObjectRequest {
        GetObjectRequest { bucket: self.bucket(), key: key.to_owned(), range, ..GetObjectRequest::default() }
    }

    /// An object's bytes, counted.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>> {
        let answer = self.call(Action::GetObject, |s3| {
            let request = HeadObjectRequest {
                bucket: self.bucket(),
                key: key.to_owned(),
                ..HeadObjectRequest::default()
            };
            async move {
                let output = s3.head_object(request).await?;
                size(output.content_length)
            }
        });
        let mut answer = answer.await;
        if let Err(error) = &answer
            && error.is_unexplained()
            && let Err(explained) = self.open(key, "bytes=0-0").await
        {
            answer = Err(explained);
        }
        found(answer)
    }

    /// One that is not there is a success.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let answer = self.call(Action::DeleteObject, |s3| {
            let request = DeleteObjectRequest {
                bucket: self.bucket(),
                key: key.to_owned(),
                ..DeleteObjectRequest::default()
            };
            async move { s3.delete_object(request).await }
        });
        found(answer.await).map(drop)
    }

    /// All objects whose keys begin so.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .call(Action::ListBucket, |s3| {
                    let request = ListObjectsV2Request {
                        bucket: self.bucket(),
                        prefix: Some(prefix.to_owned()),
                        continuation_token: token.clone(),
                        ..ListObjectsV2Request::default()
                    };
                    async move { s3.list_objects_v2(request).await }
                })
                .await?;
            objects.extend(page.contents.unwrap_or_default());
            match page.next_continuation_token.filter(|_| page.is_truncated == Some(true)) {
                None => return Ok(objects),
                next if next == token => {
                    return Err(S3Error::Garbled("a listing does not come to its end".into()));
                }
                next => token = next,
            }
        }
    }
}

/// What an answer holds, or nothing where there is no such object.
pub(crate) fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A body whose length is known, which S3 insists on.
pub(crate) fn streamed(pieces: Vec<Bytes>) -> ByteStream {
    let length = pieces.iter().map(Bytes::len).sum();
    ByteStream::new_with_size(stream::iter(pieces.into_iter().map(Ok)), length)
}

/// A tag without its quotes, which not every answer has.
pub(crate) fn tag<E>(tag: Option<&str>) -> Result<String, RusotoError<E>> {
    match tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"')) {
        None | Some("") => Err(RusotoError::ParseError("it has no ETag".into())),
        Some(tag) => Ok(tag.into()),
    }
}

pub(crate) fn size<E>(length: Option<i64>) -> Result<u64, RusotoError<E>> {
    length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| RusotoError::ParseError("it has no Content-Length".into()))
}

async fn collected<E>(body: Option<ByteStream>) -> Result<Bytes, RusotoError<E>> {
    use futures_util::TryStreamExt as _;
    let Some(body) = body else { return Ok(Bytes::new()) };
    let bytes = body.try_fold(Vec::new(), async |mut bytes, chunk| {
        bytes.extend_from_slice(&chunk);
        Ok(bytes)
    });
    Ok(bytes.await?.into())
}

/// Answers what `work` does, or that it panicked: rusoto does, where a header of an answer is not ASCII.
async fn contained<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
    // Unlike a task of its own, the set ends with the caller.
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(outcome)) => Ok(outcome),
        Some(Err(failed)) if failed.is_panic() => Err("it cannot be read".into()),
        _ => Err("the registry is shutting down".into()),
    }
}
