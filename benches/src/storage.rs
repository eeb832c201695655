//! Where a registry keeps its images.

use std::path::{Path, PathBuf};

use aar_tests::s3::Client;
use anyhow::Result;
use openssl::rsa::Rsa;

use crate::keys::write_private;

/// Where images are kept, and where clients are sent for them.
pub(crate) enum Storage {
    /// In the registry's own directory.
    Disk,
    /// In a bucket.
    Bucket {
        /// The bucket, its server and the keys to it.
        bucket: Client,
        /// What clients are sent to; without it, they are sent to the bucket.
        cloudfront: Option<CloudFront>,
    },
}

/// A distribution of CloudFront. It does not exist: nothing is fetched from it.
#[derive(Clone)]
pub(crate) struct CloudFront {
    /// The private key: RSA of 2048 bits, PEM, PKCS#1, which is the only form that docker-registry takes.
    pub(crate) private_key: PathBuf,
}

impl CloudFront {
    /// Its address.
    pub(crate) const BASE_URL: &str = "https://d111111abcdef8.cloudfront.net";
    /// The identifier of its public key.
    pub(crate) const KEYPAIR_ID: &str = "K2JCJMDEHXQW5F";

    /// Makes a new key in `dir`.
    pub(crate) fn generate(dir: &Path) -> Result<Self> {
        let private_key = dir.join("cloudfront.pem");
        write_private(&private_key, &Rsa::generate(2048)?.private_key_to_pem()?)?;
        Ok(Self { private_key })
    }
}
