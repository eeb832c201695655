use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use aar_store::{Error, Result};
use rusoto_core::Region;
use rusoto_s3::S3Client;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::clock::Clock;
use crate::credentials::Provider;
use crate::dispatch::Dispatcher;
use crate::downloads::Signer;
use crate::error::Place;
use crate::multipart::Live;
use crate::options::Options;
use crate::parts::Pool;
use crate::sending::IN_FLIGHT;

/// Images and records in a bucket, and URLs of its images. A clone shares them.
#[derive(Clone)]
pub struct S3Store(Arc<Inner>);

struct Inner {
    client: Client,
    clock: Clock,
    prefix: String,
    part_size: u64,
    spool: PathBuf,
    signer: Signer,
    live: Arc<Live>,
    pool: Mutex<Weak<Pool>>,
    in_flight: Arc<Semaphore>,
}

/// Opens a bucket as a store. Nothing is asked of it yet: it need not be in reach.
///
/// # Errors
/// The options make no sense.
pub fn open(options: Options) -> Result<S3Store> {
    let Options { region, bucket, endpoint, public_endpoint, prefix, credentials, .. } = options;
    let [endpoint, public_endpoint] =
        [endpoint, public_endpoint].map(|given| given.as_deref().map(address).transpose());
    let (endpoint, public_endpoint) = (endpoint?, public_endpoint?);
    let provider = Arc::new(Provider::new(credentials));
    let clock = Clock::default();
    let custom = |endpoint| Region::Custom { name: region.clone(), endpoint };
    let s3 = S3Client::new_with(
        Dispatcher::new(clock.clone()),
        provider.clone(),
        custom(endpoint.clone().unwrap_or_else(|| format!("https://{}", aws_host(&region)))),
    );
    let signer = Signer::new(
        provider.clone(),
        custom,
        &region,
        &bucket,
        public_endpoint.or(endpoint),
        options.redirect_duration,
    );
    Ok(S3Store(Arc::new(Inner {
        client: Client::new(s3, provider, Place { region: region.clone(), bucket }),
        clock,
        prefix,
        part_size: options.part_size.unwrap_or(crate::parts::PART),
        spool: options.spool,
        signer,
        live: Arc::default(),
        pool: Mutex::default(),
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
    })))
}

/// An endpoint without the slash at its end, to which the bucket's name is put.
fn address(endpoint: &str) -> Result<String> {
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['?', '#', '@']) => {
            Ok(endpoint.trim_end_matches('/').into())
        }
        _ => Err(Error::Io {
            action: format!("use `{endpoint}` as endpoint"),
            source: "it begins with http:// or https://, and has a host".into(),
        }),
    }
}

pub(crate) fn aws_host(region: &str) -> String {
    let top = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("s3.{region}.amazonaws.com{top}")
}

impl S3Store {
    /// How many seconds this machine's clock was ahead of the store's at the latest answer; none where none told.
    pub fn seconds_ahead(&self) -> Option<i64> {
        self.0.clock.seconds_ahead()
    }

    /// The object's key for one of the registry's.
    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.0.prefix)
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn part_size(&self) -> u64 {
        self.0.part_size
    }

    pub(crate) fn spool(&self) -> &Path {
        &self.0.spool
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.0.signer
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.0.live
    }

    pub(crate) fn in_flight(&self) -> &Arc<Semaphore> {
        &self.0.in_flight
    }

    /// The buffers of uploads, for as long as there is one.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        let mut pool: MutexGuard<'_, Weak<Pool>> = self.0.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.upgrade().unwrap_or_else(|| {
            let fresh = Arc::default();
            *pool = Arc::downgrade(&fresh);
            fresh
        })
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store")
            .field("place", self.0.client.place())
            .field("prefix", &self.0.prefix)
            .finish_non_exhaustive()
    }
}
