//! URLs by which clients fetch images from the bucket itself. To make one takes no request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aar_model::Digest;
use aar_store::{Download, Downloads, Result, SignedUrl, image_key};
use async_trait::async_trait;
use quick_cache::sync::Cache;
use rusoto_core::Region;
use rusoto_core::credential::ProvideAwsCredentials;
use rusoto_core::signature::SignedRequest;

use crate::S3Store;
use crate::credentials::{Provider, remaining};
use crate::error::S3Error;
use crate::store::aws_host;

/// URLs that are kept.
const KEPT: usize = 2048;
/// How long S3 lets a URL be valid.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Signs URLs.
pub(crate) struct Signer {
    credentials: Arc<Provider>,
    region: Region,
    /// The bucket's own host, where it has one.
    host: Option<String>,
    /// What comes before the key: the bucket, where it is not in the host.
    folder: String,
    /// How long a URL is valid at least, and how long it is given to whoever asks for the same.
    duration: Duration,
    step: Duration,
    kept: Cache<Asked, (SignedUrl, Instant)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    image: Digest,
    media_type: Box<str>,
    file_name: Box<str>,
}

impl Signer {
    pub(crate) fn new(
        credentials: Arc<Provider>,
        custom: impl Fn(String) -> Region,
        region: &str,
        bucket: &str,
        endpoint: Option<String>,
        duration: Duration,
    ) -> Self {
        let aws = aws_host(region);
        // AWS's certificate does not cover a bucket with a dot in its name.
        let host = (endpoint.is_none() && !bucket.contains('.')).then(|| format!("{bucket}.{aws}"));
        Self {
            credentials,
            region: custom(endpoint.unwrap_or_else(|| format!("https://{aws}"))),
            folder: if host.is_some() { "/".into() } else { format!("/{bucket}/") },
            host,
            duration,
            step: duration / 4,
            kept: Cache::new(KEPT),
        }
    }

    async fn sign(&self, key: &str, asked: &Asked) -> Result<(SignedUrl, Instant), S3Error> {
        let credentials = self.credentials.credentials().await;
        let credentials = credentials.map_err(|error| S3Error::NoCredentials(error.message))?;
        let left = remaining(&credentials).unwrap_or(LONGEST);
        if left.as_secs() == 0 {
            return Err(S3Error::Expired { code: "ExpiredToken".into() });
        }
        let valid = (self.duration + self.step).min(LONGEST).min(left);
        // A URL that the credentials cut short is given to nobody else, so that each is valid as long as can be.
        let kept = Instant::now() + valid.saturating_sub(self.duration);

        let mut request = SignedRequest::new("GET", "s3", &self.region, &format!("{}{key}", self.folder));
        request.set_hostname(self.host.clone());
        request.add_param("response-content-type", &*asked.media_type);
        let disposition = format!("attachment; filename=\"{}\"", asked.file_name);
        request.add_param("response-content-disposition", &*disposition);
        Ok((SignedUrl::new(request.generate_presigned_url(&credentials, &valid, false)), kept))
    }
}

#[async_trait]
impl Downloads for S3Store {
    async fn url(&self, download: &Download<'_>) -> Result<SignedUrl> {
        let signer = self.signer();
        let asked = Asked {
            image: *download.image,
            media_type: download.media_type.into(),
            file_name: download.file_name.into(),
        };
        if let Some((url, until)) = signer.kept.get(&asked)
            && Instant::now() < until
        {
            return Ok(url);
        }
        let key = self.key(&image_key(download.image));
        let (url, until) =
            signer.sign(&key, &asked).await.map_err(|error| error.at("sign a URL for", &key))?;
        signer.kept.insert(asked, (url.clone(), until));
        Ok(url)
    }
}
