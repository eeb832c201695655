//! Pushes that come in several goes, to a bucket.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aar_model::Digest;
use aar_tests::s3::{Fault, When};
use aar_tests::{Cut, Daemon, Person, Relay, Response, TusClient};
use openssl::base64::encode_block;
use serde_json::Value;

use crate::{Bucket, curl, eventually, image, location};

const MIB: usize = 1 << 20;
/// Bytes in a part.
const PART: usize = 8 * MIB;

fn ask(
    daemon: &Daemon,
    person: &Person,
    method: &str,
    path: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut headers = vec![("tus-resumable", "1.0.0")];
    headers.extend(more);
    daemon.connect(Some(person)).request(method, path, &headers, body)
}

/// Begins an upload and answers its path.
fn create(daemon: &Daemon, person: &Person, app: &str, image: &[u8]) -> String {
    let answer = announce(daemon, person, app, Digest::of(image), image.len() as u64);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

fn announce(daemon: &Daemon, person: &Person, app: &str, image: Digest, size: u64) -> Response {
    let (fingerprint, length) = (image.to_string(), size.to_string());
    let pairs = [("name", app), ("version", "1"), ("architecture", "x86_64"), ("fingerprint", &fingerprint)];
    let metadata = pairs.map(|(key, value)| format!("{key} {}", encode_block(value.as_bytes()))).join(",");
    let headers = [("upload-length", length.as_str()), ("upload-metadata", &metadata)];
    ask(daemon, person, "POST", "/1.0/uploads", &headers, b"")
}

fn patch(daemon: &Daemon, person: &Person, path: &str, offset: usize, body: &[u8]) -> Response {
    let offset = offset.to_string();
    let headers = [("content-type", "application/offset+octet-stream"), ("upload-offset", offset.as_str())];
    ask(daemon, person, "PATCH", path, &headers, body)
}

fn offset(daemon: &Daemon, person: &Person, path: &str) -> usize {
    let answer = ask(daemon, person, "HEAD", path, &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("upload-offset").unwrap().parse().unwrap()
}

/// Bytes that the machine keeps of uploads.
fn spooled(daemon: &Daemon) -> u64 {
    let files = fs::read_dir(daemon.base().join("uploads")).into_iter().flatten();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn what_is_acknowledged_outlives_kill_9_and_the_loss_of_the_machine_costs_less_than_a_part() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let person = daemon.publisher("publisher");
    let image = image(30 * MIB + 7);
    let path = create(&daemon, &person, "game", &image);
    let mut sent = 0;
    for length in [1, 300_001, 17 * MIB, 0, 2 * MIB] {
        let answer = patch(&daemon, &person, &path, sent, &image[sent..sent + length]);
        assert_eq!(answer.status, 204, "{answer:?}");
        sent += length;
        assert_eq!(spooled(&daemon), (sent % PART) as u64);
        daemon.kill();
        daemon.start();
        assert_eq!(offset(&daemon, &person, &path), sent);
    }
    assert_eq!(bucket.uploads().len(), 1);

    daemon.kill();
    fs::remove_dir_all(daemon.base().join("uploads")).unwrap();
    daemon.start();
    let sent = offset(&daemon, &person, &path);
    assert_eq!(sent, 2 * PART);
    assert_eq!(patch(&daemon, &person, &path, sent, &image[sent..]).status, 204);

    assert!(curl(&location(&daemon, &person, "game"), &[]).body == image);
    assert_eq!(offset(&daemon, &person, &path), image.len());
    assert_eq!((bucket.uploads(), spooled(&daemon)), (vec![], 0));
    assert!(daemon.stop().success());
    daemon.start();
    assert_eq!(offset(&daemon, &person, &path), image.len());
    // The image, its two records, and for a day the note that it was finished.
    assert_eq!(bucket.objects().len(), 4, "{:?}", bucket.objects());
}

#[test]
fn an_upload_that_is_ended_or_left_for_a_day_leaves_nothing_in_the_bucket() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let person = daemon.publisher("publisher");
    let image = image(10 * MIB);
    let [ended, left] = ["ended", "left"].map(|app| {
        let path = create(&daemon, &person, app, &image);
        assert_eq!(patch(&daemon, &person, &path, 0, &image[..9 * MIB]).status, 204);
        path
    });
    assert_eq!(bucket.uploads().len(), 2);
    assert_eq!(ask(&daemon, &person, "DELETE", &ended, &[], b"").status, 204);
    assert_eq!((bucket.uploads().len(), spooled(&daemon)), (1, MIB as u64));

    daemon.kill();
    let id = left.rsplit('/').next().unwrap();
    let key = format!("{}uploads/resumable/{id}.json", bucket.prefix);
    let client = bucket.server.client();
    let mut note: Value = serde_json::from_slice(&client.get(&key).unwrap()).unwrap();
    note["touched_at"] = (note["touched_at"].as_i64().unwrap() - 24 * 3600).into();
    client.put(&key, note.to_string().as_bytes());
    fs::remove_dir_all(daemon.base().join("uploads")).unwrap();
    daemon.start();
    daemon.wait_for_log("removed uploads that have expired");

    assert_eq!(ask(&daemon, &person, "HEAD", &left, &[], b"").status, 404);
    eventually("nothing is left", || bucket.uploads().is_empty() && bucket.objects().is_empty());
}

#[test]
fn an_upload_that_no_object_can_hold_is_413() {
    let bucket = Bucket::juicefs();
    let daemon = bucket.daemon();
    let person = daemon.publisher("publisher");
    let answer = announce(&daemon, &person, "game", Digest::of(b"x"), i64::MAX as u64);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.error().contains("5 TiB"), "{answer:?}");
    assert!(bucket.uploads().is_empty() && bucket.objects().is_empty());
}

#[test]
fn a_store_that_fails_interrupts_an_upload_which_goes_on_once_it_works() {
    let bucket = Bucket::juicefs();
    let daemon = bucket.daemon();
    let person = daemon.publisher("publisher");
    let image = image(20 * MIB);
    let path = create(&daemon, &person, "game", &image);
    assert_eq!(patch(&daemon, &person, &path, 0, &image[..9 * MIB]).status, 204);
    for operation in ["UploadPart", "CompleteMultipartUpload"] {
        bucket.proxy.misbehave(When::operation(operation), Fault::internal_error());
        let sent = if operation == "UploadPart" { 9 * MIB } else { 18 * MIB };
        let answer = patch(&daemon, &person, &path, sent, &image[sent..]);
        assert_eq!(answer.status, 503, "{operation}: {answer:?}");
        bucket.proxy.behave();
        if operation == "UploadPart" {
            assert_eq!(offset(&daemon, &person, &path), sent);
            assert_eq!(patch(&daemon, &person, &path, sent, &image[sent..18 * MIB]).status, 204);
        }
    }
    // All of it had come: whoever asks gets it finished.
    assert_eq!(offset(&daemon, &person, &path), image.len());
    assert!(curl(&location(&daemon, &person, "game"), &[]).body == image);
    assert!(bucket.uploads().is_empty());
}

#[test]
fn an_upload_whose_parts_the_bucket_has_removed_is_begun_anew() {
    let bucket = Bucket::juicefs();
    let daemon = bucket.daemon();
    let person = daemon.publisher("publisher");
    let image = image(40 * MIB);
    let rest = &image[17 * MIB..];
    // That they are gone is told while more comes, or once no more comes.
    for (app, more) in [("early", rest), ("late", &rest[..8 * MIB])] {
        let path = create(&daemon, &person, app, &image);
        assert_eq!(patch(&daemon, &person, &path, 0, &image[..17 * MIB]).status, 204);
        let client = bucket.server.client();
        let uploads = client.uploads().into_iter().filter(|upload| upload.key.starts_with(&bucket.prefix));
        uploads.for_each(|upload| client.abort_upload(&upload));

        let answer = patch(&daemon, &person, &path, 17 * MIB, more);
        assert_eq!(answer.status, 404, "{app}: {answer:?}");
        assert_eq!(ask(&daemon, &person, "HEAD", &path, &[], b"").status, 404);
        assert!(bucket.objects().is_empty(), "{:?}", bucket.objects());
        assert_eq!(spooled(&daemon), 0);
    }
    for app in ["early", "late"] {
        let path = create(&daemon, &person, app, &image);
        assert_eq!(patch(&daemon, &person, &path, 0, &image).status, 204);
        assert!(curl(&location(&daemon, &person, app), &[]).body == image);
    }
}

#[test]
fn pushes_to_a_bucket_go_on_after_cuts_and_kill_9() {
    let bucket = Bucket::juicefs();
    let mut daemon = bucket.daemon();
    let person = daemon.publisher("publisher");
    let relay = Relay::to(daemon.address());
    let image = image(64 * MIB);
    let fingerprint = Digest::of(&image).to_string();
    let file = daemon.scratch().join("image");
    fs::write(&file, &image).unwrap();
    let finish = |output: std::process::Output| {
        assert!(output.status.success(), "{output:?}");
    };

    relay.cut((0..6).map(|_| Cut::Sent(fastrand::u64(20_000..6 << 20))));
    let aar = daemon
        .aar_at(relay.address(), &person)
        .args(["push", "by-aar", "1", file.to_str().unwrap(), "--architecture", "aarch64"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while relay.cuts_left() > 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not sent");
        std::thread::sleep(Duration::from_millis(5));
    }
    daemon.kill();
    daemon.start();
    relay.lead_to(daemon.address());
    finish(aar.wait_with_output().unwrap());
    let again = relay.sent().saturating_sub(image.len() as u64);
    println!("6 cuts and a restart: {again} bytes more than the image were sent");
    assert!(again < (7 * PART) as u64, "{again} bytes more than the image were sent");

    relay.cut((0..3).map(|_| Cut::Sent(fastrand::u64(20_000..4 << 20))));
    let tuspy = TusClient::Tuspy(9 * MIB, true).begin(&relay, &person, "by-tuspy", &file, &fingerprint);
    finish(tuspy.wait_with_output().unwrap());
    for app in ["by-aar", "by-tuspy"] {
        let path = format!("/1.0/applications/{app}/1");
        let answer = daemon.request(&person, "GET", &path, b"");
        assert_eq!(answer.header("x-ams-fingerprint"), Some(fingerprint.as_str()), "{answer:?}");
        assert!(curl(answer.header("location").unwrap(), &[]).body == image, "{app}");
    }
    assert!(bucket.uploads().is_empty());
}
