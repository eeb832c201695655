//! The storage that the configuration asks for, as the traits of `aar-store`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aar_cloudfront::{CloudFront, KeyError};
use aar_config::{Config, ConfigError, HashAlgorithm, S3, Storage};
use aar_s3::S3Store;
use aar_store::{Blobs, Downloads, Records};
use anyhow::{Context, Result};

use crate::base_dir::BaseDir;
use crate::check::{Checked, Distribution};

/// How long a URL to the bucket itself is valid.
const URL_DURATION: Duration = Duration::from_secs(15 * 60);

/// Where images and records are kept, and where clients are sent for images.
pub(crate) struct Stores {
    /// What people call it: a directory, or `s3://<bucket>/<prefix>`.
    pub(crate) name: String,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) downloads: Option<Arc<dyn Downloads>>,
    /// The bucket, where it is one.
    pub(crate) bucket: Option<S3Store>,
    /// How it is tried whether all of it works.
    pub(crate) checked: Checked,
}

impl Stores {
    /// Opens what the configuration says. A bucket need not be in reach.
    pub(crate) async fn open(storage: &Storage, base_dir: &BaseDir) -> Result<Self> {
        match storage {
            Storage::Fs { root_directory } => {
                let root = root_directory.clone().unwrap_or_else(|| base_dir.data());
                let (blobs, records) = aar_fs::open(&root).await.context("cannot open the storage")?;
                Ok(Self {
                    name: root.display().to_string(),
                    checked: Checked::Disk(blobs.clone()),
                    blobs: Arc::new(blobs),
                    records: Arc::new(records),
                    downloads: None,
                    bucket: None,
                })
            }
            Storage::S3(s3) => {
                let bucket = aar_s3::open(options(s3, base_dir)).context("cannot use the storage")?;
                let downloads = downloads(s3, &bucket)?;
                let path = if s3.prefix.is_empty() { String::new() } else { format!("/{}", s3.prefix) };
                Ok(Self {
                    name: format!("s3://{}{path}", s3.bucket),
                    blobs: Arc::new(bucket.clone()),
                    records: Arc::new(bucket.clone()),
                    checked: Checked::Bucket {
                        bucket: bucket.clone(),
                        downloads: downloads.clone(),
                        distribution: distribution(s3)?,
                    },
                    downloads,
                    bucket: Some(bucket),
                })
            }
        }
    }
}

/// Finds what is wrong with a configuration beyond its form: whether the private key is one that can sign.
pub(crate) fn check(config: &Config, path: &Path) -> Result<(), ConfigError> {
    let Storage::S3(s3) = &config.storage else { return Ok(()) };
    let Some(options) = &s3.cloudfront else { return Ok(()) };
    cloudfront(s3, options).map(drop).map_err(|error| ConfigError::Invalid {
        path: path.into(),
        position: None,
        key: Some("storage.s3.cloudfront.private-key".to_owned()),
        problem: error.to_string(),
    })
}

fn downloads(s3: &S3, bucket: &S3Store) -> Result<Option<Arc<dyn Downloads>>> {
    if !s3.redirect {
        return Ok(None);
    }
    let Some(options) = &s3.cloudfront else { return Ok(Some(Arc::new(bucket.clone()))) };
    let (cloudfront, warning) = cloudfront(s3, options).context("cannot sign for CloudFront")?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    Ok(Some(Arc::new(cloudfront)))
}

fn distribution(s3: &S3) -> Result<Option<Distribution>> {
    let Some(options) = &s3.cloudfront else { return Ok(None) };
    let mut detours = Vec::new();
    let mut detour = |prefix: bool, path: bool| {
        let (mut s3, mut options) = (s3.clone(), options.clone());
        let mut advice = Vec::new();
        if prefix {
            advice.push(format!(
                "clear the distribution's origin path: URLs have the prefix `{}` already",
                s3.prefix
            ));
            s3.prefix.clear();
        }
        if path {
            advice.push(format!(
                "remove the path `{}` from base-url: the bucket's keys do not have it",
                options.base_url.path()
            ));
            options.base_url.set_path("");
        }
        let (cloudfront, _) = cloudfront(&s3, &options).context("cannot sign for CloudFront")?;
        detours.push((cloudfront, advice.join("; ")));
        anyhow::Ok(())
    };
    let (prefix, path) = (!s3.prefix.is_empty(), options.base_url.path() != "/");
    // A path that is the prefix once more is in the way before the prefix is.
    if path {
        detour(false, true)?;
    }
    if prefix {
        detour(true, false)?;
    }
    if prefix && path {
        detour(true, true)?;
    }
    Ok(Some(Distribution {
        keypair_id: options.keypair_id.clone(),
        keys: format!("{}images/", s3.prefix),
        detours,
    }))
}

fn cloudfront(
    s3: &S3,
    options: &aar_config::CloudFront,
) -> Result<(CloudFront, Option<aar_cloudfront::Warning>), KeyError> {
    CloudFront::new(&aar_cloudfront::Options {
        base_url: &options.base_url,
        prefix: &s3.prefix,
        private_key: options.private_key.expose(),
        keypair_id: &options.keypair_id,
        duration: options.duration,
        hash_algorithm: match options.hash_algorithm {
            HashAlgorithm::Sha1 => aar_cloudfront::HashAlgorithm::Sha1,
            HashAlgorithm::Sha256 => aar_cloudfront::HashAlgorithm::Sha256,
        },
    })
}

fn options(s3: &S3, base_dir: &BaseDir) -> aar_s3::Options {
    let credentials = match &s3.credentials {
        Some(keys) => aar_s3::Credentials::Keys {
            access_key: keys.access_key.expose().to_owned(),
            secret_access_key: keys.secret_access_key.expose().to_owned().into(),
        },
        None => aar_s3::Credentials::InstanceProfile {
            // The variable that AWS's own tools read.
            metadata_endpoint: std::env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT").ok(),
        },
    };
    aar_s3::Options {
        region: s3.region.clone(),
        bucket: s3.bucket.clone(),
        endpoint: s3.endpoint.as_ref().map(ToString::to_string),
        public_endpoint: s3.public_endpoint.as_ref().map(ToString::to_string),
        prefix: s3.prefix.clone(),
        credentials,
        redirect_duration: URL_DURATION,
        part_size: None,
        spool: base_dir.uploads(),
    }
}
