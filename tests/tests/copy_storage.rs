//! A registry moves from a directory to a bucket and back while it runs, whatever interrupts it, and no secret is seen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use aar_tests::s3::{Fault, Proxy, S3Server, When};
use aar_tests::{Daemon, Person, binary};
use serde_json::{Value, json};

/// Applications with their versions; each image is longer than a part of an upload.
const VERSIONS: [(&str, u32); 4] = [("game", 1), ("game", 2), ("other", 1), ("third", 7)];

fn image(name: &str, version: u32) -> Vec<u8> {
    format!("image of {name} {version}. ").repeat(500_000).into_bytes()
}

fn path(name: &str, version: u32) -> String {
    format!("/1.0/applications/{name}/{version}?architecture=x86_64")
}

fn filled() -> (Daemon, Person) {
    let daemon = Daemon::builder().log_level("trace").start();
    let publisher = daemon.publisher("publisher");
    for (name, version) in VERSIONS {
        assert_eq!(daemon.push(&publisher, &path(name, version), &image(name, version)).status, 202);
    }
    (daemon, publisher)
}

fn bucket(server: &S3Server, endpoint: &str) -> String {
    // Tests pull from the daemon.
    format!(
        "storage:\n  s3:\n    region: {}\n    bucket: {}\n    endpoint: {endpoint}\n    access-key: {}\n    \
         secret-access-key: {}\n    redirect: false\n",
        server.region, server.bucket, server.access_key, server.secret_access_key
    )
}

fn directory(root: &Path) -> String {
    format!("storage:\n  fs:\n    root-directory: {}\n", root.display())
}

/// The command, with the configuration in a file that only this user may read.
fn command(daemon: &Daemon, configuration: &str) -> Command {
    let file: PathBuf = daemon.scratch().join("new.yaml");
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new(binary("aar"));
    command.args(["maintenance", "copy-storage", "--format", "json", "--to"]).arg(file);
    command.env("AAR_BASE_DIR", daemon.base()).stdin(Stdio::null());
    command
}

fn copy(daemon: &Daemon, configuration: &str) -> Output {
    command(daemon, configuration).output().unwrap()
}

/// Numbers of a copy that succeeds: images copied and skipped, records copied and skipped.
fn counts(output: &Output) -> [u64; 4] {
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["damaged"], &report["extra"]), (&json!([]), &json!([])));
    ["images", "images_skipped", "records", "records_skipped"].map(|field| report[field].as_u64().unwrap())
}

fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn applications(daemon: &Daemon) -> Value {
    daemon.request(&daemon.publisher("reader"), "GET", "/1.0/applications?recursion=1", b"").metadata()
}

/// The daemon shows what `expected` has and hands out every image.
fn assert_serves(daemon: &Daemon, expected: &Value) {
    assert_eq!(applications(daemon), *expected);
    let client = daemon.client("client");
    for (name, version) in VERSIONS {
        let pulled = daemon.request(&client, "GET", &path(name, version), b"");
        assert_eq!(pulled.status, 200);
        assert!(pulled.body == image(name, version), "{name} {version}");
    }
}

#[test]
fn a_registry_moves_to_a_bucket_and_back() {
    let server = S3Server::juicefs();
    let to_bucket = bucket(&server, &server.endpoint);
    let (daemon, publisher) = filled();
    let before = (daemon.stored_files(), applications(&daemon));

    let first = copy(&daemon, &to_bucket);
    assert_eq!(counts(&first), [4, 0, 7, 0]);
    assert_eq!(counts(&copy(&daemon, &to_bucket)), [0, 4, 0, 7]);
    assert_eq!((daemon.stored_files(), applications(&daemon)), before, "the old storage is as it was");

    let on_bucket = Daemon::builder().log_level("trace").configuration(&to_bucket).start();
    assert_serves(&on_bucket, &before.1);

    let fresh = on_bucket.scratch().join("fresh");
    assert_eq!(counts(&copy(&on_bucket, &directory(&fresh))), [4, 0, 7, 0]);
    assert_eq!(counts(&copy(&on_bucket, &directory(&fresh))), [0, 4, 0, 7]);
    assert_serves(&Daemon::builder().storage_root(&fresh).start(), &before.1);

    // What was deleted since is named, and not deleted there.
    assert_eq!(daemon.request(&publisher, "DELETE", "/1.0/applications/third", b"").status, 202);
    let again = copy(&daemon, &to_bucket);
    assert!(failed(&again, 9).contains("the other storage holds 2 records that the registry does not"));
    let report: Value = serde_json::from_slice(&again.stdout).unwrap();
    let third = ["records/applications/third/7.json", "records/applications/third/application.json"];
    assert_eq!(report["extra"], json!(third));
    assert!(server.client().get(third[0]).is_some());

    for shown in [daemon.log_text(), on_bucket.log_text(), format!("{first:?} {again:?}")] {
        assert!(!shown.contains(&server.secret_access_key));
    }
}

#[test]
fn a_copy_that_was_cut_off_by_kill_9_goes_on_from_there() {
    let server = S3Server::juicefs();
    let proxy = Proxy::in_front_of(&server.endpoint);
    let to_bucket = bucket(&server, &proxy.endpoint());
    let (mut daemon, _) = filled();
    let before = applications(&daemon);
    let images = || server.client().list("images/").len();

    // Two images are copied, and the third is never completed.
    let complete = When::operation("CompleteMultipartUpload").skip(2);
    proxy.misbehave(complete, Fault::Stall(Duration::from_secs(600)));
    let running = command(&daemon, &to_bucket).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while proxy.count("CompleteMultipartUpload") < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", daemon.log_text());
        std::thread::sleep(Duration::from_millis(10));
    }
    let log = daemon.log_text();
    daemon.kill();
    let cut_off = running.wait_with_output().unwrap();
    assert!(failed(&cut_off, 6).contains("the connection was cut"));
    assert_eq!((images(), server.client().list("records/").len()), (2, 0));
    assert!(!server.client().uploads().is_empty());

    proxy.behave();
    daemon.start();
    assert_eq!(counts(&copy(&daemon, &to_bucket)), [2, 2, 7, 0]);
    for shown in [log, daemon.log_text(), format!("{cut_off:?}")] {
        assert!(!shown.contains(&server.secret_access_key));
    }
    // What was left is swept where a daemon starts, not by a copy.
    assert!(!server.client().uploads().is_empty());
    assert_serves(&Daemon::builder().configuration(&to_bucket).start(), &before);
    assert_eq!(server.client().uploads(), []);
}

#[test]
fn what_cannot_be_copied_to_is_refused_and_says_why() {
    let server = S3Server::juicefs();
    let (daemon, _) = filled();
    let files = daemon.stored_files();
    let to_bucket = bucket(&server, &server.endpoint);

    // The command line finds it, and so does the daemon.
    let secret = &server.secret_access_key;
    for (wrong, key) in [
        (to_bucket.replace("region:", "reigon:"), "storage.s3.reigon: "),
        (to_bucket.replace("    access-key", "    #"), "storage.s3.secret-access-key: "),
        (format!("{to_bucket}  fs: {{}}\n"), "storage.s3: "),
        (format!("\"{secret}\""), "expected keys"),
    ] {
        let refused = failed(&copy(&daemon, &wrong), 1);
        let answer = daemon.admin("POST", "/1.0/maintenance/copy-storage", wrong.as_bytes());
        assert_eq!(answer.status, 400, "{answer:?}");
        for text in [refused, answer.error()] {
            assert!(text.contains(key), "{text}");
            assert!(!text.contains(secret), "{text}");
        }
    }

    let same = "this is the storage that the registry is on";
    for configuration in ["", &directory(&daemon.base().join("data")), "storage:\n  fs: {}\n"] {
        assert!(failed(&copy(&daemon, configuration), 5).contains(same));
    }
    let inside = directory(Path::new("/proc/nothing"));
    assert!(failed(&copy(&daemon, &inside), 1).contains("/proc/nothing"));
    let other = Daemon::spawn();
    let in_use = directory(&other.base().join("data"));
    assert!(failed(&copy(&daemon, &in_use), 1).contains("in use by another process"));

    let nowhere = to_bucket.replace(&server.bucket, "no-such-bucket");
    let refused = failed(&copy(&daemon, &nowhere), 1);
    assert!(
        refused.contains("cannot copy to the other storage: ") && refused.contains("no-such-bucket"),
        "{refused}"
    );

    let on_bucket = Daemon::builder().log_level("trace").configuration(&to_bucket).start();
    let refused = failed(&copy(&on_bucket, &to_bucket.replace("    redirect: false\n", "")), 5);
    assert!(refused.contains(same), "{refused}");

    let proxy = Proxy::in_front_of(&server.endpoint);
    proxy.cut();
    let refused = failed(&copy(&daemon, &bucket(&server, &proxy.endpoint())), 1);
    assert!(refused.contains("cannot copy to the other storage: the store is out of reach"), "{refused}");
    assert_eq!(server.client().list(""), [""; 0]);
    assert_eq!(daemon.stored_files(), files);
    for log in [daemon.log_text(), on_bucket.log_text()] {
        assert!(!log.contains(secret));
    }
}

#[test]
fn the_configuration_may_come_from_standard_input() {
    let (daemon, _) = filled();
    let configuration = directory(&daemon.scratch().join("copy"));
    let mut command = command(&daemon, &configuration);
    let file = fs::File::open(daemon.scratch().join("new.yaml")).unwrap();
    let output = Command::new(command.get_program())
        .args(["maintenance", "copy-storage", "--to", "-"])
        .env("AAR_BASE_DIR", daemon.base())
        .stdin(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(counts(&command.output().unwrap()), [0, 4, 0, 7]);
}
