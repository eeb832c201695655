//! The headers and JSON that come with a push or a change.

use aar_model::Digest;
use aar_tests::{Daemon, Response};
use serde_json::{Value, json};

use crate::{IMAGE, assert_unharmed, exchange, push_head};

#[test]
fn a_push_needs_one_right_fingerprint() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut connection = daemon.connect(Some(&publisher));
    let right = Digest::of(b"image").to_string();
    let (upper, spaced) = (right.to_uppercase(), format!("{right} {right}"));
    let other = Digest::of(b"other").to_string();
    for fingerprint in
        ["", "0", &right[1..], &spaced, &other, "sha256:", &"g".repeat(64), &"a".repeat(30_000)]
    {
        let answer = connection.request("PUT", IMAGE, &[("x-ams-fingerprint", fingerprint)], b"image");
        assert_eq!(answer.status, 400, "{fingerprint}");
        assert!(!answer.error().is_empty());
    }
    let missing = connection.request("PUT", IMAGE, &[], b"image");
    assert!(missing.status == 400 && missing.error().contains("X-AMS-Fingerprint"), "{missing:?}");
    for second in [&right, &other] {
        let twice = [("x-ams-fingerprint", right.as_str()), ("X-AMS-Fingerprint", second)];
        let answer = connection.request("PUT", IMAGE, &twice, b"image");
        assert!(answer.status == 400 && answer.error().contains("more than once"), "{answer:?}");
    }
    let bytes = [b"PUT /1.0/applications/game/1?architecture=x86_64 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nx-ams-fingerprint: \xff\xfe\r\n\r\nimage"];
    assert_eq!(exchange(&daemon, Some(&publisher), bytes[0]).status, 400);
    assert_eq!(daemon.stored_files(), Vec::<String>::new());
    assert_eq!(connection.request("PUT", IMAGE, &[("x-ams-fingerprint", &upper)], b"image").status, 202);
    assert_unharmed(&daemon);
}

#[test]
fn metadata_that_is_not_what_it_should_be_is_refused() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let bomb = |depth| format!(r#"{{"application":{{"x":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
    let open_bomb = "[".repeat(60_000);
    let object_bomb = r#"{"version":"#.repeat(5000);
    for request in [
        "{",
        "nonsense",
        "null null",
        "{}{}",
        "\"text\"",
        "7",
        "true",
        "{\"application\":[]}",
        "{\"application\":\"game\"}",
        "{\"version\":7}",
        "{\"application\":{\"tags\":\"a\"}}",
        "{\"application\":{\"resources\":{\"cpus\":1.5}}}",
        "{\"application\":{\"vm\":\"yes\"}}",
        "{\"version\":{\"number\":2}}",
        "{\"application\":{\"name\":\"other\"}}",
        "{\"application\":{\"x\":NaN}}",
        "{\"application\":{\"x\":Infinity}}",
        "{\"application\":{\"x\":1e999}}",
        "{\"application\":{\"resources\":{\"cpus\":9223372036854775808}}}",
        "{\"application\":{\"x\":01}}",
        "{\"application\":{\"x\":\"\\ud800\"}}",
        "{\"application\":{\"x\":\"\t\"}}",
        "{\"application\":{},\"application\":{}}",
        "{\"version\":{\"published\":\"yes\"}}",
        "{\"application\":{\"tags\":[1,null]}}",
        &open_bomb,
        &object_bomb,
        &bomb(65),
        &bomb(100),
        &bomb(125),
        &bomb(126),
        &bomb(20_000),
    ] {
        let mut bytes = push_head(b"image", &format!("content-length: 5\r\nx-ams-request: {request}\r\n"));
        bytes += "image";
        let refused = exchange(&daemon, Some(&publisher), bytes.as_bytes());
        assert_eq!(refused.status, 400, "{}: {refused:?}", &request[..request.len().min(80)]);
        assert!(
            refused.error().contains("X-AMS-Request") && refused.error().len() < 500,
            "{}",
            refused.error()
        );
    }
    for value in [&b"\xff"[..], b"{\"application\":{\"x\":\"\xc3\"}}", b"\xef\xbb\xbf{}", b"{\"a\":\x80}"] {
        let head = push_head(b"image", "content-length: 5\r\nx-ams-request: ?\r\n");
        let (before, after) = head.split_once('?').map(|_| head.rsplit_once('?').unwrap()).unwrap();
        let bytes = [before.as_bytes(), value, after.as_bytes(), b"image"].concat();
        assert_eq!(exchange(&daemon, Some(&publisher), &bytes).status, 400, "{value:?}");
    }
    let twice =
        push_head(b"image", "content-length: 5\r\nx-ams-request: {}\r\nx-ams-request: {}\r\n") + "image";
    assert_eq!(exchange(&daemon, Some(&publisher), twice.as_bytes()).status, 400);
    assert_eq!(daemon.stored_files(), Vec::<String>::new());
    assert_unharmed(&daemon);
}

#[test]
fn metadata_may_be_almost_64_kib_and_gets_an_answer_beyond() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let push = |version: u32, size: usize| -> Response {
        let frame = r#"{"application":{"x-long":""}}"#;
        let request = frame.replace("\"\"", &format!("\"{}\"", "a".repeat(size - frame.len())));
        let path = format!("/1.0/applications/game/{version}?architecture=x86_64");
        daemon.connect(Some(&publisher)).push(&path, b"image", &[("x-ams-request", &request)])
    };
    assert_eq!(push(1, 64_000).status, 202);
    let shown = daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata();
    assert!(shown["x-long"].as_str().unwrap().len() > 63_000);
    for (version, size) in [(2, 140_000), (3, 200_000), (4, 1_000_000)] {
        assert_eq!(push(version, size).status, 431);
    }
    assert_unharmed(&daemon);
}

#[test]
fn what_was_taken_can_always_be_read_again() {
    let mut daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let push = |daemon: &Daemon, version: u32, request: &str| {
        let path = format!("/1.0/applications/game/{version}?architecture=x86_64");
        daemon.connect(Some(&publisher)).push(&path, b"image", &[("x-ams-request", request)]).status
    };
    assert_eq!(push(&daemon, 1, "{}"), 202);
    let mut deepest = 0;
    for depth in [1, 10, 60, 64, 65, 100, 120, 121, 122, 123, 124, 125, 126, 127, 128] {
        let patch = format!("{{\"x-deep\":{}}}", nested(depth));
        let answer = daemon.request(&publisher, "PATCH", "/1.0/applications/game", patch.as_bytes());
        assert!(matches!(answer.status, 202 | 400), "{depth}: {answer:?}");
        if answer.status == 202 {
            deepest = depth;
        }
        let version = u32::try_from(depth).unwrap() + 1;
        for request in ["{\"application\":{\"x-deep\":?}}", "{\"version\":{\"x-deep\":?}}"] {
            let status = push(&daemon, version, &request.replace('?', &nested(depth)));
            assert!(matches!(status, 202 | 400), "{depth}: {status}");
        }
        assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications?recursion=1", b"").status, 200);
    }
    assert_eq!(deepest, 64);
    let odd = json!({ "x-odd": [0.1, 1e308, -0.0, 5e-324, 2.225_073_858_507_201e-308, u64::MAX, i64::MIN, "\u{0}\u{202e}", {"": null}] });
    assert_eq!(
        daemon.request(&publisher, "PATCH", "/1.0/applications/game", odd.to_string().as_bytes()).status,
        202
    );
    let twice = b"{\"tags\":[\"first\"],\"tags\":[\"second\"]}";
    assert_eq!(daemon.request(&publisher, "PATCH", "/1.0/applications/game", twice).status, 202);

    let before = daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata();
    assert_eq!((&before["x-odd"], &before["tags"]), (&odd["x-odd"], &json!(["second"])));
    assert_eq!(daemon.admin("POST", "/1.0/maintenance/rebuild", b"").metadata()["damaged"], 0);
    assert!(daemon.stop().success());
    daemon.start();
    let after: Value = daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata();
    assert_eq!(after, before);
    assert_unharmed(&daemon);
}

#[test]
fn a_change_that_is_no_object_of_fields_is_refused() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    assert_eq!(daemon.push(&publisher, IMAGE, b"image").status, 202);
    let mut connection = daemon.connect(Some(&publisher));
    let bomb = "[".repeat(1 << 19);
    for body in [
        "{",
        "[]",
        "7",
        "\"x\"",
        "{}x",
        "{\"a\":}",
        "\u{feff}{}",
        "{\"tags\":NaN}",
        "{\"tags\":1e999}",
        &bomb,
    ] {
        let refused = connection.request("PATCH", "/1.0/applications/game", &[], body.as_bytes());
        assert_eq!(refused.status, 400, "{body:.40}: {refused:?}");
        assert!(refused.error().len() < 500);
    }
    for body in [&b"\xff"[..], b"{\"tags\":[\"\xc3\"]}", &[0; 1000]] {
        assert_eq!(connection.request("PATCH", "/1.0/applications/game", &[], body).status, 400);
    }
    for body in ["{\"published\":1}", "{\"published\":\"false\"}", "7", "{"] {
        assert_eq!(
            connection.request("PATCH", "/1.0/applications/game/1", &[], body.as_bytes()).status,
            400,
            "{body}"
        );
    }
    for body in ["{\"force\":1}", "{\"ids\":[1]}", "{\"ids\":\"game\"}", "{\"ids\":[]}", "{}", ""] {
        assert_eq!(
            connection.request("DELETE", "/1.0/applications", &[], body.as_bytes()).status,
            400,
            "{body}"
        );
    }
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/game/1", b"").body, b"image");
    assert_unharmed(&daemon);
}

#[test]
fn conditions_and_ranges_that_mean_nothing_are_no_failure() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    assert_eq!(daemon.push(&publisher, IMAGE, b"image").status, 202);
    let mut connection = daemon.connect(Some(&publisher));
    let many = format!("bytes={}", (0..5000).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
    for (name, value) in [
        ("range", "bytes=9-1"),
        ("range", "bytes=-"),
        ("range", "bytes=18446744073709551615-"),
        ("range", "bytes=--1"),
        ("range", "bytes=0-18446744073709551616"),
        ("range", "lines=1-2"),
        ("range", &many),
        ("range", "bytes=-0"),
        ("if-none-match", "\""),
        ("if-none-match", "W/"),
        ("if-none-match", ",,,"),
        ("if-range", "never"),
        ("if-match", "\"\"\""),
        ("if-none-match", &"\"x\",".repeat(10_000)),
        ("accept", "\u{1}x"),
        ("te", "gzip"),
    ] {
        let Ok(answer) = connection.try_request("GET", "/1.0/applications/game/1", &[(name, value)], b"")
        else {
            connection = daemon.connect(Some(&publisher));
            continue;
        };
        assert!(matches!(answer.status, 200 | 206 | 400 | 416), "{name}: {value:.60}: {answer:?}");
        if answer.header("connection") == Some("close") {
            connection = daemon.connect(Some(&publisher));
        }
    }
    assert_unharmed(&daemon);
}
