//! The registry on S3: real servers behind a proxy that records every call, holds it against the policy that operators are
//! given, and misbehaves where a test says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crash;
mod flow;
mod instance;
mod memory;
mod misbehaviour;
mod outage;
mod secrets;
mod uploads;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aar_tests::s3::{IamPolicy, MetadataServer, Proxy, S3Server};
use aar_tests::{Daemon, DaemonBuilder, Person, Response};
use openssl::pkey::{PKey, Private};

/// What the keys begin with that a registry tries its bucket with.
const SCRATCH: &str = "uploads/check-";

/// A place in a server's bucket, reached through a proxy of its own.
struct Bucket {
    server: Arc<S3Server>,
    proxy: Proxy,
    prefix: String,
}

impl Bucket {
    fn on(server: Arc<S3Server>) -> Self {
        let proxy = Proxy::in_front_of(&server.endpoint);
        Self { server, proxy, prefix: format!("e2e-{:016x}/", fastrand::u64(..)) }
    }

    fn juicefs() -> Self {
        Self::on(S3Server::shared_juicefs())
    }

    fn builder(&self) -> DaemonBuilder {
        Daemon::builder().bucket(&self.server, &self.proxy.endpoint(), &self.prefix)
    }

    /// A daemon that has its credentials of an instance profile.
    fn builder_without_keys(&self, metadata: &MetadataServer) -> DaemonBuilder {
        let storage = self.server.configuration(&self.proxy.endpoint(), &self.prefix);
        let keyless: Vec<_> =
            storage.split_inclusive('\n').filter(|line| !line.contains("access-key")).collect();
        Daemon::builder()
            .configuration(&keyless.concat())
            .environment("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint())
    }

    /// A daemon that has tried the bucket and asks nothing of it any more by itself.
    fn daemon(&self) -> Daemon {
        let mut daemon = self.builder().start();
        daemon.wait_for_log("the storage was tried");
        daemon
    }

    /// What is stored, as keys below the prefix, but for what a daemon that has just started tries the bucket with.
    fn objects(&self) -> Vec<String> {
        let keys = self.server.client().list(&self.prefix);
        let keys = keys.iter().map(|key| key.strip_prefix(&self.prefix).unwrap().to_owned());
        keys.filter(|key| !key.starts_with(SCRATCH)).collect()
    }

    /// Keys of the multipart uploads that are under way or were left, but for the same.
    fn uploads(&self) -> Vec<String> {
        let uploads = self.server.client().uploads().into_iter();
        let keys = uploads.filter_map(|upload| upload.key.strip_prefix(&self.prefix).map(str::to_owned));
        keys.filter(|key| !key.starts_with(SCRATCH)).collect()
    }

    /// Nothing is left of any push: no upload, and no note of one.
    fn assert_swept(&self) {
        assert_eq!(self.uploads(), [""; 0]);
        let notes: Vec<_> = self.objects().into_iter().filter(|key| key.starts_with("uploads/")).collect();
        assert_eq!(notes, [""; 0]);
    }

    /// Requests that have come by the proxy.
    fn asked(&self) -> usize {
        self.proxy.requests().len()
    }
}

impl Drop for Bucket {
    /// Whatever a test did, its registry kept to the policy.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.proxy.assert_permitted(&IamPolicy::of_registry(&self.server.bucket));
        }
    }
}

/// CloudFront as the configuration has it, below `s3:`.
fn cloudfront(base_url: &str, private_key: &PKey<Private>, hash: &str) -> String {
    let pem = String::from_utf8(private_key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let pem = pem.trim_end().replace('\n', "\n        ");
    format!(
        "    cloudfront:\n      base-url: {base_url}\n      keypair-id: KEYPAIR\n      hash-algorithm: {hash}\n      \
         private-key: |\n        {pem}\n"
    )
}

/// An image without a pattern, unlike all others.
fn image(size: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u64(..).to_le_bytes())
        .take(size.div_ceil(8))
        .flatten()
        .take(size)
        .collect()
}

fn path(app: &str) -> String {
    format!("/1.0/applications/{app}/1?architecture=x86_64")
}

fn push(daemon: &Daemon, publisher: &Person, app: &str, image: &[u8]) {
    let answer = daemon.push(publisher, &path(app), image);
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Where somebody is sent for an image.
fn location(daemon: &Daemon, person: &Person, app: &str) -> String {
    let answer = daemon.request(person, "GET", &path(app), b"");
    assert_eq!(answer.status, 307, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

/// A GET by curl, which is nobody: it has no certificate.
fn curl(url: &str, arguments: &[&str]) -> Response {
    let dir = tempfile::tempdir().unwrap();
    let file = |name| dir.path().join(name).to_str().unwrap().to_owned();
    let (head, body) = (file("head"), file("body"));
    let output = Command::new("curl")
        .args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60"])
        .args(["--dump-header", &head, "--output", &body])
        .args(arguments)
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let head = std::fs::read_to_string(head).unwrap();
    let mut lines = head.trim_end().rsplit("\r\n\r\n").next().unwrap().lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    Response { status, headers, body: std::fs::read(body).unwrap_or_default() }
}

fn applications(daemon: &Daemon, person: &Person) -> serde_json::Value {
    daemon.request(person, "GET", "/1.0/applications?recursion=1", b"").metadata()
}

fn status(daemon: &Daemon) -> String {
    let answer = daemon.connect(None).request("GET", "/1.0/status", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.metadata().as_str().unwrap().to_owned()
}

/// Waits until something holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: never");
        std::thread::sleep(Duration::from_millis(50));
    }
}
