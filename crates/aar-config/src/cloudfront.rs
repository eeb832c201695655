use std::time::Duration;

use jiff::SignedDuration;
use serde::de::{Deserialize, Deserializer};
use url::Url;

use crate::Secret;
use crate::value::{FromText, Value, is_placeholder};

const DEFAULT_DURATION: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A distribution of Amazon CloudFront before the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudFront {
    /// Where it serves the bucket's keys: http or https, maybe with a path, without query.
    pub base_url: Url,
    /// The key that signs URLs, as PEM.
    pub private_key: Secret,
    /// CloudFront's identifier of the public key.
    pub keypair_id: String,
    /// How long a URL is valid at least: 1 s to 7 days.
    pub duration: Duration,
    /// What is signed of a URL's policy.
    pub hash_algorithm: HashAlgorithm,
}

/// A hash that CloudFront takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashAlgorithm {
    /// SHA-1, what CloudFront supposes.
    #[default]
    Sha1,
    /// SHA-256, which URLs have to name.
    Sha256,
}

#[derive(serde::Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "the keys `base-url`, `private-key` and `keypair-id`, indented"
)]
struct RawCloudFront {
    base_url: Value<BaseUrl>,
    private_key: Value<PrivateKey>,
    keypair_id: Value<KeypairId>,
    duration: Option<Value<Validity>>,
    hash_algorithm: Option<Value<HashAlgorithm>>,
}

impl<'de> Deserialize<'de> for CloudFront {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawCloudFront::deserialize(deserializer)?;
        Ok(Self {
            base_url: raw.base_url.0.0,
            private_key: raw.private_key.0.0,
            keypair_id: raw.keypair_id.0.0,
            duration: raw.duration.map_or(DEFAULT_DURATION, |duration| duration.0.0),
            hash_algorithm: raw.hash_algorithm.unwrap_or_default().0,
        })
    }
}

struct BaseUrl(Url);

impl FromText for BaseUrl {
    const EXPECTED: &'static str =
        "the distribution's address without user and query, such as `d111111abcdef8.cloudfront.net`";
    /// It might have a password.
    const SECRET: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        let url =
            if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("https://{text}")) };
        let url = url.ok()?;
        let bare = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            // Slashes too many would make a host of the path.
            && !text.starts_with('/');
        (bare && matches!(url.scheme(), "http" | "https")).then_some(Self(url))
    }
}

struct PrivateKey(Secret);

impl FromText for PrivateKey {
    const EXPECTED: &'static str =
        "a private key as PEM, which begins with `-----BEGIN` and stands, indented, below `private-key: |`";
    const SECRET: bool = true;

    fn placeholder(text: &str) -> Option<&str> {
        text.lines().map(str::trim).find(|line| is_placeholder(line))
    }

    fn from_text(text: &str) -> Option<Self> {
        // What kind of key it is, its user finds out.
        text.contains("-----BEGIN ").then(|| Self(text.to_owned().into()))
    }
}

struct KeypairId(String);

impl FromText for KeypairId {
    const EXPECTED: &'static str = "the public key's ID in CloudFront, such as `K2JCJMDEHXQW5F`";
    /// It might be the private key, in the wrong place.
    const SECRET: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        fits.then(|| Self(text.into()))
    }
}

struct Validity(Duration);

impl FromText for Validity {
    const EXPECTED: &'static str = "a duration from `1s` to `168h` (7 days), such as `90s`, `1m` or `1h30m`";

    fn from_text(text: &str) -> Option<Self> {
        let duration = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
        (SHORTEST..=LONGEST).contains(&duration).then_some(Self(duration))
    }
}

impl FromText for HashAlgorithm {
    const EXPECTED: &'static str = "one of SHA1, SHA256";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "SHA1" => Some(Self::Sha1),
            "SHA256" => Some(Self::Sha256),
            _ => None,
        }
    }
}
