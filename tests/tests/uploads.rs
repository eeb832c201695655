//! Pushes that come in several goes: nothing that was acknowledged is lost, nothing half there is seen, nothing is left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use aar_model::Digest;
use aar_tests::{Connection, Cut, Daemon, Person, Relay, Response, TusClient};
use openssl::base64::encode_block;
use openssl::hash::{MessageDigest, hash};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;
const UPLOADS: &str = "/1.0/uploads";

/// An image without a pattern, unlike all others.
fn image(size: usize) -> Vec<u8> {
    let words = std::iter::repeat_with(|| fastrand::u64(..).to_le_bytes());
    words.take(size.div_ceil(8)).flatten().take(size).collect()
}

fn metadata(name: &str, version: u32, image: &[u8]) -> String {
    let request =
        json!({ "application": {"tags": ["eu"]}, "version": {"boot_activity": "Main"} }).to_string();
    let pairs = [
        ("name", name),
        ("version", &version.to_string()),
        ("architecture", "x86_64"),
        ("fingerprint", &Digest::of(image).to_string()),
        ("request", &request),
    ];
    pairs.map(|(key, value)| format!("{key} {}", encode_block(value.as_bytes()))).join(",")
}

/// A registry, and who pushes to it.
fn registry() -> (Daemon, Person) {
    let daemon = Daemon::spawn();
    let person = daemon.publisher("publisher");
    (daemon, person)
}

/// Somebody who uploads.
struct Sender<'a> {
    daemon: &'a Daemon,
    person: &'a Person,
}

impl Sender<'_> {
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut all = vec![("tus-resumable", "1.0.0")];
        all.extend(headers);
        let answer = self.daemon.connect(Some(self.person)).request(method, path, &all, body);
        assert_eq!(answer.header("tus-resumable"), Some("1.0.0"), "{method} {path}: {answer:?}");
        answer
    }

    fn try_create(&self, length: usize, metadata: &str) -> Response {
        let length = length.to_string();
        self.ask("POST", UPLOADS, &[("upload-length", &length), ("upload-metadata", metadata)], b"")
    }

    /// Begins an upload and answers its path.
    fn create(&self, name: &str, image: &[u8]) -> String {
        let answer = self.try_create(image.len(), &metadata(name, 1, image));
        assert_eq!((answer.status, answer.header("upload-offset")), (201, Some("0")), "{answer:?}");
        assert!(answer.header("upload-expires").unwrap().ends_with("GMT"), "{answer:?}");
        answer.header("location").unwrap().to_owned()
    }

    fn patch(&self, path: &str, offset: usize, body: &[u8], headers: &[(&str, &str)]) -> Response {
        let offset = offset.to_string();
        let mut all = vec![("content-type", "application/offset+octet-stream"), ("upload-offset", &offset)];
        all.extend(headers);
        self.ask("PATCH", path, &all, body)
    }

    /// Begins a PATCH and sends some of its body.
    fn begin_patch(&self, path: &str, offset: usize, length: usize, more: &str, sent: &[u8]) -> Connection {
        let mut connection = self.daemon.connect(Some(self.person));
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nhost: registry\r\ntus-resumable: 1.0.0\r\ncontent-length: {length}\r\n\
             content-type: application/offset+octet-stream\r\nupload-offset: {offset}\r\n{more}\r\n"
        );
        connection.send(head.as_bytes()).unwrap();
        connection.send(sent).unwrap();
        connection
    }

    fn offset(&self, path: &str) -> usize {
        let answer = self.ask("HEAD", path, &[], b"");
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
        number(&answer, "upload-offset")
    }

    fn pulled(&self, name: &str) -> Option<Vec<u8>> {
        let path = format!("/1.0/applications/{name}/1");
        let answer = self.daemon.request(self.person, "GET", &path, b"");
        (answer.status == 200).then_some(answer.body)
    }
}

fn number(answer: &Response, header: &str) -> usize {
    answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}")).parse().unwrap()
}

/// What is stored of uploads.
fn kept(daemon: &Daemon) -> Vec<String> {
    daemon.stored_files().into_iter().filter(|file| file.starts_with("uploads/")).collect()
}

/// A registry that was killed after the last byte of an upload: before the records were written, and before the note said
/// that it is finished. Answers the image and the upload's path, too.
fn killed_before_the_commit() -> (Daemon, Person, Vec<u8>, String) {
    let (mut daemon, person) = registry();
    let image = image(3 * MIB);
    let sender = Sender { daemon: &daemon, person: &person };
    let path = sender.create("game", &image);
    assert_eq!(sender.patch(&path, 0, &image, &[]).status, 204);
    daemon.kill();
    let data = daemon.base().join("data");
    fs::remove_dir_all(data.join("records/applications/game")).unwrap();
    let note = data.join("uploads").join(format!("{}.json", path.rsplit('/').next().unwrap()));
    let mut text: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    text["about"]["pushed"] = Value::Null;
    fs::write(&note, text.to_string()).unwrap();
    daemon.start();
    (daemon, person, image, path)
}

#[test]
fn what_is_acknowledged_outlives_kill_9_and_becomes_the_image_at_the_last_byte() {
    let (mut daemon, person) = registry();
    let image = [b"PK\x03\x04", &image(40 * MIB)[..]].concat();
    let path = Sender { daemon: &daemon, person: &person }.create("game", &image);
    let mut offset = 0;
    for length in [1, 4_095, 300_001, 17 * MIB, 0, 5 * MIB, image.len()] {
        let end = image.len().min(offset + length);
        {
            let sender = Sender { daemon: &daemon, person: &person };
            assert_eq!(sender.offset(&path), offset);
            assert_eq!(sender.pulled("game"), None);
            let answer = sender.patch(&path, offset, &image[offset..end], &[]);
            assert_eq!((answer.status, number(&answer, "upload-offset")), (204, end), "{answer:?}");
            assert_eq!(answer.header("location").is_some(), end == image.len(), "{answer:?}");
            if let Some(operation) = answer.header("location") {
                let done = daemon.request(&person, "GET", operation, b"").metadata();
                let facts =
                    json!({ "fingerprint": Digest::of(&image), "size": image.len(), "existed": false });
                assert_eq!((&done["status"], &done["metadata"]), (&"Success".into(), &facts));
            }
        }
        offset = end;
        daemon.kill();
        daemon.start();
    }

    let sender = Sender { daemon: &daemon, person: &person };
    assert!(sender.pulled("game").unwrap() == image);
    // Whoever missed the last answer learns that it is done.
    let answer = sender.ask("HEAD", &path, &[], b"");
    assert_eq!((answer.status, number(&answer, "upload-offset")), (200, image.len()), "{answer:?}");
    assert_eq!(answer.header("upload-metadata"), Some(metadata("game", 1, &image).as_str()));
    assert_eq!(kept(&daemon), [format!("uploads/{}.json", path.rsplit('/').next().unwrap())]);
    let shown = daemon.request(&person, "GET", "/1.0/applications/game", b"").metadata();
    assert_eq!(shown["tags"], json!(["eu"]));
    assert_eq!(shown["versions"][0]["boot_activity"], "Main");
    assert_eq!(shown["versions"][0]["images"][0]["media_type"], "application/zip");
}

#[test]
fn a_crash_between_the_last_byte_and_the_commit_is_made_good_by_whoever_asks() {
    let (daemon, person, image, path) = killed_before_the_commit();
    let sender = Sender { daemon: &daemon, person: &person };
    assert_eq!(sender.pulled("game"), None);
    assert_eq!(sender.offset(&path), image.len());
    assert!(sender.pulled("game").unwrap() == image);
}

#[test]
fn what_a_finished_upload_became_and_lost_again_is_not_taken_for_pushed() {
    let (daemon, person) = registry();
    let sender = Sender { daemon: &daemon, person: &person };
    let image = image(MIB);
    let path = sender.create("game", &image);
    assert_eq!(sender.patch(&path, 0, &image, &[]).status, 204);
    assert_eq!(sender.offset(&path), MIB);
    assert_eq!(sender.patch(&path, MIB, b"", &[]).status, 204);
    assert_eq!(sender.patch(&path, MIB, b"more", &[]).status, 413);

    assert_eq!(daemon.request(&person, "DELETE", "/1.0/applications/game", b"").status, 202);

    assert_eq!(sender.ask("HEAD", &path, &[], b"").status, 404);
    assert_eq!(daemon.stored_files(), [""; 0]);
}

#[test]
fn an_image_that_lacks_its_records_only_is_not_collected() {
    let (daemon, person, image, path) = killed_before_the_commit();

    let collected = daemon.admin("POST", "/1.0/maintenance/collect-garbage?grace=0", b"");

    assert_eq!(collected.status, 200, "{collected:?}");
    let sender = Sender { daemon: &daemon, person: &person };
    assert_eq!(sender.offset(&path), image.len());
    assert!(sender.pulled("game").unwrap() == image);
}

#[test]
fn who_loses_the_right_while_it_sends_pushes_nothing() {
    let (daemon, person) = registry();
    let image = image(MIB);
    for (name, status, reason) in [("demoted", 403, "no publisher's"), ("revoked", 401, "revoked")] {
        let sender = Sender { daemon: &daemon, person: &daemon.publisher(name) };
        let fingerprint = sender.person.fingerprint();
        let path = sender.create("resumed", &image);
        let mut upload = sender.begin_patch(&path, 0, MIB, "", &image[..MIB - 1]);
        let mut push = daemon.connect(Some(sender.person));
        let head = format!(
            "PUT /1.0/applications/whole/1?architecture=x86_64 HTTP/1.1\r\nhost: registry\r\n\
             x-ams-fingerprint: {}\r\ncontent-length: {MIB}\r\nexpect: 100-continue\r\n\r\n",
            Digest::of(&image)
        );
        push.send(head.as_bytes()).unwrap();
        assert_eq!(push.told().unwrap(), "HTTP/1.1 100 Continue");
        push.send(&image[..MIB - 1]).unwrap();

        if name == "revoked" {
            let revoked = daemon.admin("POST", &format!("/1.0/certificates/{fingerprint}/revoke"), b"");
            assert_eq!(revoked.status, 200, "{revoked:?}");
        } else {
            daemon.trust(sender.person, "client");
        }

        for connection in [&mut upload, &mut push] {
            connection.send(&image[MIB - 1..]).unwrap();
            let answer = connection.response(false).unwrap();
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            assert!(answer.error().contains(reason), "{name}: {answer:?}");
        }
        for app in ["resumed", "whole"] {
            let path = format!("/1.0/applications/{app}/1");
            assert_eq!(daemon.request(&person, "GET", &path, b"").status, 404, "{name}: {app}");
        }
    }
}

#[test]
fn a_method_in_a_header_is_answered_with_a_body_as_the_request_s_own_would_be() {
    let (daemon, person) = registry();
    for version in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .args(["-sk", version, "-X", "POST", "-H", "x-http-method-override: HEAD"])
            .args(["-H", "tus-resumable: 1.0.0", "-w", "%{http_code}", "--cert"])
            .arg(&person.certificate_file)
            .arg("--key")
            .arg(&person.key_file)
            .arg(format!("https://{}{UPLOADS}/{}", daemon.address(), "0".repeat(32)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{version}: {output:?}");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("there is no such upload") && told.ends_with("404"), "{version}: {told}");
    }
}

#[test]
fn a_creation_that_is_cut_leaves_no_upload_that_nobody_knows() {
    let (daemon, person) = registry();
    let image = image(MIB);
    let mut connection = daemon.connect(Some(&person));
    let head = format!(
        "POST {UPLOADS} HTTP/1.1\r\nhost: registry\r\ntus-resumable: 1.0.0\r\ncontent-length: {MIB}\r\n\
         content-type: application/offset+octet-stream\r\nupload-length: {MIB}\r\nupload-metadata: {}\r\n\r\n",
        metadata("game", 1, &image)
    );
    connection.send(head.as_bytes()).unwrap();
    connection.send(&image[..MIB / 2]).unwrap();
    let wait = |is_there: bool| {
        let begun = Instant::now();
        while kept(&daemon).is_empty() == is_there {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", kept(&daemon));
            thread::sleep(Duration::from_millis(10));
        }
    };
    wait(true);

    drop(connection);

    wait(false);
}

#[test]
fn no_more_finished_uploads_are_remembered_than_may_be_under_way() {
    let (daemon, person) = registry();
    let sender = Sender { daemon: &daemon, person: &person };
    let image = image(10);
    let paths: Vec<_> = (0..66)
        .map(|_| {
            let path = sender.create("game", &image);
            assert_eq!(sender.patch(&path, 0, &image, &[]).status, 204);
            path
        })
        .collect();

    assert_eq!(kept(&daemon).len(), 64);
    assert_eq!(sender.offset(&paths[65]), image.len());
}

#[test]
fn an_upload_whose_bytes_are_lost_begins_anew_and_becomes_no_other_image() {
    let (mut daemon, person) = registry();
    let image = image(2 * MIB);
    let sender = Sender { daemon: &daemon, person: &person };
    let path = sender.create("game", &image);
    assert_eq!(sender.patch(&path, 0, &image[..MIB], &[]).status, 204);
    let id = path.rsplit('/').next().unwrap();
    daemon.kill();
    fs::write(daemon.base().join("data/uploads").join(format!("{id}.image")), &image[..1000]).unwrap();
    daemon.start();

    let sender = Sender { daemon: &daemon, person: &person };
    let answer = sender.patch(&path, MIB, &image[MIB..], &[]);
    assert!(matches!(answer.status, 409 | 503), "{answer:?}");
    assert_eq!(sender.offset(&path), 0);
    assert_eq!(sender.patch(&path, 0, &image, &[]).status, 204);
    assert!(sender.pulled("game").unwrap() == image);
}

#[test]
fn a_connection_that_is_cut_keeps_what_came() {
    let (daemon, person) = registry();
    let sender = Sender { daemon: &daemon, person: &person };
    let image = image(9 * MIB);
    let path = sender.create("game", &image);
    let mut offset = 0;
    for sent in [1, 100_000, 3 * MIB + 1, 5 * MIB] {
        let connection =
            sender.begin_patch(&path, offset, image.len() - offset, "", &image[offset..offset + sent]);
        // What the daemon has not read yet goes with the connection.
        thread::sleep(Duration::from_millis(500));
        drop(connection);
        offset += sent;
        assert_eq!(sender.offset(&path), offset);
    }
    assert_eq!(sender.patch(&path, offset, &image[offset..], &[]).status, 204);
    assert!(sender.pulled("game").unwrap() == image);
}

#[test]
fn what_came_before_kill_9_costs_at_most_one_part_to_send_again() {
    let (mut daemon, person) = registry();
    let image = image(50 * MIB);
    let sender = Sender { daemon: &daemon, person: &person };
    let path = sender.create("game", &image);
    let sent = 45 * MIB + 12_345;
    let connection = sender.begin_patch(&path, 0, image.len(), "", &image[..sent]);
    // All of it has been read once nothing more is taken of the daemon's time.
    thread::sleep(Duration::from_millis(1500));
    daemon.kill();
    drop(connection);
    daemon.start();

    let sender = Sender { daemon: &daemon, person: &person };
    let offset = sender.offset(&path);
    assert!(sent - offset <= 8 * MIB, "{offset} of {sent} bytes are left");
    assert_eq!(sender.patch(&path, offset, &image[offset..], &[]).status, 204);
    assert!(sender.pulled("game").unwrap() == image);
}

#[test]
fn two_requests_do_not_mix_and_one_that_has_died_unnoticed_is_in_nobodys_way() {
    let (daemon, person) = registry();
    let sender = Sender { daemon: &daemon, person: &person };
    let image = image(4 * MIB);
    let path = sender.create("game", &image);
    let mut first = sender.begin_patch(&path, 0, image.len(), "expect: 100-continue\r\n", &[]);
    assert_eq!(first.told().unwrap(), "HTTP/1.1 100 Continue");
    first.send(&image[..1000]).unwrap();
    let mut first = thread::scope(|scope| {
        let chunks = image[1000..61_000].chunks(1000);
        let sending = scope.spawn(move || {
            for chunk in chunks {
                first.send(chunk).unwrap();
                thread::sleep(Duration::from_millis(50));
            }
            first
        });
        let second = sender.patch(&path, 0, &image, &[]);
        assert_eq!(second.status, 423, "{second:?}");
        assert!(second.error().contains("another request"), "{second:?}");
        sending.join().unwrap()
    });

    // The first is silent from now on, and open.
    let begun = Instant::now();
    assert_eq!(sender.offset(&path), 61_000);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(first.response(false).unwrap().status, 503);
    assert_eq!(sender.patch(&path, 61_000, &image[61_000..], &[]).status, 204);
    assert!(sender.pulled("game").unwrap() == image);
}

#[test]
fn a_stop_does_not_wait_for_an_upload_which_goes_on_afterwards() {
    let (mut daemon, person) = registry();
    let image = image(4 * MIB);
    let sender = Sender { daemon: &daemon, person: &person };
    let path = sender.create("game", &image);
    let mut connection = sender.begin_patch(&path, 0, image.len(), "", &image[..MIB]);
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    assert!(daemon.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(connection.response(false).unwrap().status, 503);
    daemon.start();

    let sender = Sender { daemon: &daemon, person: &person };
    assert_eq!(sender.offset(&path), MIB);
    assert_eq!(sender.patch(&path, MIB, &image[MIB..], &[]).status, 204);
    assert!(sender.pulled("game").unwrap() == image);
}

#[test]
fn a_body_with_a_checksum_counts_whole_and_right_or_not_at_all() {
    let (daemon, person) = registry();
    let sender = Sender { daemon: &daemon, person: &person };
    // More than what is kept on the way of an upload without checksums.
    let image = image(40 * MIB);
    let path = sender.create("game", &image);
    let sha1 = |bytes: &[u8]| format!("sha1 {}", encode_block(&hash(MessageDigest::sha1(), bytes).unwrap()));
    let sha256 = |bytes: &[u8]| format!("sha256 {}", encode_block(Digest::of(bytes).as_bytes()));
    let first = 36 * MIB + 5;
    let mut wrong = image[..first].to_vec();
    wrong[first - 1] ^= 1;

    for checksum in [sha1(&image[..first]), sha256(&image[..first])] {
        let answer = sender.patch(&path, 0, &wrong, &[("upload-checksum", &checksum)]);
        assert_eq!(answer.status, 460, "{answer:?}");
        assert_eq!(sender.offset(&path), 0);
    }
    for nonsense in ["md5 x", "sha1", "sha1 ?", "sha256  "] {
        let answer = sender.patch(&path, 0, &image[..first], &[("upload-checksum", nonsense)]);
        assert!(matches!(answer.status, 400 | 460), "{nonsense}: {answer:?}");
    }
    let checksum = format!("upload-checksum: {}\r\n", sha1(&image[..first]));
    drop(sender.begin_patch(&path, 0, first, &checksum, &image[..first - 1]));
    assert_eq!(sender.offset(&path), 0);

    let checksum = sha1(&image[..first]);
    assert_eq!(sender.patch(&path, 0, &image[..first], &[("upload-checksum", &checksum)]).status, 204);
    let checksum = sha256(&image[first..]);
    assert_eq!(sender.patch(&path, first, &image[first..], &[("upload-checksum", &checksum)]).status, 204);
    assert!(sender.pulled("game").unwrap() == image);
}

#[test]
fn an_image_may_come_with_the_creation_and_is_an_images_push_in_every_way() {
    let (daemon, person) = registry();
    let sender = Sender { daemon: &daemon, person: &person };
    let image = image(100_000);
    let create = |name: &str, body: &[u8]| {
        let (length, metadata) = (image.len().to_string(), metadata(name, 1, &image));
        let headers = [
            ("upload-length", length.as_str()),
            ("upload-metadata", &metadata),
            ("content-type", "application/offset+octet-stream"),
        ];
        sender.ask("POST", UPLOADS, &headers, body)
    };
    for (name, first) in [("whole", image.len()), ("begun", 12_345)] {
        let answer = create(name, &image[..first]);
        assert_eq!((answer.status, number(&answer, "upload-offset")), (201, first), "{answer:?}");
        let path = answer.header("location").unwrap();
        if first < image.len() {
            assert_eq!(sender.patch(path, first, &image[first..], &[]).status, 204);
        }
        assert!(sender.pulled(name).unwrap() == image);
    }
    // The same again is a success, another image is refused before a byte is sent.
    assert_eq!(create("whole", &image).status, 201);
    let answer = sender.try_create(5, &metadata("whole", 1, b"other"));
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.error().contains("immutable"), "{answer:?}");
}

#[test]
fn wrong_bytes_are_refused_and_nothing_is_left_of_them() {
    let (daemon, person) = registry();
    let sender = Sender { daemon: &daemon, person: &person };
    let right = image(MIB);
    let path = sender.create("game", &right);
    let answer = sender.patch(&path, 0, &image(MIB), &[]);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.error().contains("SHA-256"), "{answer:?}");
    assert_eq!(sender.ask("HEAD", &path, &[], b"").status, 404);
    assert_eq!(daemon.stored_files(), [""; 0]);

    // One that has become impossible meanwhile, too.
    let path = sender.create("game", &right);
    assert_eq!(
        sender.daemon.push(&person, "/1.0/applications/game/1?architecture=x86_64", b"other").status,
        202
    );
    let answer = sender.patch(&path, 0, &right, &[]);
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(kept(&daemon), [""; 0]);
    assert_eq!(sender.pulled("game").unwrap(), b"other");
}

#[test]
fn an_upload_that_is_ended_or_left_for_a_day_leaves_nothing() {
    let (mut daemon, person) = registry();
    let image = image(MIB);
    let sender = Sender { daemon: &daemon, person: &person };
    let [ended, left, young] = ["ended", "left", "young"].map(|name| {
        let path = sender.create(name, &image);
        assert_eq!(sender.patch(&path, 0, &image[..1000], &[]).status, 204);
        path
    });
    assert_eq!(sender.ask("DELETE", &ended, &[], b"").status, 204);
    for method in ["HEAD", "DELETE"] {
        assert_eq!(sender.ask(method, &ended, &[], b"").status, 404);
    }
    assert_eq!(kept(&daemon).len(), 4);

    assert!(daemon.stop().success());
    let id = left.rsplit('/').next().unwrap();
    let note = daemon.base().join("data/uploads").join(format!("{id}.json"));
    let mut text: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    text["touched_at"] = json!(text["touched_at"].as_i64().unwrap() - 24 * 3600);
    fs::write(&note, text.to_string()).unwrap();
    daemon.start();
    daemon.wait_for_log("removed uploads that have expired");

    let sender = Sender { daemon: &daemon, person: &person };
    assert_eq!(sender.ask("HEAD", &left, &[], b"").status, 404);
    assert_eq!(kept(&daemon).len(), 2);
    assert_eq!(sender.patch(&young, 1000, &image[1000..], &[]).status, 204);
    assert!(sender.pulled("young").unwrap() == image);
}

#[test]
fn an_upload_is_its_publishers_alone() {
    let daemon = Daemon::spawn();
    let (one, other, client) = (daemon.publisher("one"), daemon.publisher("other"), daemon.client("client"));
    let image = image(1000);
    let path = Sender { daemon: &daemon, person: &one }.create("game", &image);
    for (person, status) in [(&other, 404), (&client, 403)] {
        let sender = Sender { daemon: &daemon, person };
        for method in ["HEAD", "DELETE"] {
            assert_eq!(sender.ask(method, &path, &[], b"").status, status);
        }
        assert_eq!(sender.patch(&path, 0, &image, &[]).status, status);
    }
    assert_eq!(Sender { daemon: &daemon, person: &one }.patch(&path, 0, &image, &[]).status, 204);
}

#[test]
fn an_upload_is_refused_with_a_reason_where_it_makes_no_sense() {
    let (daemon, person) = registry();
    let sender = Sender { daemon: &daemon, person: &person };
    let image = image(1000);
    let good = metadata("game", 1, &image);
    let refused = |answer: Response, status: u16, reason: &str| {
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.error().contains(reason), "{reason}: {answer:?}");
        answer
    };
    let mut connection = daemon.connect(Some(&person));
    for version in [&[][..], &[("tus-resumable", "0.2.2")]] {
        let answer = connection.request("POST", UPLOADS, version, b"");
        assert_eq!(refused(answer, 412, "Tus-Resumable").header("tus-version"), Some("1.0.0"));
    }
    refused(sender.ask("POST", UPLOADS, &[("upload-metadata", &good)], b""), 400, "Upload-Length");
    for length in ["-1", "+1", "", "1e3", "99999999999999999999999"] {
        refused(sender.ask("POST", UPLOADS, &[("upload-length", length)], b""), 400, "upload-length");
    }
    refused(sender.try_create(0, &good), 400, "no bytes");
    for (from, to, reason) in [
        ("name ", "nam ", "`name`"),
        ("version ", "v ", "`version`"),
        ("architecture ", "a ", "`architecture`"),
        ("fingerprint ", "f ", "`fingerprint`"),
        ("name ", "name,x ", "`name`"),
        ("name ", "name ?", "base64"),
        ("name ", "name eA==,name ", "more than once"),
        ("request ", "request eA==,r ", "`request`"),
    ] {
        refused(sender.try_create(1000, &good.replacen(from, to, 1)), 400, reason);
    }
    assert_eq!(kept(&daemon), [""; 0]);

    let path = sender.create("game", &image);
    let answer = sender.ask("PATCH", &path, &[("upload-offset", "0")], &image);
    refused(answer, 415, "Content-Type");
    let octets = ("content-type", "application/offset+octet-stream");
    refused(sender.ask("PATCH", &path, &[octets], &image), 400, "Upload-Offset");
    let answer = refused(sender.patch(&path, 1, &image[1..], &[]), 409, "byte 0");
    assert_eq!(answer.header("upload-offset"), Some("0"));
    refused(sender.patch(&path, 0, &[&image[..], b"x"].concat(), &[]), 413, "more bytes");
    assert_eq!(sender.offset(&path), 0);
    for id in ["x", "..%2f..%2frecords", "00000000000000000000000000000000"] {
        assert_eq!(sender.ask("HEAD", &format!("{UPLOADS}/{id}"), &[], b"").status, 404);
    }
    assert_eq!(connection.request("GET", &path, &[], b"").status, 405);

    let options = sender.ask("OPTIONS", UPLOADS, &[], b"");
    let said =
        ["tus-version", "tus-extension", "tus-checksum-algorithm"].map(|name| options.header(name).unwrap());
    let extensions = "creation,creation-with-upload,checksum,expiration,termination";
    assert_eq!((options.status, said), (204, ["1.0.0", extensions, "sha1,sha256"]));
    // For clients that cannot send every method.
    let overriding = [("x-http-method-override", "PATCH"), octets, ("upload-offset", "0")];
    assert_eq!(sender.ask("POST", &path, &overriding, &image).status, 204);
    assert!(sender.pulled("game").unwrap() == image);
    // A client does not become a publisher by it.
    let client = daemon.client("client");
    let client = Sender { daemon: &daemon, person: &client };
    assert_eq!(client.ask("POST", &path, &[("x-http-method-override", "HEAD")], b"").status, 403);
}

#[test]
fn one_publisher_cannot_begin_uploads_without_end() {
    let daemon = Daemon::spawn();
    let (person, other) = (daemon.publisher("publisher"), daemon.publisher("other"));
    let sender = Sender { daemon: &daemon, person: &person };
    let image = image(10);
    let paths: Vec<_> = (0..64).map(|number| sender.create(&format!("app{number}"), &image)).collect();
    let answer = sender.try_create(10, &metadata("more", 1, &image));
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.error().contains("DELETE"), "{answer:?}");
    Sender { daemon: &daemon, person: &other }.create("more", &image);
    // What is finished does not count.
    assert_eq!(sender.patch(&paths[0], 0, &image, &[]).status, 204);
    sender.create("more", &image);
}

/// Begins to push a file with the command line, through a relay.
fn begin_push(daemon: &Daemon, relay: &Relay, person: &Person, file: &Path) -> Child {
    begin_push_with(daemon, relay, person, file, &[])
}

fn begin_push_with(daemon: &Daemon, relay: &Relay, person: &Person, file: &Path, more: &[&str]) -> Child {
    daemon
        .aar_at(relay.address(), person)
        .args(["push", "game", "1", file.to_str().unwrap(), "--architecture", "x86_64"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn remembered(daemon: &Daemon) -> usize {
    fs::read_dir(daemon.scratch().join("state/aar/uploads")).unwrap().count()
}

#[test]
fn a_push_by_the_command_line_goes_on_after_every_cut_and_sends_little_twice() {
    const CUTS: u64 = 12;
    let (daemon, person) = registry();
    let relay = Relay::to(daemon.address());
    let image = image(48 * MIB);
    let file = daemon.scratch().join("image");
    fs::write(&file, &image).unwrap();
    // Past the handshake, so that it is the PATCH that is cut; and the last answer is lost.
    relay.cut((1..CUTS).map(|_| Cut::Sent(fastrand::u64(20_000..4 << 20))));
    relay.cut([Cut::Answered(1 << 20)]);

    let output = begin_push(&daemon, &relay, &person, &file).wait_with_output().unwrap();

    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("going on in"), "{told}");
    assert!(Sender { daemon: &daemon, person: &person }.pulled("game").unwrap() == image);
    assert_eq!(relay.cuts_left(), 0);
    let again = relay.sent().saturating_sub(image.len() as u64);
    println!("{CUTS} cuts, {again} bytes more than the image were sent");
    assert!(again < CUTS * (1 << 20), "{again} bytes more than the image were sent for {CUTS} cuts");
    assert_eq!(remembered(&daemon), 0);
}

#[test]
fn a_push_by_the_command_line_outlives_the_registry_and_the_command_line() {
    let (mut daemon, person) = registry();
    let relay = Relay::to(daemon.address());
    let image = image(48 * MIB);
    let file = daemon.scratch().join("image");
    fs::write(&file, &image).unwrap();
    let restart = |daemon: &mut Daemon| {
        // What the daemon has not read yet goes with it.
        thread::sleep(Duration::from_millis(500));
        daemon.kill();
        daemon.start();
        relay.lead_to(daemon.address());
    };
    let cut_and_hold = |relay: &Relay| {
        relay.cut([Cut::Sent(18 << 20)]);
        // For as long as it takes to kill.
        relay.cut([Cut::Sent(0); 4]);
    };
    let wait_for_cut = |relay: &Relay, left: usize| {
        let begun = Instant::now();
        while relay.cuts_left() > left {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is not sent");
            thread::sleep(Duration::from_millis(5));
        }
    };

    cut_and_hold(&relay);
    let mut child = begin_push(&daemon, &relay, &person, &file);
    wait_for_cut(&relay, 4);
    restart(&mut daemon);
    wait_for_cut(&relay, 0);
    cut_and_hold(&relay);
    wait_for_cut(&relay, 4);
    child.kill().unwrap();
    child.wait().unwrap();
    restart(&mut daemon);
    relay.cut_no_more();
    assert_eq!(remembered(&daemon), 1);

    let output = begin_push(&daemon, &relay, &person, &file).wait_with_output().unwrap();

    assert!(output.status.success(), "{output:?}");
    assert!(Sender { daemon: &daemon, person: &person }.pulled("game").unwrap() == image);
    let again = relay.sent().saturating_sub(image.len() as u64);
    println!("2 restarts, {again} bytes more than the image were sent");
    assert!(again < 2 * (8 << 20), "{again} bytes more than the image were sent");
    assert_eq!(remembered(&daemon), 0);
}

#[test]
fn a_push_with_other_facts_does_not_go_on_with_an_upload_that_was_told_others() {
    let (daemon, person) = registry();
    let relay = Relay::to(daemon.address());
    let file = daemon.scratch().join("image");
    fs::write(&file, image(24 * MIB)).unwrap();
    relay.cut([Cut::Sent(10 << 20)]);
    relay.cut([Cut::Sent(0); 4]);
    let mut child = begin_push(&daemon, &relay, &person, &file);
    let begun = Instant::now();
    while relay.cuts_left() > 4 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not sent");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    relay.cut_no_more();
    assert_eq!(remembered(&daemon), 1);

    let push = begin_push_with(&daemon, &relay, &person, &file, &["--unpublished"]);
    let output = push.wait_with_output().unwrap();

    assert!(output.status.success(), "{output:?}");
    let client = daemon.client("client");
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game", b"").status, 404);
    assert!(Sender { daemon: &daemon, person: &person }.pulled("game").is_some());
}

#[test]
fn clients_that_others_wrote_go_on_after_cuts_and_restarts() {
    let (mut daemon, person) = registry();
    let relay = Relay::to(daemon.address());
    let clients = [
        ("tuspy", TusClient::Tuspy(5 * MIB, false)),
        ("tuspy-checked", TusClient::Tuspy(5 * MIB, true)),
        ("tus-js", TusClient::TusJs(false)),
        ("tus-js-at-once", TusClient::TusJs(true)),
    ];
    for (name, client) in clients {
        let image = image(20 * MIB);
        let fingerprint = Digest::of(&image).to_string();
        let file = daemon.scratch().join(name);
        fs::write(&file, &image).unwrap();
        // The first hits the creation, if it comes with bytes, or the first piece.
        relay.cut((0..4).map(|_| Cut::Sent(fastrand::u64(20_000..4 << 20))));
        relay.cut([Cut::Answered(1 << 20)]);
        let child = client.begin(&relay, &person, name, &file, &fingerprint);
        let begun = Instant::now();
        while relay.cuts_left() > 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} does not send");
            thread::sleep(Duration::from_millis(5));
        }
        daemon.kill();
        daemon.start();
        relay.lead_to(daemon.address());

        let output = child.wait_with_output().unwrap();

        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {told}");
        assert!(told.contains("cut: "), "{name}: {told}");
        assert_eq!(relay.cuts_left(), 0, "{name}: {told}");
        let answer = daemon.request(&person, "GET", &format!("/1.0/applications/{name}/1"), b"");
        assert_eq!(answer.header("x-ams-fingerprint"), Some(fingerprint.as_str()), "{name}");
        assert!(answer.body == image, "{name}");
    }
}
