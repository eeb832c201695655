//! `check-storage` says what is wrong with a storage, and what would mend it; the daemon's log does so at the start.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use aar_tests::s3::{Fault, IamPolicy, Proxy, Refusal, S3Server, When};
use aar_tests::{Daemon, Edge, Object};
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use serde_json::{Value, json};
use tempfile::TempDir;

const PERMISSIONS: [&str; 8] = [
    "s3:GetBucketLocation",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:PutObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
];

/// A store behind a proxy.
struct Bucket {
    proxy: Proxy,
    server: S3Server,
}

impl Bucket {
    fn start() -> Self {
        let server = S3Server::juicefs();
        Self { proxy: Proxy::in_front_of(&server.endpoint), server }
    }

    /// A daemon on the bucket, with more lines below `s3`.
    fn daemon(&self, more: &str) -> Daemon {
        self.daemon_with(&self.server.bucket, &self.server.secret_access_key, more)
    }

    fn daemon_with(&self, bucket: &str, secret: &str, more: &str) -> Daemon {
        let (region, endpoint, key) = (&self.server.region, self.proxy.endpoint(), &self.server.access_key);
        Daemon::builder()
            .configuration(&format!(
                "storage:\n  s3:\n    region: {region}\n    bucket: {bucket}\n    endpoint: {endpoint}\n    access-key: {key}\n    \
                 secret-access-key: {secret}\n{more}"
            ))
            .start()
    }
}

/// What was found, after comparing the exit code with it.
fn check(daemon: &Daemon) -> Vec<Value> {
    let output = daemon.aar(&["maintenance", "check-storage", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let found = report["checks"].as_array().unwrap().clone();
    let failures = failed(&found).len();
    assert_eq!(output.status.code(), Some(if failures == 0 { 0 } else { 10 }), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.contains(&format!("{failures} of {} checks", found.len())), failures > 0, "{told}");
    found
}

fn failed(found: &[Value]) -> Vec<&Value> {
    found.iter().filter(|found| found["outcome"] == "failed").collect()
}

fn named<'a>(found: &'a [Value], check: &str) -> &'a Value {
    found.iter().find(|found| found["check"] == check).unwrap_or_else(|| panic!("no {check} in {found:?}"))
}

/// Nothing of a check is left, once that of the daemon's start has ended as well.
fn assert_tidy(bucket: &Bucket, scratch: &str) {
    let client = bucket.server.client();
    let begun = Instant::now();
    while !(client.list(scratch).is_empty() && client.uploads().is_empty()) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?} {:?}",
            client.list(scratch),
            client.uploads()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn push(daemon: &Daemon) {
    let publisher = daemon.publisher("publisher");
    let path = "/1.0/applications/game/1?architecture=x86_64";
    assert_eq!(daemon.push(&publisher, path, b"an image").status, 202);
}

#[test]
fn a_sound_bucket_passes_within_the_policy_and_keeps_nothing_of_it() {
    let bucket = Bucket::start();
    let daemon = bucket.daemon("    prefix: registry\n");
    let found = check(&daemon);
    for permission in PERMISSIONS {
        assert_eq!(named(&found, permission)["outcome"], "ok", "{found:?}");
    }
    assert_eq!(named(&found, "s3:ListBucket")["resource"], format!("arn:aws:s3:::{}", bucket.server.bucket));
    assert_eq!(named(&found, "s3:PutObject")["resource"], format!("arn:aws:s3:::{}/*", bucket.server.bucket));
    assert_eq!(named(&found, "clock")["outcome"], "ok");
    assert_eq!(named(&found, "download from the bucket")["outcome"], "skipped");

    push(&daemon);
    let download = named(&check(&daemon), "download from the bucket").clone();
    assert_eq!(download["outcome"], "ok");
    assert!(!download.to_string().contains("Signature"), "{download}");

    bucket.proxy.assert_permitted(&IamPolicy::of_registry(&bucket.server.bucket));
    let client = bucket.server.client();
    assert_tidy(&bucket, "registry/uploads/");
    assert_eq!(client.list("registry/").len(), 3, "the image and two records");
    assert!(client.list("").iter().all(|key| key.starts_with("registry/") || key == "ready"));
}

#[test]
fn each_permission_that_is_missing_is_named_and_no_other() {
    let bucket = Bucket::start();
    let mut daemon = bucket.daemon("");
    for action in PERMISSIONS {
        let (statement, resource) = statement_of(&bucket, action);
        bucket.proxy.deny(action);
        let found = check(&daemon);
        bucket.proxy.behave();
        let failures = failed(&found);
        assert_eq!(failures.len(), 1, "{action}: {failures:?}");
        assert_eq!((&failures[0]["check"], &failures[0]["resource"]), (&json!(action), &json!(resource)));
        let detail = failures[0]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("the store denies {action} on {resource}: ")), "{detail}");
        let advice = failures[0]["advice"].as_str().unwrap();
        assert!(advice.ends_with(&statement), "{advice}");
    }

    // At the start it is the log that names them, also where the registry cannot use the bucket without.
    for action in ["s3:AbortMultipartUpload", "s3:ListBucket"] {
        let (statement, resource) = statement_of(&bucket, action);
        assert!(daemon.stop().success());
        bucket.proxy.deny(action);
        daemon.start();
        let entry = daemon.wait_for_log("the storage does not work as it should");
        assert_eq!((&entry["level"], &entry["check"]), (&json!("ERROR"), &json!(action)), "{entry}");
        assert_eq!(entry["resource"], resource);
        assert!(entry["to_do"].as_str().unwrap().ends_with(&statement), "{entry}");
        bucket.proxy.behave();
    }

    // What could not be removed goes with the next start.
    assert!(daemon.stop().success());
    daemon.start();
    assert_eq!(failed(&check(&daemon)), [&json!(null); 0]);
    assert_tidy(&bucket, "uploads/");
}

fn statement_of(bucket: &Bucket, action: &str) -> (String, String) {
    let below = if action.contains("Bucket") { "" } else { "/*" };
    let resource = format!("arn:aws:s3:::{}{below}", bucket.server.bucket);
    (format!(r#"{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}"#), resource)
}

#[test]
fn what_is_wrong_with_the_whole_bucket_is_told_in_words_of_its_own() {
    let bucket = Bucket::start();
    let daemon = bucket.daemon("");
    let answers = [
        (Fault::request_time_too_skewed(), "clock is", "set the machine's clock by NTP"),
        (
            Fault::authorization_header_malformed("eu-west-3"),
            "is not in region us-east-1",
            "set region to eu-west-3",
        ),
        (Fault::invalid_access_key_id(), "does not accept the access key", "check access-key"),
        (Fault::no_such_bucket(), "there is no bucket aar-tests", "correct bucket, region or endpoint"),
    ];
    for (fault, what, to_do) in answers {
        bucket.proxy.misbehave(When::always(), fault);
        all_say(&check(&daemon), &[what, to_do]);
        bucket.proxy.behave();
    }
    bucket.proxy.cut();
    all_say(&check(&daemon), &["out of reach", "Connection refused"]);
    bucket.proxy.mend();
    assert_eq!(failed(&check(&daemon)).len(), 0);
}

#[test]
fn a_wrong_secret_and_a_missing_bucket_are_told_as_a_server_tells_them() {
    let bucket = Bucket::start();
    let secret = "not-the-secret-at-all";
    let daemon = bucket.daemon_with(&bucket.server.bucket, secret, "");
    let found = check(&daemon);
    all_say(&found, &["does not accept the access key (SignatureDoesNotMatch)", "secret-access-key"]);
    assert!(!format!("{found:?}{}", daemon.log_text()).contains(secret));
    let daemon = bucket.daemon_with("another-bucket", &bucket.server.secret_access_key, "");
    all_say(&check(&daemon), &["there is no bucket another-bucket"]);
}

/// Every permission fails, for this reason; there is no permission to add.
fn all_say(found: &[Value], words: &[&str]) {
    for permission in PERMISSIONS {
        let found = named(found, permission);
        let detail = found["detail"].as_str().unwrap_or_else(|| panic!("{found}"));
        assert!(words.iter().all(|word| detail.contains(word)), "{permission}: {detail}");
        assert_eq!(found["advice"], Value::Null, "{found}");
    }
}

#[test]
fn a_clock_that_is_off_is_told_before_the_store_minds() {
    let bucket = Bucket::start();
    let daemon = bucket.daemon("");
    let Fault::Refuse(denied) = Fault::access_denied() else { unreachable!() };
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60);
    let date = then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    bucket
        .proxy
        .misbehave(When::always(), Fault::Refuse(Refusal { headers: vec![("date", date)], ..denied }));
    let clock = named(&check(&daemon), "clock").clone();
    assert_eq!(clock["outcome"], "failed");
    assert!(clock["detail"].as_str().unwrap().contains("s ahead of"), "{clock}");
    assert!(clock["advice"].as_str().unwrap().contains("RequestTimeTooSkewed"), "{clock}");
}

/// Two key pairs; the edge knows one.
struct Keys {
    dir: TempDir,
}

impl Keys {
    fn make() -> Self {
        let keys = Self { dir: TempDir::new().unwrap() };
        for name in ["known", "other"] {
            keys.openssl(&format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {name}.pem"));
        }
        keys
    }

    fn openssl(&self, arguments: &str) -> String {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(&self.dir).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// An edge whose origin is the bucket, below a path.
    fn edge(&self, bucket: &Bucket, origin_path: &'static str) -> Edge {
        let client = bucket.server.client();
        Edge::start(&[("KNOWN", self.openssl("pkey -in known.pem -pubout"))], move |path| {
            client.get(&format!("{origin_path}{}", &path[1..])).map(Object::Bytes)
        })
    }

    /// Lines of the configuration.
    fn configuration(&self, base_url: &str, key: &str, id: &str, more: &str) -> String {
        let pem = fs::read_to_string(self.dir.path().join(key).with_extension("pem")).unwrap();
        let mut lines = format!(
            "{more}    cloudfront:\n      base-url: {base_url}\n      keypair-id: {id}\n      private-key: |\n"
        );
        for line in pem.lines() {
            writeln!(lines, "        {line}").unwrap();
        }
        lines
    }
}

#[test]
fn what_keeps_cloudfront_from_serving_an_image_is_told() {
    let bucket = Bucket::start();
    let keys = Keys::make();
    let (plain, doubling) = (keys.edge(&bucket, ""), keys.edge(&bucket, "registry/"));
    let base = plain.base_url();
    let prefix = "    prefix: registry\n";
    let cases = [
        (keys.configuration(&base, "known", "KNOWN", prefix), "", ""),
        (
            keys.configuration(&base, "other", "KNOWN", prefix),
            "403 AccessDenied",
            "see that private-key is the one of key pair KNOWN",
        ),
        (
            keys.configuration(&base, "known", "ELSE", prefix),
            "403 InvalidKey: Unknown Key",
            "put key pair ELSE into the key group",
        ),
        (
            keys.configuration(&doubling.base_url(), "known", "KNOWN", prefix),
            "403 AccessDenied",
            "clear the distribution's origin path: URLs have the prefix `registry/` already",
        ),
        (
            keys.configuration(&format!("{base}/registry"), "known", "KNOWN", prefix),
            "403 AccessDenied",
            "remove the path `/registry` from base-url",
        ),
        (
            keys.configuration(&format!("{}/x", doubling.base_url()), "known", "KNOWN", prefix),
            "403 AccessDenied",
            "already; remove the path `/x` from base-url",
        ),
        (
            keys.configuration("http://127.0.0.1:1", "known", "KNOWN", prefix),
            "Connection refused",
            "correct base-url",
        ),
    ];
    push(&bucket.daemon(prefix));
    for (configuration, problem, advice) in cases {
        let found = check(&bucket.daemon(&configuration));
        let download = named(&found, "download from CloudFront");
        assert!(!format!("{download:?}").contains("Signature="), "{download}");
        if problem.is_empty() {
            assert_eq!(download["outcome"], "ok", "{download}");
            continue;
        }
        assert_eq!(failed(&found), [download]);
        assert!(download["detail"].as_str().unwrap().contains(problem), "{download}");
        assert!(download["advice"].as_str().unwrap().contains(advice), "{download}");
    }

    // An edge that is ahead takes every URL for expired.
    plain.set_seconds_ahead(600);
    let found = check(&bucket.daemon(&keys.configuration(&base, "known", "KNOWN", prefix)));
    let download = named(&found, "download from CloudFront");
    assert!(download["advice"].as_str().unwrap().contains("clock by NTP"), "{download}");
    let clock = found.iter().rfind(|found| found["check"] == "clock").unwrap();
    assert!(clock["detail"].as_str().unwrap().contains("s behind that of CloudFront"), "{clock}");

    // That an image is gone is no fault of the distribution.
    plain.set_seconds_ahead(0);
    let image = bucket.server.client().list("registry/images/").remove(0);
    bucket.server.client().delete(&image);
    let found = check(&bucket.daemon(&keys.configuration(&base, "known", "KNOWN", prefix)));
    let download = named(&found, "download from CloudFront");
    assert!(download["advice"].as_str().unwrap().contains("aar maintenance verify"), "{download}");
}

#[test]
fn a_sound_disk_passes_and_keeps_nothing_of_it() {
    let daemon = Daemon::spawn();
    let found = check(&daemon);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(named(&found, "free space")["detail"].as_str().unwrap().ends_with("MiB are free"));
    assert_eq!(daemon.stored_files(), [""; 0]);
    let table = daemon.aar(&["maintenance", "check-storage"]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("write, sync, read and remove a file"));
}

/// A directory that has become read-only; as it was once this is dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    /// None where this process may not mount.
    fn make(path: PathBuf) -> Option<Self> {
        if let Err(error) = mount_bind(&path, &path) {
            eprintln!("skipped: to mount is not possible here: {error}");
            return None;
        }
        let mounted = Self(path);
        mount_remount(&mounted.0, MountFlags::RDONLY | MountFlags::BIND, "").unwrap();
        Some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_root_that_is_read_only_is_told() {
    let daemon = Daemon::spawn();
    let root = daemon.base().join("data");
    // Not the root itself: in it the daemon holds its lock, as a file that is open for writing.
    let parts = ["uploads", "images/sha256", "records/applications"];
    let Some(_parts) =
        parts.map(|part| ReadOnly::make(root.join(part))).into_iter().collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let found = check(&daemon);
    for found in found.iter().filter(|found| found["check"] != "free space") {
        let detail = found["detail"].as_str().unwrap_or_else(|| panic!("{found}"));
        assert!(detail.contains("the store denies write") && detail.contains("Read-only"), "{detail}");
        assert!(found["advice"].as_str().unwrap().contains("its mount"), "{found}");
    }
    assert_eq!(failed(&found).len(), parts.len());
}
