//! A store that is reached over HTTPS, by the registry and by its clients.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use aar_tests::Daemon;
use aar_tests::s3::{S3Server, TlsFront};

#[test]
fn a_store_behind_a_certificate_of_a_known_authority_is_used_and_no_other() {
    let server = S3Server::shared_juicefs();
    let front = TlsFront::before(&server.endpoint);
    let authority = front.authority();
    let storage = server.configuration(&front.endpoint(), "tls/");
    let daemon = Daemon::builder()
        .configuration(&storage)
        .environment("SSL_CERT_FILE", authority.to_str().unwrap())
        .start();
    let publisher = daemon.publisher("publisher");
    let image = vec![7; 9 << 20];
    assert_eq!(daemon.push(&publisher, "/1.0/applications/demo/1?architecture=x86_64", &image).status, 202);

    let target = daemon.scratch().join("pulled");
    let pull = |authority: Option<&str>| {
        let mut command = daemon.aar_at(daemon.address(), &publisher);
        command.args(["pull", "demo", "1", "--output"]).arg(&target);
        command.envs(authority.map(|file| ("SSL_CERT_FILE", file)));
        command.output().unwrap()
    };
    let pulled = pull(Some(authority.to_str().unwrap()));
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    assert!(fs::read(&target).unwrap() == image);
    fs::remove_file(&target).unwrap();

    let refused = pull(None);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(6), "{text}");
    assert!(text.contains("cannot reach the store of the images at localhost:"), "{text}");
    assert!(text.contains("certificate verify failed"), "{text}");
    assert!(!text.contains("Signature"), "{text}");
    assert!(!target.exists());
}

#[test]
fn a_registry_does_not_talk_to_a_store_that_nobody_vouches_for() {
    let server = S3Server::shared_juicefs();
    let front = TlsFront::before(&server.endpoint);
    let daemon = Daemon::builder().configuration(&server.configuration(&front.endpoint(), "tls-no/")).start();
    assert_eq!(daemon.admin("GET", "/1.0/status", b"").metadata(), "degraded");
    let refused =
        daemon.push(&daemon.publisher("publisher"), "/1.0/applications/demo/1?architecture=x86_64", b"image");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    assert!(daemon.log_text().contains("certificate verify failed"), "{}", daemon.log_text());
    assert_eq!(server.client().list("tls-no/"), Vec::<String>::new());
}
