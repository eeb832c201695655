//! A store that misbehaves: pushes succeed where trying again can help, and else fail and leave nothing.

use std::time::Duration;

use aar_model::Digest;
use aar_tests::s3::{Fault, When};

use crate::{Bucket, applications, curl, eventually, image, location, path, push};

/// One push for each way in which a request of its can go wrong.
fn pushes_succeed(faults: Vec<(&'static str, When, Fault)>) {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    let count = faults.len();
    for (number, (what, when, fault)) in faults.into_iter().enumerate() {
        let image = image(9 << 20);
        let app = format!("app-{number}");
        bucket.proxy.misbehave(when, fault.clone());
        let answer = daemon.push(&publisher, &path(&app), &image);
        assert_eq!(answer.status, 202, "{what}, {fault:?}: {answer:?}");
        let spoilt = bucket.proxy.requests().iter().any(|request| request.fault.as_ref() == Some(&fault));
        assert!(spoilt, "{what}, {fault:?} did not happen");
        bucket.proxy.behave();
        assert!(curl(&location(&daemon, &publisher, &app), &[]).body == image, "{what}, {fault:?}");
    }
    let shown = applications(&daemon, &publisher);
    assert_eq!(shown.as_array().unwrap().len(), count);
    // Each image, its two records, and nothing else, once what is cleaned up in the background is.
    assert!(daemon.stop().success());
    daemon.start();
    assert_eq!(applications(&daemon, &publisher), shown);
    eventually("nothing but images and records is stored", || bucket.objects().len() == 3 * count);
    bucket.assert_swept();
}

const OPERATIONS: [&str; 4] = ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject"];

#[test]
fn refusals_that_pass_are_outlasted() {
    let mut faults = Vec::new();
    for operation in OPERATIONS {
        faults.push((operation, When::operation(operation).times(2), Fault::slow_down()));
        faults.push((operation, When::operation(operation).times(2), Fault::internal_error()));
    }
    faults.push(("HeadObject", When::operation("HeadObject").times(1), Fault::slow_down()));
    pushes_succeed(faults);
}

#[test]
fn connections_that_break_are_outlasted() {
    let mut faults = Vec::new();
    for operation in OPERATIONS {
        for fault in [Fault::ResetBefore, Fault::ResetAfter, Fault::Truncate] {
            faults.push((operation, When::operation(operation).times(1), fault));
        }
    }
    pushes_succeed(faults);
}

#[test]
fn answers_that_make_no_sense_are_outlasted() {
    let mut faults = Vec::new();
    for operation in OPERATIONS {
        faults.push((operation, When::operation(operation).times(1), Fault::HeaderNotAscii));
    }
    for forward in [true, false] {
        let fault = Fault::ErrorBehind200 { forward };
        faults.push(("complete", When::operation("CompleteMultipartUpload").times(1), fault));
    }
    // Another tag of the whole says nothing about the bytes, each part of which was compared.
    faults.push(("complete", When::operation("CompleteMultipartUpload").times(1), Fault::WrongEtag));
    pushes_succeed(faults);
}

#[test]
fn stalls_are_outlasted() {
    let short = Duration::from_secs(2);
    pushes_succeed(vec![
        ("part", When::operation("UploadPart").times(1), Fault::Stall(short)),
        ("complete", When::operation("CompleteMultipartUpload").times(1), Fault::StallAnswer(short)),
        // Longer than anything is waited for.
        ("part", When::operation("UploadPart").times(1), Fault::Stall(Duration::from_secs(3600))),
    ]);
}

#[test]
fn pushes_that_cannot_be_stored_fail_and_leave_nothing() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    let kept = image(1000);
    push(&daemon, &publisher, "kept", &kept);
    let before = applications(&daemon, &publisher);
    let cases = [
        ("CreateMultipartUpload", "", Fault::slow_down()),
        ("UploadPart", "", Fault::internal_error()),
        ("UploadPart", "", Fault::ResetAfter),
        // The store does not take this tag for the part's when the upload is completed.
        ("UploadPart", "", Fault::WrongEtag),
        ("CompleteMultipartUpload", "", Fault::slow_down()),
        ("CompleteMultipartUpload", "", Fault::ErrorBehind200 { forward: false }),
        ("PutObject", "1.json", Fault::slow_down()),
        ("PutObject", "application.json", Fault::ResetBefore),
    ];
    // Each is tried again for a while: all at once.
    std::thread::scope(|scope| {
        for (number, (operation, record, fault)) in cases.into_iter().enumerate() {
            let (bucket, daemon, publisher) = (&bucket, &daemon, &publisher);
            scope.spawn(move || {
                let image = image(9 << 20);
                let app = format!("app-{number}");
                let key = if record.is_empty() {
                    Digest::of(&image).to_string()
                } else {
                    format!("{app}/{record}")
                };
                bucket.proxy.misbehave(When::operation(operation).key(&key), fault.clone());
                let answer = daemon.push(publisher, &path(&app), &image);
                assert_eq!(answer.status, 503, "{operation} {fault:?}: {answer:?}");
                assert_eq!(answer.header("retry-after"), Some("30"), "{operation} {fault:?}");
                let pulled = daemon.request(publisher, "GET", &path(&app), b"");
                assert_eq!(pulled.status, 404, "{operation} {fault:?}");
            });
        }
    });
    assert_eq!(applications(&daemon, &publisher), before);
    bucket.proxy.behave();

    assert!(daemon.stop().success());
    daemon.start();
    assert_eq!(applications(&daemon, &publisher), before);
    bucket.assert_swept();
    assert_eq!(daemon.admin("POST", "/1.0/maintenance/collect-garbage?grace=0", b"").status, 200);
    assert_eq!(bucket.objects().len(), 3, "{:?}", bucket.objects());
    assert_eq!(curl(&location(&daemon, &publisher, "kept"), &[]).body, kept);
}

#[test]
fn a_permission_that_is_missing_is_named_in_the_log() {
    let bucket = Bucket::juicefs();
    let daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    for (number, permission) in ["s3:PutObject", "s3:GetObject"].into_iter().enumerate() {
        bucket.proxy.deny(permission);
        let answer = daemon.push(&publisher, &path(&format!("app-{number}")), &image(1000));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")), "{answer:?}");
        assert!(answer.error().contains("may not use its storage"), "{answer:?}");
        let named = format!("{permission} on arn:aws:s3:::{}/*", bucket.server.bucket);
        assert!(daemon.log_text().contains(&named), "{}", daemon.log_text());
        bucket.proxy.behave();
    }
    assert_eq!(applications(&daemon, &publisher), serde_json::json!([]));
    push(&daemon, &publisher, "game", &image(1000));
}

#[test]
fn an_upload_that_may_not_be_aborted_is_swept_once_it_may() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    bucket.proxy.deny("s3:AbortMultipartUpload");
    let (image, other) = (image(9 << 20), Digest::of(b"another").to_string());
    let wrong = [("x-ams-fingerprint", &*other)];
    let answer = daemon.connect(Some(&publisher)).request("PUT", &path("game"), &wrong, &image);
    assert_eq!(answer.status, 400, "{answer:?}");
    daemon.wait_for_log("an upload is left behind until the next sweep");
    assert!(daemon.log_text().contains("s3:AbortMultipartUpload on arn:"), "{}", daemon.log_text());
    assert_eq!(bucket.uploads().len(), 1);

    bucket.proxy.behave();
    assert!(daemon.stop().success());
    daemon.start();
    bucket.assert_swept();
}

#[test]
fn pushes_that_end_early_or_are_killed_leave_nothing() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    let image = image(20 << 20);
    let head = format!(
        "PUT {} HTTP/1.1\r\nhost: x\r\nx-ams-fingerprint: {}\r\ncontent-length: {}\r\n\r\n",
        path("game"),
        Digest::of(&image),
        image.len()
    );
    let begin = |daemon: &aar_tests::Daemon| {
        let mut connection = daemon.connect(Some(&publisher));
        connection.send(head.as_bytes()).unwrap();
        connection.send(&image[..12 << 20]).unwrap();
        let part = || {
            bucket.proxy.requests().iter().any(|r| r.call.operation == "UploadPart" && r.status == Some(200))
        };
        eventually("a part is stored", part);
        connection
    };
    drop(begin(&daemon));
    eventually("the upload is aborted", || bucket.uploads().is_empty() && bucket.objects().is_empty());

    let open = begin(&daemon);
    eventually("the upload is under way", || !bucket.uploads().is_empty());
    daemon.kill();
    drop(open);
    daemon.start();
    bucket.assert_swept();
    assert_eq!(applications(&daemon, &publisher), serde_json::json!([]));
}
