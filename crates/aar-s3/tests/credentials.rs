//! As whom the registry asks, told from its requests; the metadata service behaves as EC2's.
#![allow(clippy::unwrap_used, reason = "tests")]

mod stand_in;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use aar_model::Digest;
use aar_s3::{Credentials, Options};
use aar_store::{Download, Downloads, Error, RecordKey, Records};
use bytes::Bytes;
use futures_util::future::join_all;
use jiff::Timestamp;
use stand_in::{Reply, Request, StandIn, error, keys, reply, store};

/// A metadata service whose credentials are numbered and live so many seconds.
struct Metadata {
    life: AtomicI64,
    issued: AtomicUsize,
    /// It knows no tokens.
    old: bool,
    down: AtomicBool,
}

impl Metadata {
    fn new(life: i64, old: bool) -> Arc<Self> {
        Arc::new(Self { life: life.into(), issued: 0.into(), old, down: false.into() })
    }

    async fn start(self: &Arc<Self>) -> StandIn {
        let this = self.clone();
        StandIn::start(move |_, request| this.answer(request)).await
    }

    fn answer(&self, request: &Request) -> Reply {
        if self.down.load(Ordering::Relaxed) {
            return reply(503, "", "");
        }
        if request.method == "PUT" {
            let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds");
            assert!(request.target == "/latest/api/token" && ttl.is_some());
            return if self.old { reply(405, "", "") } else { reply(200, "", "TOKEN") };
        }
        if !self.old && request.header("x-aws-ec2-metadata-token") != Some("TOKEN") {
            return reply(401, "", "");
        }
        match request.target.strip_prefix("/latest/meta-data/iam/security-credentials/") {
            Some("") => reply(200, "", "registry\n"),
            Some("registry") => {
                let number = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
                let life = self.life.load(Ordering::Relaxed);
                let expiry = Timestamp::from_second(Timestamp::now().as_second() + life).unwrap();
                let document = format!(
                    r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIA{number}",
                        "SecretAccessKey": "S3CRET", "Token": "SESSION{number}", "Expiration": "{expiry}"}}"#
                );
                reply(200, "", document)
            }
            _ => reply(404, "", ""),
        }
    }
}

fn profile(metadata: &StandIn) -> Credentials {
    Credentials::InstanceProfile { metadata_endpoint: Some(metadata.url.clone()) }
}

async fn bucket() -> StandIn {
    StandIn::start(|_, _| reply(200, "ETag: \"t\"\r\n", "")).await
}

async fn ask(store: &impl Records) -> aar_store::Result<()> {
    store.put(&RecordKey::application("a".parse().unwrap()), Bytes::new()).await.map(drop)
}

/// Access key and session token of each request.
fn used(bucket: &StandIn) -> Vec<(String, String)> {
    let identity = |request: &Request| {
        let (_, rest) = request.header("authorization").unwrap().split_once("Credential=").unwrap();
        let token = request.header("x-amz-security-token").unwrap_or_default();
        (rest.split('/').next().unwrap().to_owned(), token.to_owned())
    };
    bucket.asked().iter().map(identity).collect()
}

fn pair(number: usize) -> (String, String) {
    (format!("ASIA{number}"), format!("SESSION{number}"))
}

#[tokio::test]
async fn credentials_of_the_instance_are_fetched_once_with_a_token() {
    let metadata = Metadata::new(6 * 3600, false);
    let (service, bucket) = (metadata.start().await, bucket().await);
    let store = store(&bucket.url, profile(&service));

    for asked in join_all((0..50).map(|_| ask(&store))).await {
        asked.unwrap();
    }

    assert_eq!(used(&bucket), vec![pair(1); 50]);
    assert_eq!(service.asked().len(), 3);
}

#[tokio::test]
async fn a_service_that_knows_no_tokens_is_asked_without() {
    let metadata = Metadata::new(6 * 3600, true);
    let (service, bucket) = (metadata.start().await, bucket().await);
    ask(&store(&bucket.url, profile(&service))).await.unwrap();
    assert_eq!(used(&bucket), [pair(1)]);
}

#[tokio::test]
async fn credentials_are_renewed_before_they_expire() {
    let metadata = Metadata::new(6, false);
    let (service, bucket) = (metadata.start().await, bucket().await);
    let store = store(&bucket.url, profile(&service));
    for _ in 0..2 {
        ask(&store).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3200)).await;
    }
    ask(&store).await.unwrap();
    assert_eq!(used(&bucket), [pair(1), pair(2), pair(3)]);
}

#[tokio::test]
async fn credentials_that_cannot_be_renewed_are_used_as_long_as_they_are_valid() {
    let metadata = Metadata::new(8, false);
    let (service, bucket) = (metadata.start().await, bucket().await);
    let store = store(&bucket.url, profile(&service));
    ask(&store).await.unwrap();
    metadata.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(4500)).await;
    ask(&store).await.unwrap();
    assert_eq!(used(&bucket), [pair(1), pair(1)]);
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let expired = ask(&store).await.unwrap_err();
    assert!(matches!(expired, Error::OutOfReach(_)), "{expired:?}");
    assert_eq!(used(&bucket).len(), 2);
}

#[tokio::test]
async fn credentials_that_the_store_calls_expired_are_renewed_and_the_request_sent_again() {
    let metadata = Metadata::new(6 * 3600, false);
    let service = metadata.start().await;
    let bucket = StandIn::start(|_, request| {
        if request.header("x-amz-security-token") == Some("SESSION1") {
            error(400, "ExpiredToken")
        } else {
            reply(200, "ETag: \"t\"\r\n", "")
        }
    })
    .await;
    ask(&store(&bucket.url, profile(&service))).await.unwrap();
    assert_eq!(used(&bucket), [pair(1), pair(2)]);
}

#[tokio::test]
async fn where_there_is_no_profile_or_no_service_it_is_told_what_to_do() {
    let bucket = bucket().await;
    let without = StandIn::start(|_, request| match request.method.as_str() {
        "PUT" => reply(200, "", "TOKEN"),
        _ => reply(404, "", ""),
    })
    .await;
    let silent = StandIn::start(|_, _| Reply::new()).await;
    for (service, expected) in
        [(&without, "has no instance profile"), (&silent, "metadata service at http://")]
    {
        let error = ask(&store(&bucket.url, profile(service))).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, Error::OutOfReach(_)));
        assert!(cause.contains(expected) && cause.contains("attach an instance profile"), "{cause}");
        assert!(cause.contains("access-key and secret-access-key"), "{cause}");
    }
    assert!(bucket.asked().is_empty());
}

#[tokio::test]
async fn a_signed_url_never_outlives_the_credentials_that_signed_it() {
    let metadata = Metadata::new(300, false);
    let service = metadata.start().await;
    let store = store("http://127.0.0.1:9", profile(&service));
    let expires: u64 = parameter(&url(&store).await, "X-Amz-Expires").parse().unwrap();
    assert!((295..=300).contains(&expires), "{expires}");
    assert_eq!(parameter(&url(&store).await, "X-Amz-Security-Token"), "SESSION1");
}

#[tokio::test]
async fn a_signed_url_is_made_without_a_request_and_serves_all_who_ask_within_a_step() {
    let store = store("http://127.0.0.1:9", keys());
    let url = url(&store).await;
    assert_eq!(self::url(&store).await, url);
    let image = Digest::of(b"x");
    let path = format!("http://127.0.0.1:9/aar0/p/{}?", aar_store::image_key(&image));
    assert!(url.starts_with(&path), "{url}");
    assert_eq!(parameter(&url, "X-Amz-Expires"), "1125");
    assert_eq!(parameter(&url, "X-Amz-SignedHeaders"), "host");
    assert_eq!(parameter(&url, "response-content-type"), "application%2Fx-tar");
    assert_eq!(parameter(&url, "response-content-disposition"), "attachment%3B%20filename%3D%22a%20b.tar%22");
    assert!(parameter(&url, "X-Amz-Credential").starts_with("AKID%2F"));
    assert!(!url.contains("SECRET"));
    let other = Download { image: &image, media_type: "application/x-tar", file_name: "c.tar" };
    assert!(store.url(&other).await.unwrap().reveal().contains("c.tar"));
}

#[tokio::test]
async fn urls_are_for_where_clients_reach_the_store() {
    let options = |bucket: &str, endpoint: Option<&str>, public_endpoint: Option<&str>| Options {
        region: "eu-west-3".into(),
        bucket: bucket.into(),
        endpoint: endpoint.map(Into::into),
        public_endpoint: public_endpoint.map(Into::into),
        prefix: String::new(),
        credentials: keys(),
        redirect_duration: Duration::from_secs(60),
        part_size: None,
        spool: "/nowhere".into(),
    };
    for (options, expected) in [
        (options("aar0", None, None), "https://aar0.s3.eu-west-3.amazonaws.com/images/"),
        (options("a.b", None, None), "https://s3.eu-west-3.amazonaws.com/a.b/images/"),
        (options("aar0", Some("http://in:1/"), None), "http://in:1/aar0/images/"),
        (options("aar0", Some("http://in:1"), Some("https://out/s3/")), "https://out/s3/aar0/images/"),
    ] {
        let url = url(&aar_s3::open(options).unwrap()).await;
        assert!(url.starts_with(expected), "{url}");
    }
    for endpoint in ["in:1", "ftp://in", "https://", "https://in?x", "https://user@in"] {
        assert!(aar_s3::open(options("aar0", Some(endpoint), None)).is_err(), "{endpoint}");
    }
}

#[tokio::test]
async fn secrets_do_not_show() {
    let store = store("http://127.0.0.1:9", keys());
    assert!(!format!("{store:?} {:?}", keys()).contains("SECRET"));
}

async fn url(store: &impl Downloads) -> String {
    let image = Digest::of(b"x");
    let download = Download { image: &image, media_type: "application/x-tar", file_name: "a b.tar" };
    store.url(&download).await.unwrap().reveal().to_owned()
}

fn parameter<'a>(url: &'a str, name: &str) -> &'a str {
    let (_, query) = url.split_once('?').unwrap();
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap()
}
