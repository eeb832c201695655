use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

/// Which bucket, and how it is reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// The bucket's region, `eu-west-3` for instance. A store that knows no regions takes any name.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Where an S3-compatible store is reached: `http://` or `https://`, a host, and a path where it has one. None for AWS.
    pub endpoint: Option<String>,
    /// Where clients reach the same store, where that is elsewhere. URLs are signed for it.
    pub public_endpoint: Option<String>,
    /// What every key begins with; empty, or ends with `/`.
    pub prefix: String,
    /// As whom the registry asks.
    pub credentials: Credentials,
    /// How long a URL for a download is valid at least, unless the credentials that sign it expire before.
    pub redirect_duration: Duration,
    /// Bytes in a part of an upload, 8 MiB where none are given. Bigger images have bigger parts. AWS takes no fewer than
    /// 5 MiB.
    pub part_size: Option<u64>,
    /// A directory of this machine for what an upload that may come in several goes has beyond its last whole part. Made
    /// when it is needed.
    pub spool: PathBuf,
}

/// As whom the registry asks the store.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// An access key.
    Keys {
        /// Its identifier.
        access_key: String,
        /// Its secret.
        secret_access_key: SecretKey,
    },
    /// The role of the EC2 instance that the registry runs on.
    InstanceProfile {
        /// Where the metadata service is reached, where that is not `http://169.254.169.254`.
        metadata_endpoint: Option<String>,
    },
}

/// A key that must not be seen: `Debug` shows `<hidden>`, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Zeroizing<String>);

impl SecretKey {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretKey {
    fn from(key: String) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}
