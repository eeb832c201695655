//! A store that is out of reach: what the index knows is served, and nothing has to be done when the store is back.

use std::time::{Duration, Instant};

use aar_tests::Daemon;
use aar_tests::s3::{Fault, When};

use crate::{Bucket, applications, curl, eventually, image, location, path, push, status};

fn assert_refused(daemon: &Daemon, publisher: &aar_tests::Person, app: &str) {
    let answer = daemon.push(publisher, &path(app), &image(1000));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(answer.error().contains("out of reach"), "{answer:?}");
}

#[test]
fn a_registry_that_starts_without_its_store_serves_its_index_and_recovers_by_itself() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    let first = image(1000);
    push(&daemon, &publisher, "game", &first);
    let before = applications(&daemon, &publisher);
    assert_eq!(status(&daemon), "ready");
    assert!(daemon.stop().success());

    bucket.proxy.cut();
    let begun = Instant::now();
    daemon.start();
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?} to start", begun.elapsed());
    assert_eq!(status(&daemon), "degraded");
    let metrics = daemon.admin("GET", "/1.0/metrics", b"").body;
    assert!(String::from_utf8(metrics).unwrap().contains("\naar_degraded 1\n"));
    assert_eq!(applications(&daemon, &publisher), before);
    let url = location(&daemon, &publisher, "game");
    assert_refused(&daemon, &publisher, "next");
    let delete = daemon.request(&publisher, "DELETE", "/1.0/applications/game", b"");
    assert_eq!((delete.status, delete.header("retry-after")), (503, Some("30")), "{delete:?}");

    bucket.proxy.mend();
    eventually("the registry recovers", || status(&daemon) == "ready");
    assert_eq!(curl(&url, &[]).body, first);
    assert_eq!(applications(&daemon, &publisher), before);
    push(&daemon, &publisher, "next", &image(1000));
}

#[test]
fn a_registry_starts_although_its_store_takes_connections_and_says_nothing() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    push(&daemon, &publisher, "game", &image(1000));
    let before = applications(&daemon, &publisher);
    assert!(daemon.stop().success());

    bucket.proxy.misbehave(When::always(), Fault::Stall(Duration::from_secs(3600)));
    let begun = Instant::now();
    daemon.start();
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?} to start", begun.elapsed());
    assert_eq!(status(&daemon), "degraded");
    assert_eq!(applications(&daemon, &publisher), before);
    bucket.proxy.behave();
    bucket.proxy.cut();
    bucket.proxy.mend();
    eventually("the registry recovers", || status(&daemon) == "ready");
}

#[test]
fn a_store_that_goes_away_and_comes_back_is_used_again() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    push(&daemon, &publisher, "game", &image(1000));
    let before = applications(&daemon, &publisher);

    bucket.proxy.cut();
    assert_refused(&daemon, &publisher, "next");
    assert_eq!(applications(&daemon, &publisher), before);
    location(&daemon, &publisher, "game");
    bucket.proxy.mend();
    push(&daemon, &publisher, "next", &image(1000));
    assert!(daemon.stop().success());
    daemon.start();
    bucket.assert_swept();
}

#[test]
fn a_registry_whose_policy_lacks_a_permission_starts_degraded_and_says_which() {
    let bucket = Bucket::juicefs();
    for permission in ["s3:ListBucket", "s3:ListBucketMultipartUploads"] {
        bucket.proxy.deny(permission);
        let daemon = bucket.daemon();
        assert_eq!(status(&daemon), "degraded");
        let resource = format!("{permission} on arn:aws:s3:::{}", bucket.server.bucket);
        let log = daemon.log_text();
        assert!(log.contains(&resource), "{log}");
        bucket.proxy.behave();
        eventually("the registry recovers", || status(&daemon) == "ready");
    }
}
