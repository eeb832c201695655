//! `aar sync --ams`: an AMS and a registry are in step, whatever breaks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::time::Duration;

use aar_model::Digest;
use aar_tests::ams_server::{AmsServer, Packed, package};
use aar_tests::{Daemon, Person, Syncer};
use serde_json::{Value, json};

/// `aar sync` of an AMS with a registry.
fn syncer(daemon: &Daemon, person: &Person, ams: &AmsServer, more: &[&str]) -> Syncer {
    let address = ams.address();
    let more = [&["--ams", &address, "--architecture", "x86_64"], more].concat();
    Syncer::new(daemon, person, daemon.address(), &more)
}

/// Pushes a package of the application that it is pushed as; answers its SHA-256.
fn push(daemon: &Daemon, publisher: &Person, name: &str, version: u32, fields: &Value) -> String {
    let package = package(Packed::TarBzip2, name, "", format!("{name} {version}").as_bytes());
    let path = format!("/1.0/applications/{name}/{version}?architecture=x86_64");
    let headers = [("x-ams-request", &*json!({ "application": fields }).to_string())];
    let answer = daemon.connect(Some(publisher)).push(&path, &package, &headers);
    assert_eq!(answer.status, 202, "{answer:?}");
    Digest::of(&package).to_string()
}

fn change(daemon: &Daemon, publisher: &Person, method: &str, path: &str, body: &str) {
    let answer = daemon.request(publisher, method, &format!("/1.0/applications/{path}"), body.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn published(ams: &AmsServer, name: &str) -> Vec<String> {
    ams.published().remove(name).unwrap_or_default()
}

#[test]
fn an_ams_becomes_as_the_registry_says_and_what_is_filtered_out_stays_away() {
    let daemon = Daemon::spawn();
    let ams = AmsServer::unix(daemon.scratch());
    let publisher = daemon.publisher("publisher");
    let it = syncer(&daemon, &daemon.client("client"), &ams, &["--filter=games,beta"]);
    let game: Vec<_> =
        (1..=2).map(|n| push(&daemon, &publisher, "game", n, &json!({"tags": ["games"]}))).collect();
    push(&daemon, &publisher, "tool", 1, &json!({"tags": ["tools"]}));
    let shown = it.command().args(["--dry-run", "--format=csv"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("transfer,game,1,x86_64") && !shown.contains("tool"), "{shown}");
    assert!(ams.changes().is_empty() && !it.dir.exists(), "a dry run changes nothing");

    it.in_step();
    assert_eq!((published(&ams, "game"), published(&ams, "tool")), (game.clone(), vec![]));
    assert_eq!(ams.application("game").unwrap()["tags"], json!(["games"]));
    let changes = ams.changes();
    it.in_step();
    assert_eq!(ams.changes(), changes);

    change(&daemon, &publisher, "PATCH", "game", r#"{"tags": ["beta"]}"#);
    change(&daemon, &publisher, "PATCH", "game/1", r#"{"published": false}"#);
    it.in_step();
    assert_eq!(published(&ams, "game"), game[1..]);
    assert_eq!(ams.application("game").unwrap()["tags"], json!(["beta"]));
    change(&daemon, &publisher, "DELETE", "game", "");
    it.in_step();
    assert!(ams.published().is_empty());
}

#[test]
fn a_running_one_makes_at_once_what_is_published_and_survives_what_breaks() {
    let mut daemon = Daemon::spawn();
    let ams = AmsServer::unix(daemon.scratch());
    ams.set(|ams| ams.bootstrap = Duration::from_millis(150));
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    let mut it = syncer(&daemon, &client, &ams, &["--interval=1h"]);
    it.start();
    let mut expected = vec![push(&daemon, &publisher, "game", 1, &json!({}))];
    it.eventually("in step", || published(&ams, "game") == expected);

    for version in 2..=6 {
        expected.push(push(&daemon, &publisher, "game", version, &json!({})));
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..250)));
        it.kill();
        if version == 4 {
            ams.stop();
            ams.start();
        }
        it.start();
    }
    let newest = expected.split_off(3);
    it.eventually("in step", || published(&ams, "game") == newest);
    let versions = ams.application("game").unwrap()["versions"].as_array().unwrap().len();
    assert_eq!(versions, 3, "nothing was made twice");
    it.kill();

    // The registry out of reach, nothing is removed.
    daemon.stop();
    let output = it.once(&[]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(published(&ams, "game"), newest);
}

#[test]
fn what_is_left_alone_or_refused_is_told_and_the_rest_is_done() {
    let daemon = Daemon::spawn();
    let ams = AmsServer::unix(daemon.scratch());
    let publisher = daemon.publisher("publisher");
    let it = syncer(&daemon, &daemon.client("client"), &ams, &[]);
    ams.make_by_hand(package(Packed::TarBzip2, "own", "", b"by hand"));
    let by_hand = ams.application("own");
    push(&daemon, &publisher, "own", 1, &json!({}));
    let tool = push(&daemon, &publisher, "tool", 1, &json!({}));
    let output = it.once(&[]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("`own` that is not known to come from the registry"), "{told}");
    assert_eq!((ams.application("own"), published(&ams, "tool")), (by_hand, vec![tool]));

    change(&daemon, &publisher, "DELETE", "own", "");
    let broken = push(&daemon, &publisher, "broken", 1, &json!({}));
    ams.set(|ams| ams.failing = vec![broken]);
    let output = it.once(&[]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("boot package is missing"), "{told}");
    ams.set(|ams| ams.failing.clear());
    it.in_step();
}

#[test]
fn what_ams_has_published_reaches_the_registry() {
    let daemon = Daemon::spawn();
    let ams = AmsServer::unix(daemon.scratch());
    let it = syncer(&daemon, &daemon.publisher("publisher"), &ams, &["--mode=push"]);
    let manifest = "tags: [games]\ninstance-type: a2.3\nboot-activity: .Main\n";
    let packed = package(Packed::Zip, "game", manifest, b"the game");
    ams.make_by_hand(packed);
    ams.update_base_image("game");
    it.in_step();
    let applications = || daemon.admin("GET", "/1.0/applications?recursion=1", b"").metadata();
    let there = applications();
    assert_eq!((&there[0]["name"], &there[0]["tags"]), (&json!("game"), &json!(["games"])));
    assert_eq!(there[0]["instance_type"], "a2.3");
    assert_eq!(there[0]["versions"].as_array().unwrap().len(), 2);
    assert_eq!(there[0]["versions"][1]["boot_activity"], ".Main");
    assert_eq!(there[0]["versions"][1]["published"], true);
    it.in_step();
    assert_eq!(applications(), there, "there is nothing to do");
    assert_eq!(fs::read_dir(it.dir.join("exports")).unwrap().count(), 0);

    ams.make_by_hand(package(Packed::Zip, "tool", "", b"a tool"));
    it.in_step();
    assert_eq!(applications().as_array().unwrap().len(), 2);
    ams.set(|ams| ams.extensions.clear());
    let output = it.once(&[]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("`application_image_export`"), "{told}");
}

#[test]
fn over_the_network_ams_is_who_was_pinned() {
    let daemon = Daemon::spawn();
    let (server, client) = (Person::new(daemon.scratch(), "ams"), daemon.client("client"));
    let ams = AmsServer::tls(&server, &client);
    let it = syncer(&daemon, &client, &ams, &[]);
    let game = push(&daemon, &daemon.publisher("publisher"), "game", 1, &json!({}));
    let unpinned = it.once(&[]);
    assert_eq!(unpinned.status.code(), Some(2), "{unpinned:?}");
    let wrong = it.once(&[&format!("--ams-fingerprint={}", client.fingerprint())]);
    assert_eq!(wrong.status.code(), Some(7), "{wrong:?}");
    let right = it.once(&[&format!("--ams-fingerprint={}", server.fingerprint())]);
    assert!(right.status.success(), "{right:?}");
    assert_eq!(published(&ams, "game"), [game]);
    let usage = it.once(&[&format!("--ams-fingerprint={}", server.fingerprint()), "--on-change=true"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}
