//! Credentials of an instance profile.

use std::time::Duration;

use aar_model::Digest;
use aar_tests::s3::{Fault, InstanceCredentials, MetadataServer, Tokens, When};

use crate::{Bucket, image, location, path, push};

const ROLE: &str = "/latest/meta-data/iam/security-credentials/registry";

fn credentials(bucket: &Bucket, life: Duration) -> InstanceCredentials {
    // No server of the tests knows sessions: their tokens are empty.
    InstanceCredentials::new(&bucket.server.access_key, &bucket.server.secret_access_key, "", life)
}

/// How often the credentials were fetched.
fn fetched(metadata: &MetadataServer) -> usize {
    metadata.requests().iter().filter(|request| request.path == ROLE && request.status == 200).count()
}

/// Whether the store has the image. The URL is of no use here: servers that know no sessions do not take its empty token.
fn stored(bucket: &Bucket, image: &[u8]) -> bool {
    let hex = Digest::of(image).to_string();
    let key = format!("{}images/sha256/{}/{hex}", bucket.prefix, &hex[..2]);
    bucket.server.client().get(&key).is_some_and(|stored| stored == image)
}

fn lifetime(url: &str) -> u64 {
    url.split_once("X-Amz-Expires=").unwrap().1.split('&').next().unwrap().parse().unwrap()
}

#[test]
fn an_instance_profile_serves_instead_of_keys_and_no_url_outlives_it() {
    let bucket = Bucket::juicefs();
    for tokens in [Tokens::Required, Tokens::Unknown] {
        let metadata = MetadataServer::new(tokens);
        metadata.attach("registry", credentials(&bucket, Duration::from_secs(300)));
        let daemon = bucket.builder_without_keys(&metadata).start();
        let publisher = daemon.publisher("publisher");
        let image = image(9 << 20);
        let app = format!("app-{}", fastrand::u32(..));
        push(&daemon, &publisher, &app, &image);
        let url = location(&daemon, &publisher, &app);
        assert!(lifetime(&url) <= 300, "{url}");
        assert!(stored(&bucket, &image));
        assert_eq!(fetched(&metadata), 1);
        let session = metadata.requests().iter().filter(|request| request.path == ROLE).all(|r| r.has_token);
        assert_eq!(session, tokens == Tokens::Required);
    }
    assert!(bucket.proxy.requests().iter().all(|request| request.has_session_token));
}

#[test]
fn credentials_that_expire_during_a_push_are_renewed() {
    let bucket = Bucket::juicefs();
    let metadata = MetadataServer::new(Tokens::Required);
    metadata.attach("registry", credentials(&bucket, Duration::from_secs(6)));
    let daemon = bucket.builder_without_keys(&metadata).start();
    let publisher = daemon.publisher("publisher");
    let image = image(40 << 20);
    let mut connection = daemon.connect(Some(&publisher));
    let head = format!(
        "PUT {} HTTP/1.1\r\nhost: x\r\nx-ams-fingerprint: {}\r\ncontent-length: {}\r\n\r\n",
        path("game"),
        Digest::of(&image),
        image.len()
    );
    connection.send(head.as_bytes()).unwrap();
    for piece in image.chunks(4 << 20) {
        connection.send(piece).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        metadata.attach("registry", credentials(&bucket, Duration::from_secs(6)));
    }
    assert_eq!(connection.response(false).unwrap().status, 202);
    // The push took longer than one set of credentials lives.
    assert!(fetched(&metadata) >= 3, "{}", fetched(&metadata));
    assert!(stored(&bucket, &image));
}

#[test]
fn credentials_that_the_store_calls_expired_are_fetched_anew() {
    let bucket = Bucket::juicefs();
    let metadata = MetadataServer::new(Tokens::Required);
    metadata.attach("registry", credentials(&bucket, Duration::from_secs(6 * 3600)));
    let daemon = bucket.builder_without_keys(&metadata).start();
    let publisher = daemon.publisher("publisher");
    bucket.proxy.misbehave(When::operation("UploadPart").skip(1).times(1), Fault::expired_token());
    push(&daemon, &publisher, "game", &image(20 << 20));
    assert_eq!(fetched(&metadata), 2);
}

#[test]
fn without_an_instance_profile_the_registry_starts_degraded_and_says_what_to_do() {
    let bucket = Bucket::juicefs();
    let metadata = MetadataServer::new(Tokens::Required);
    let daemon = bucket.builder_without_keys(&metadata).start();
    assert_eq!(crate::status(&daemon), "degraded");
    assert!(daemon.log_text().contains("attach an instance profile"), "{}", daemon.log_text());
    metadata.attach("registry", credentials(&bucket, Duration::from_secs(3600)));
    crate::eventually("the registry recovers", || crate::status(&daemon) == "ready");
}
