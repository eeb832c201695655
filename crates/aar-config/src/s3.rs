use std::net::Ipv4Addr;

use serde::de::{Deserialize, Deserializer};
use url::Url;

use crate::value::{FromText, Value, error_at};
use crate::{CloudFront, Secret};

/// The longest prefix, in bytes. A key of S3 has up to 1024 bytes, those of the registry less than 200 behind it.
const MAX_PREFIX: usize = 512;

/// A bucket of Amazon S3, or of a server that speaks its protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// The region, such as `eu-west-3`. Of AWS's form unless there is an endpoint.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
    /// How requests are signed; where they are absent, with those of the machine's instance profile.
    pub credentials: Option<Credentials>,
    /// The server, http or https, without path; where it is absent, AWS's of the region.
    pub endpoint: Option<Url>,
    /// Where clients reach the server, likewise; where it is absent, where the registry does.
    pub public_endpoint: Option<Url>,
    /// What all keys begin with: nothing, or a path that ends in `/` and does not begin with one.
    pub prefix: String,
    /// Whether clients are sent to the bucket, or to CloudFront, for images.
    pub redirect: bool,
    /// The distribution that images are downloaded from; absent where it is the bucket itself. Only with `redirect`.
    pub cloudfront: Option<CloudFront>,
}

/// An access key of AWS, or of another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its name, which servers log.
    pub access_key: Secret,
    /// What signs.
    pub secret_access_key: Secret,
}

#[derive(serde::Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "the keys `region`, `bucket` and so on, indented"
)]
struct RawS3 {
    region: Value<Region>,
    bucket: Value<Bucket>,
    access_key: Option<Value<AccessKey>>,
    secret_access_key: Option<Value<AccessKey>>,
    endpoint: Option<Value<Endpoint>>,
    public_endpoint: Option<Value<Endpoint>>,
    prefix: Option<Value<Prefix>>,
    redirect: Option<Value<bool>>,
    cloudfront: Option<CloudFront>,
}

impl<'de> Deserialize<'de> for S3 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawS3::deserialize(deserializer)?;
        let other =
            |key| format!("the key `{key}` is missing: give both, or neither to use the instance profile");
        let credentials = match (raw.access_key, raw.secret_access_key) {
            (Some(access_key), Some(secret)) => {
                Some(Credentials { access_key: access_key.0.0, secret_access_key: secret.0.0 })
            }
            (None, None) => None,
            (Some(_), None) => return Err(error_at("access-key", other("secret-access-key"))),
            (None, Some(_)) => return Err(error_at("secret-access-key", other("access-key"))),
        };
        let region = raw.region.0.0;
        // Other servers have regions of any name.
        if raw.endpoint.is_none() && !is_region_of_aws(&region) {
            return Err(error_at(
                "region",
                format_args!(
                    "expected a region of AWS, such as `eu-west-3`, or an `endpoint`, found `{region}`"
                ),
            ));
        }
        let redirect = raw.redirect.is_none_or(|redirect| redirect.0);
        if raw.cloudfront.is_some() && !redirect {
            return Err(error_at(
                "redirect",
                "clients reach CloudFront only by a redirect: remove `redirect: false`, or `cloudfront`",
            ));
        }
        Ok(Self {
            region,
            bucket: raw.bucket.0.0,
            credentials,
            endpoint: raw.endpoint.map(|endpoint| endpoint.0.0),
            public_endpoint: raw.public_endpoint.map(|endpoint| endpoint.0.0),
            prefix: raw.prefix.map(|prefix| prefix.0.0).unwrap_or_default(),
            redirect,
            cloudfront: raw.cloudfront,
        })
    }
}

struct Region(String);

impl FromText for Region {
    const EXPECTED: &'static str = "the name of a region, such as `eu-west-3`";

    fn from_text(text: &str) -> Option<Self> {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        ((1..=63).contains(&text.len()) && text.bytes().all(is_name)).then(|| Self(text.into()))
    }
}

/// Whether a region is named as AWS names its own: `eu-west-3`, `us-gov-east-1`.
fn is_region_of_aws(region: &str) -> bool {
    let mut parts: Vec<_> = region.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
        && (2..=4).contains(&parts.len())
        && parts.iter().all(|part| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_lowercase()))
}

struct Bucket(String);

impl FromText for Bucket {
    const EXPECTED: &'static str = "the name of a bucket: 3 to 63 lower-case letters, digits, `-` and `.`, with a letter or \
                                    digit at both ends, without `..`, and no IP address";

    /// The rules are those of "General purpose bucket naming rules" in AWS's user guide.
    fn from_text(text: &str) -> Option<Self> {
        let is_end = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let fits = (3..=63).contains(&bytes.len())
            && bytes.iter().all(|b| is_end(b) || matches!(b, b'-' | b'.'))
            && bytes.first().is_some_and(is_end)
            && bytes.last().is_some_and(is_end)
            && !text.contains("..");
        (fits && text.parse::<Ipv4Addr>().is_err()).then(|| Self(text.into()))
    }
}

struct AccessKey(Secret);

impl FromText for AccessKey {
    const EXPECTED: &'static str = "a key without spaces and line breaks";
    const SECRET: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned().into()))
    }
}

struct Endpoint(Url);

impl FromText for Endpoint {
    const EXPECTED: &'static str =
        "an address without path, user and query, such as `https://s3.example:9000`";
    /// It might have a password.
    const SECRET: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        (bare && matches!(url.scheme(), "http" | "https")).then_some(Self(url))
    }
}

struct Prefix(String);

impl FromText for Prefix {
    const EXPECTED: &'static str =
        "a path of up to 512 bytes such as `registry/`, without `/` at its beginning, `//`, `.` and `..`";

    fn from_text(text: &str) -> Option<Self> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        (path.len() < MAX_PREFIX && path.split('/').all(is_part)).then(|| Self(format!("{path}/")))
    }
}
