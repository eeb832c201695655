//! Trust: who is let in, as what, and that a change counts at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt;

use aar_tests::{Daemon, Person};
use serde_json::{Value, json};

const IMAGE: &str = "/1.0/applications/game/1?architecture=x86_64";

#[test]
fn strangers_see_the_public_paths_and_nothing_else() {
    let daemon = Daemon::spawn();
    let stranger = Person::new(daemon.scratch(), "stranger");
    for person in [None, Some(&stranger)] {
        for (method, path) in [
            ("GET", "/1.0/applications"),
            ("GET", "/1.0/applications/game"),
            ("GET", "/1.0/applications/game/1"),
            ("HEAD", "/1.0/applications/game/1"),
            ("GET", "/1.0/registry/applications"),
            ("GET", "/1.0/operations"),
            ("PATCH", "/1.0/applications/game"),
            ("DELETE", "/1.0/applications/game"),
            ("POST", "/1.0/applications"),
        ] {
            assert_eq!(daemon.connect(person).request(method, path, &[], b"").status, 401, "{method} {path}");
        }
        let refused = daemon.connect(person).push(IMAGE, &vec![7; 3_000_000], &[]);
        assert_eq!(refused.status, 401);
        assert!(refused.error().contains("aar trust add"));
        assert_eq!(daemon.connect(person).request("GET", "/1.0/status", &[], b"").status, 200);
    }
    assert_eq!(daemon.stored_files(), Vec::<String>::new());
    let refusal = daemon.log().into_iter().find(|entry| {
        entry["message"] == "request refused" && entry["fingerprint"] == stranger.fingerprint().to_string()
    });
    let refusal = refusal.expect("the refusal is logged");
    assert_eq!((&refusal["level"], &refusal["status"]), (&"WARN".into(), &401.into()));
    for field in ["peer", "method", "path", "reason", "request_id"] {
        assert!(refusal[field].is_string(), "{field}: {refusal}");
    }
}

#[test]
fn a_client_reads_and_may_not_write() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let publisher = daemon.publisher("publisher");
    assert_eq!(daemon.push(&publisher, IMAGE, b"image").status, 202);
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game/1", b"").body, b"image");
    for (method, path, body) in [
        ("PUT", IMAGE, &b"image"[..]),
        ("POST", "/1.0/applications", b""),
        ("PATCH", "/1.0/applications/game", b"{}"),
        ("PATCH", "/1.0/applications/game/1", b"{}"),
        ("DELETE", "/1.0/applications/game", b""),
        ("DELETE", "/1.0/applications/game/1", b""),
        ("DELETE", "/1.0/applications", b""),
        ("DELETE", "/1.0/registry/applications/game", b""),
    ] {
        let refused = daemon.request(&client, method, path, body);
        assert_eq!(refused.status, 403, "{method} {path}");
        assert!(refused.error().contains("publisher"), "{}", refused.error());
    }
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game/1", b"").body, b"image");
}

#[test]
fn administration_is_not_on_the_network_even_for_publishers() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    for (method, path) in [
        ("GET", "/1.0/certificates"),
        ("POST", "/1.0/certificates"),
        ("GET", "/1.0/metrics"),
        ("POST", "/1.0/maintenance/rebuild"),
        ("POST", "/1.0/maintenance/check-storage"),
    ] {
        assert_eq!(daemon.request(&publisher, method, path, b"").status, 404, "{method} {path}");
    }
    let mode = std::fs::metadata(daemon.base().join("run/aar.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn trusting_removing_and_revoking_act_at_once_on_open_connections() {
    let daemon = Daemon::spawn();
    let person = Person::new(daemon.scratch(), "person");
    let fingerprint = person.fingerprint().to_string();
    let mut open = daemon.connect(Some(&person));
    let mut status = || open.request("GET", "/1.0/applications", &[], b"").status;
    assert_eq!(status(), 401);
    daemon.trust(&person, "client");
    assert_eq!(status(), 200);
    assert_eq!(daemon.admin("DELETE", &format!("/1.0/certificates/{fingerprint}"), b"").status, 200);
    assert_eq!(status(), 401);
    daemon.trust(&person, "client");
    assert_eq!(status(), 200);
    assert_eq!(
        daemon.admin("POST", &format!("/1.0/certificates/{}/revoke", &fingerprint[..8]), b"").status,
        200
    );
    assert_eq!(status(), 401);
    let body = json!({ "certificate": person.pem(), "role": "client" }).to_string();
    let again = daemon.admin("POST", "/1.0/certificates", body.as_bytes());
    assert_eq!(again.status, 409);
    assert!(again.error().contains("never"), "{}", again.error());
    assert_eq!(status(), 401);
}

#[test]
fn trust_survives_a_kill_and_is_listed_with_its_facts() {
    let mut daemon = Daemon::spawn();
    let client = daemon.client("client");
    let publisher = daemon.publisher("publisher");
    let revoked = daemon.client("revoked");
    daemon.admin("POST", &format!("/1.0/certificates/{}/revoke", revoked.fingerprint()), b"");
    daemon.kill();
    daemon.start();
    assert_eq!(daemon.request(&client, "GET", "/1.0", b"").metadata()["role"], "client");
    assert_eq!(daemon.request(&publisher, "GET", "/1.0", b"").metadata()["role"], "publisher");
    assert_eq!(daemon.request(&revoked, "GET", "/1.0/applications", b"").status, 401);
    let list = |query| daemon.admin("GET", &format!("/1.0/certificates{query}"), b"").metadata();
    let trusted = list("");
    let names: Vec<_> = trusted.as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, ["client", "publisher"]);
    for entry in trusted.as_array().unwrap() {
        assert_eq!(entry["sources"], json!(["operator"]));
        assert!(entry["added_at"].as_i64().unwrap() > 1_700_000_000);
        assert_eq!(entry["revoked_at"], Value::Null);
    }
    assert_eq!(trusted[0]["fingerprint"], client.fingerprint().to_string());
    assert!(trusted[0]["last_seen_at"].is_i64(), "{trusted}");
    assert_eq!(list("?revoked=true")[0]["fingerprint"], revoked.fingerprint().to_string());
}

#[test]
fn adding_twice_changes_nothing_and_another_role_is_taken_over() {
    let daemon = Daemon::spawn();
    let person = Person::new(daemon.scratch(), "person");
    let add = |role: &str| {
        let body = json!({ "certificate": person.pem(), "role": role }).to_string();
        let answer = daemon.admin("POST", "/1.0/certificates", body.as_bytes());
        (answer.status, answer.metadata()["change"].as_str().unwrap().to_owned())
    };
    assert_eq!(add("client"), (201, "added".into()));
    assert_eq!(add("client"), (200, "unchanged".into()));
    assert_eq!(add("publisher"), (200, "role_changed".into()));
    assert_eq!(daemon.request(&person, "GET", "/1.0", b"").metadata()["role"], "publisher");
    for garbage in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let body = json!({ "certificate": garbage }).to_string();
        assert_eq!(daemon.admin("POST", "/1.0/certificates", body.as_bytes()).status, 400, "{garbage}");
    }
    for prefix in ["abc", "zzzzzzzz", "0123456789abcdef"] {
        let status = daemon.admin("DELETE", &format!("/1.0/certificates/{prefix}"), b"").status;
        assert!(matches!(status, 400 | 404), "{prefix}: {status}");
    }
}

#[test]
fn certificates_of_every_kind_are_known_by_their_leaf_and_their_dates_count() {
    let daemon = Daemon::spawn();
    let dir = daemon.scratch();
    let authority = Person::new(dir, "authority");
    for (person, status) in [
        (Person::builder("rsa").rsa().build(dir), 200),
        (Person::builder("issued").issued_by(&authority).build(dir), 200),
        (Person::builder("expired").validity(-7200..-3600).build(dir), 401),
        (Person::builder("early").validity(3600..7200).build(dir), 401),
    ] {
        daemon.trust(&person, "client");
        let answer = daemon.request(&person, "GET", "/1.0/applications", b"");
        assert_eq!(answer.status, status, "{person:?}");
    }
    // To trust an authority is not to trust what it signs.
    daemon.trust(&authority, "client");
    let unknown = Person::builder("unknown").issued_by(&authority).build(dir);
    assert_eq!(daemon.request(&unknown, "GET", "/1.0/applications", b"").status, 401);
}

#[test]
fn forwarded_for_headers_are_not_believed() {
    let daemon = Daemon::spawn();
    let forged = [("x-forwarded-for", "10.9.8.7"), ("forwarded", "for=10.9.8.7"), ("x-real-ip", "10.9.8.7")];
    assert_eq!(daemon.connect(None).request("GET", "/1.0/applications", &forged, b"").status, 401);
    let log = daemon.log_text();
    assert!(log.contains("request refused") && !log.contains("10.9.8.7"), "{log}");
}
