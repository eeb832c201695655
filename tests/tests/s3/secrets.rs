//! Secrets: neither log, metrics, process arguments nor answers have them, at whatever level and whatever fails.

use std::fs;
use std::time::Duration;

use aar_tests::s3::{Fault, InstanceCredentials, MetadataServer, S3Server, Tokens, When};
use aar_tests::{Daemon, Person};
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use rustix::process::Signal;

use crate::{Bucket, applications, cloudfront, eventually, image, location, path, push};

/// What was seen of a daemon, and what must not be in it.
#[derive(Default)]
struct Watch {
    seen: Vec<(&'static str, String)>,
    secrets: Vec<(&'static str, String)>,
}

impl Watch {
    fn look(&mut self, daemon: &Daemon) {
        self.seen.push(("the log", daemon.log_text()));
        let metrics = daemon.admin("GET", "/1.0/metrics", b"").body;
        self.seen.push(("the metrics", String::from_utf8(metrics).unwrap()));
        for file in ["cmdline", "status"] {
            let path = format!("/proc/{}/{file}", daemon.pid());
            self.seen.push(("ps", fs::read_to_string(path).unwrap()));
        }
    }

    /// What signs a URL is a secret, too.
    fn signature(&mut self, url: &str) {
        for pair in url.split_once('?').unwrap().1.split('&') {
            if let Some(("X-Amz-Signature" | "X-Amz-Security-Token" | "Signature", value)) =
                pair.split_once('=')
            {
                self.secrets.push(("a signature or token", value.to_owned()));
            }
        }
    }

    fn assert_kept(&self) {
        assert!(self.seen.iter().any(|(place, text)| *place == "the log" && text.contains("\"TRACE\"")));
        for (what, secret) in &self.secrets {
            assert!(secret.len() > 8, "{what}: too short to look for");
            for (place, text) in &self.seen {
                assert!(!text.contains(secret), "{what} is in {place}:\n{}", line(text, secret));
            }
        }
        // Not even those that are no longer known.
        for part in ["X-Amz-Signature=", "Signature=", "PRIVATE KEY"] {
            for (place, text) in &self.seen {
                assert!(!text.contains(part), "{part} is in {place}:\n{}", line(text, part));
            }
        }
    }
}

fn line<'a>(text: &'a str, part: &str) -> &'a str {
    text.lines().find(|line| line.contains(part)).unwrap_or_default()
}

/// Pushes, redirects, failures of store and publisher.
fn exercise(bucket: &Bucket, daemon: &Daemon, publisher: &Person, watch: &mut Watch) {
    push(daemon, publisher, "game", &image(9 << 20));
    watch.signature(&location(daemon, publisher, "game"));
    let skewed = Fault::request_time_too_skewed();
    let faults = [
        Fault::access_denied(),
        Fault::invalid_access_key_id(),
        Fault::no_such_bucket(),
        skewed,
        Fault::permanent_redirect("eu-west-3"),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        bucket.proxy.misbehave(When::always(), fault);
        let answer = daemon.push(publisher, &path(&format!("refused-{number}")), &image(1000));
        assert_eq!(answer.status, 503, "{answer:?}");
        watch.seen.push(("an answer", format!("{answer:?} {}", String::from_utf8_lossy(&answer.body))));
        bucket.proxy.behave();
    }
    bucket.proxy.misbehave(When::operation("UploadPart").times(1), Fault::HeaderNotAscii);
    bucket.proxy.misbehave(When::operation("CompleteMultipartUpload").times(1), Fault::ResetAfter);
    push(daemon, publisher, "again", &image(9 << 20));
    assert_eq!(applications(daemon, publisher).as_array().unwrap().len(), 2);
    watch.look(daemon);
}

fn reload_failed(daemon: &Daemon, count: usize) {
    let failures = || {
        let log = daemon.log();
        log.iter().filter(|e| e["message"].as_str().is_some_and(|m| m.starts_with("cannot reload"))).count()
    };
    eventually("the reload fails", || failures() == count);
}

#[test]
fn keys_and_signatures_are_seen_nowhere() {
    let bucket = Bucket::juicefs();
    let mut watch = Watch::default();
    let secret = bucket.server.secret_access_key.clone();
    watch.secrets.push(("the secret access key", secret.clone()));
    let mut daemon = bucket.builder().log_level("trace").start();
    let publisher = daemon.publisher("publisher");
    exercise(&bucket, &daemon, &publisher, &mut watch);

    // A reload, and configurations with an error next to the secret.
    let config = daemon.base().join("config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("reloaded");
    for (number, wrong) in [
        text.replace("secret-access-key: ", "secret-access-key: a b "),
        text.replace("secret-access-key: ", "secret-key: "),
        text.replace("    region: us-east-1\n", ""),
        text.replace("secret-access-key: ", "secret-access-key: ["),
    ]
    .into_iter()
    .enumerate()
    {
        assert_ne!(wrong, text);
        fs::write(&config, wrong).unwrap();
        daemon.signal(Signal::HUP);
        reload_failed(&daemon, number + 1);
        watch.look(&daemon);
    }
    watch.assert_kept();
}

#[test]
fn private_keys_are_seen_nowhere() {
    let bucket = Bucket::juicefs();
    let mut watch = Watch::default();
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let pem = String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    watch.secrets.push(("the secret access key", bucket.server.secret_access_key.clone()));
    for line in pem.lines().filter(|line| !line.starts_with("-----")) {
        watch.secrets.push(("a line of the private key", line.to_owned()));
    }
    let cloudfront = cloudfront("d111111abcdef8.cloudfront.net", &key, "SHA1");
    let mut daemon = bucket.builder().log_level("trace").configuration(&cloudfront).start();
    let publisher = daemon.publisher("publisher");
    exercise(&bucket, &daemon, &publisher, &mut watch);
    let config = daemon.base().join("config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let first = pem.lines().nth(1).unwrap();
    for (number, wrong) in [
        text.replace(first, &first[1..]),
        text.replace("keypair-id: KEYPAIR", &format!("keypair-id: '{first}+'")),
        text.replace("private-key: |", "privatekey: |"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_ne!(wrong, text);
        fs::write(&config, wrong).unwrap();
        daemon.signal(Signal::HUP);
        reload_failed(&daemon, number + 1);
        watch.look(&daemon);
    }
    fs::write(&config, text).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("reloaded");
    watch.look(&daemon);
    watch.assert_kept();
}

#[test]
fn session_tokens_are_seen_nowhere() {
    let bucket = Bucket::juicefs();
    let mut watch = Watch::default();
    let metadata = MetadataServer::new(Tokens::Required);
    let token = "FwoGZXIvYXdzEBYaDHRlc3RzIG9ubHkgdG9rZW4";
    watch.secrets.push(("the secret access key", bucket.server.secret_access_key.clone()));
    watch.secrets.push(("the session's token", token.into()));
    let credentials = |token: &str, life| {
        let S3Server { access_key, secret_access_key, .. } = &*bucket.server;
        InstanceCredentials::new(access_key, secret_access_key, token, Duration::from_secs(life))
    };
    // The server knows no sessions: a push takes an empty token.
    metadata.attach("registry", credentials("", 6));
    let daemon = bucket.builder_without_keys(&metadata).log_level("trace").start();
    let publisher = daemon.publisher("publisher");
    push(&daemon, &publisher, "game", &image(1000));

    metadata.attach("registry", credentials(token, 3600));
    eventually("the token is used", || location(&daemon, &publisher, "game").contains(token));
    watch.signature(&location(&daemon, &publisher, "game"));
    let answer = daemon.push(&publisher, &path("refused"), &image(1000));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(bucket.proxy.requests().last().unwrap().has_session_token);
    watch.seen.push(("an answer", format!("{answer:?} {}", String::from_utf8_lossy(&answer.body))));
    watch.look(&daemon);
    watch.assert_kept();
}
