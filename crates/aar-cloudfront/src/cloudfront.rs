use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aar_model::Digest;
use aar_store::{Download, Downloads, Error, Result, SignedUrl, image_key};
use async_trait::async_trait;
use openssl::error::ErrorStack;
use quick_cache::sync::Cache;
use url::Url;

use crate::key::{HashAlgorithm, Key, KeyError, Warning};
use crate::{policy, resource};

/// How many signed URLs are kept, each of some 600 bytes.
const KEPT: usize = 8192;

/// A distribution of CloudFront whose origin is the bucket.
///
/// All who ask for an image within the same step, a quarter of `duration`, get the same URL: a rush for a new image costs
/// one signature.
pub struct CloudFront {
    /// The URL of the bucket's keys, encoded, ending in `/`.
    base: String,
    key: Key,
    keypair_id: String,
    duration: Duration,
    /// By image and expiry. URLs of steps that are over make way for new ones.
    urls: Cache<(Digest, u64), SignedUrl>,
}

/// How [`CloudFront`] makes URLs.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Where the distribution serves the bucket's keys. Of user, query and fragment no use is made.
    pub base_url: &'a Url,
    /// What the registry's keys in the bucket begin with: nothing, or a path that ends in `/`. Not encoded.
    pub prefix: &'a str,
    /// The private key as PEM: PKCS#1, SEC1 or PKCS#8, not encrypted; RSA, or ECDSA on P-256.
    pub private_key: &'a str,
    /// CloudFront's identifier of the public key.
    pub keypair_id: &'a str,
    /// How long a URL is valid at least; at most it is a quarter longer, or a second where that is more.
    pub duration: Duration,
    /// What is signed.
    pub hash_algorithm: HashAlgorithm,
}

impl CloudFront {
    /// Reads the key, once for all signatures, and tells what is doubtful about it.
    pub fn new(options: &Options<'_>) -> Result<(Self, Option<Warning>), KeyError> {
        let (key, warning) = Key::from_pem(options.private_key, options.hash_algorithm)?;
        let cloudfront = Self {
            base: resource::base(options.base_url, options.prefix),
            key,
            keypair_id: options.keypair_id.to_owned(),
            duration: options.duration,
            urls: Cache::new(KEPT),
        };
        Ok((cloudfront, warning))
    }

    /// The URL of an image for somebody who asks at `now`.
    pub async fn url_at(&self, image: &Digest, now: SystemTime) -> Result<SignedUrl> {
        let expires = policy::expiry(now.duration_since(UNIX_EPOCH).unwrap_or_default(), self.duration);
        // Whoever comes while the URL is being signed waits for it. Signing stays on this thread: RSA takes 0.2 ms, less
        // than the TLS handshakes that it serves as well, and a thread of its own would make no core faster.
        self.urls.get_or_insert_async(&(*image, expires), async { self.sign(image, expires) }).await.map_err(
            |source| Error::Io { action: "sign a URL for CloudFront".to_owned(), source: source.into() },
        )
    }

    fn sign(&self, image: &Digest, expires: u64) -> Result<SignedUrl, ErrorStack> {
        let resource = format!("{}{}", self.base, image_key(image));
        let signature = policy::encode(&self.key.sign(policy::canned(&resource, expires).as_bytes())?);
        let hash = match self.key.hash_algorithm() {
            HashAlgorithm::Sha1 => "",
            HashAlgorithm::Sha256 => "&Hash-Algorithm=SHA256",
        };
        Ok(SignedUrl::new(format!(
            "{resource}?Expires={expires}&Signature={signature}&Key-Pair-Id={}{hash}",
            self.keypair_id
        )))
    }
}

#[async_trait]
impl Downloads for CloudFront {
    /// What the client is told with the bytes is what the bucket holds of the image.
    async fn url(&self, download: &Download<'_>) -> Result<SignedUrl> {
        self.url_at(download.image, SystemTime::now()).await
    }
}

impl fmt::Debug for CloudFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudFront")
            .field("base", &self.base)
            .field("keypair_id", &self.keypair_id)
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}
