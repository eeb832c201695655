//! Hostile input over the network, as a stranger, a client and a publisher: all of it is answered with a reason where an
//! answer is possible, and none of it makes the registry fail, panic, grow or stop serving others.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bodies;
mod crowds;
mod http1;
mod http2;
mod metadata;
mod paths;
mod slow;
mod tls;

use std::time::{Duration, Instant};

use aar_tests::{Connection, Daemon, Person, Response};

/// The most memory that a daemon may have used under attack, in KiB; as a debug build, and with an image under way.
const MEMORY: u64 = 160 << 10;

/// Where most attacks aim.
const IMAGE: &str = "/1.0/applications/game/1?architecture=x86_64";

/// Nothing in the log says that the daemon failed, and it serves.
fn assert_unharmed(daemon: &Daemon) {
    assert_unharmed_within(daemon, MEMORY);
}

/// As [`assert_unharmed`], with another limit for the memory, in KiB.
fn assert_unharmed_within(daemon: &Daemon, memory: u64) {
    let answer = daemon.connect(None).request("GET", "/1.0/status", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = daemon.log_text();
    assert!(!text.contains("panicked"), "{text}");
    for entry in daemon.log() {
        assert!(entry["status"].as_u64().is_none_or(|status| status < 500), "{entry}");
        assert_ne!(entry["level"], "ERROR", "{entry}");
    }
    let used = daemon.status("VmHWM");
    assert!(used < memory, "the daemon has used {used} KiB");
}

/// Sends bytes on a connection of their own and reads the answer.
fn exchange(daemon: &Daemon, person: Option<&Person>, bytes: &[u8]) -> Response {
    let mut connection = daemon.connect(person);
    // The answer may come before all is taken.
    let _ = connection.send(bytes);
    answer(&mut connection, bytes)
}

fn answer(connection: &mut Connection, bytes: &[u8]) -> Response {
    connection.response(false).unwrap_or_else(|error| {
        panic!("no answer to {:?}: {error}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
    })
}

/// Waits until something is so.
fn eventually(what: &str, patience: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < patience, "not so after {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The head of a push with further header lines, each ending in CRLF.
fn push_head(image: &[u8], more: &str) -> String {
    let fingerprint = aar_model::Digest::of(image);
    format!("PUT {IMAGE} HTTP/1.1\r\nhost: registry\r\nx-ams-fingerprint: {fingerprint}\r\n{more}\r\n")
}
