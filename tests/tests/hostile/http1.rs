//! HTTP/1 as no client should speak it.

use std::io::{Read, Write};

use aar_tests::{Connection, Daemon, Person};

use crate::{assert_unharmed, exchange};

/// All that is answered until the connection is closed, or stays open without another byte for a while.
fn all_answers(daemon: &Daemon, person: Option<&Person>, bytes: &[u8]) -> String {
    let mut stream = Connection::tls_stream(daemon.address(), person).unwrap();
    stream.get_ref().set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)).collect()
}

#[test]
fn heads_that_are_no_http_are_answered() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    for head in [
        "GET /1.0/status\r\n\r\n",
        "GET\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "GET /1.0/status HTTP/9.9\r\n\r\n",
        "GET /1.0/status HTTP/1.1 x\r\n\r\n",
        "GET  /1.0/status HTTP/1.1\r\n\r\n",
        "GET /1.0/status http/1.1\r\n\r\n",
        "G\0T /1.0/status HTTP/1.1\r\n\r\n",
        "G(T /1.0/status HTTP/1.1\r\n\r\n",
        "GET /1.0/sta\x01tus HTTP/1.1\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nhost : x\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\n host: x\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\n: no name\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nx: a\0b\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nx: a\rb\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nx y: z\r\n\r\n",
        "\r\n\r\n\r\n?\r\n\r\n",
        "{\"method\": \"GET\"}\r\n\r\n",
    ] {
        for person in [None, Some(&client)] {
            let answer = exchange(&daemon, person, head.as_bytes());
            assert!((400..=505).contains(&answer.status) && answer.status != 500, "{head:?}: {answer:?}");
        }
    }
    // HTTP/2 without having agreed on it is hung up on.
    let mut connection = daemon.connect(None);
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert!(connection.is_closed());
    let every_byte: Vec<u8> = (0..=255).cycle().skip(128).take(200_000).collect();
    assert_eq!(exchange(&daemon, None, &every_byte).status, 400);
    assert_unharmed(&daemon);
}

#[test]
fn old_and_odd_versions_of_http_are_served_or_refused() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let mut old = daemon.connect(Some(&client));
    old.send(b"GET /1.0/applications HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(old.response(false).unwrap().status, 200);
    assert!(old.is_closed());
    // Bare line feeds are as good as CRLF, leading empty lines are passed over, and there is nothing to upgrade to.
    for head in [
        "GET /1.0/status HTTP/1.1\nhost: x\n\n",
        "\r\n\r\nGET /1.0/status HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nhost: x\r\nhost: y\r\naccept: a\r\naccept: b\r\n\r\n",
        "GET /1.0/status HTTP/1.1\r\nhost: ä\r\nexpect: the-unexpected\r\n\r\n",
    ] {
        assert_eq!(exchange(&daemon, None, head.as_bytes()).status, 200, "{head:?}");
    }
    assert_unharmed(&daemon);
}

#[test]
fn no_request_is_smuggled_in_another() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let patch = |framing: &str, body: &str| {
        format!("PATCH /1.0/applications/none HTTP/1.1\r\nhost: x\r\n{framing}\r\n{body}")
    };
    let smuggled = "GET /1.0/version HTTP/1.1\r\nhost: x\r\n\r\n";
    let whole = format!("0\r\n\r\n{smuggled}");
    let length = whole.len();

    // Where one of two readings would hide a request, the connection ends with the first answer.
    for (framing, body) in [
        (format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"), whole.as_str()),
        (format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"), &whole),
        (format!("content-length: 0\r\ncontent-length: {length}\r\n"), &whole),
        (format!("content-length: {length}, 0\r\n"), &whole),
        ("transfer-encoding: chunked, identity\r\n".to_owned(), &whole),
        ("transfer-encoding: identity\r\n".to_owned(), &whole),
        ("transfer-encoding: gzip\r\n".to_owned(), &whole),
        ("transfer-encoding: xchunked\r\n".to_owned(), &whole),
        (format!("transfer-encoding : chunked\r\ncontent-length: {length}\r\n"), &whole),
        (format!("transfer-encoding:\x0bchunked\r\ncontent-length: {length}\r\n"), &whole),
        (format!("x: y\r\n transfer-encoding: chunked\r\ncontent-length: {length}\r\n"), &whole),
        (format!("content_length: 0\r\ncontent-length: 0{length}\r\n"), &whole),
    ] {
        let answers = all_answers(&daemon, Some(&publisher), patch(&framing, body).as_bytes());
        let seen = statuses(&answers);
        assert!(matches!(seen.as_slice(), ["400" | "404" | "501"]), "{framing:?}: {answers}");
        assert!(!answers.contains("\"version\""), "{framing:?}: {answers}");
    }
    // Two lengths that agree are one.
    let answers = all_answers(
        &daemon,
        Some(&publisher),
        (patch("content-length: 2\r\ncontent-length: 2\r\n", "{}") + smuggled).as_bytes(),
    );
    assert!(matches!(statuses(&answers).as_slice(), ["404", "200"] | ["400"]), "{answers}");
    // HTTP/1.0 knows no chunks.
    let old = patch("transfer-encoding: chunked\r\n", &whole)
        .replace("HTTP/1.1\r\nhost: x\r\ntransfer", "HTTP/1.0\r\nhost: x\r\ntransfer");
    let answers = all_answers(&daemon, Some(&publisher), old.as_bytes());
    assert_eq!(statuses(&answers), ["400"], "{answers}");
    // Requests that come at once are answered in turn.
    let answers = all_answers(&daemon, Some(&publisher), smuggled.repeat(200).as_bytes());
    assert_eq!(statuses(&answers), ["200"; 200]);
    assert_unharmed(&daemon);
}

#[test]
fn many_or_large_headers_are_answered() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let get = |headers: &str| format!("GET /1.0/applications HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let lines = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<Vec<_>>().concat();
    assert_eq!(exchange(&daemon, Some(&client), get(&lines(90)).as_bytes()).status, 200);
    for headers in [
        lines(200),
        lines(10_000),
        "a:\r\n".repeat(30_000),
        format!("x: {}\r\n", "y".repeat(140_000)),
        format!("{}: y\r\n", "x".repeat(140_000)),
        format!("x: {}\r\n", "y".repeat(8_000_000)),
        "cookie: a=b\r\n".repeat(100_000),
    ] {
        assert_eq!(exchange(&daemon, Some(&client), get(&headers).as_bytes()).status, 431, "{headers:.60}");
    }
    for size in [60_000, 70_000, 2_000_000] {
        let line = format!("GET /1.0/applications?name={} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(size));
        let status = exchange(&daemon, Some(&client), line.as_bytes()).status;
        assert!(matches!(status, 200 | 414 | 431), "{size}: {status}");
        let line = format!("{} / HTTP/1.1\r\nhost: x\r\n\r\n", "X".repeat(size));
        let status = exchange(&daemon, None, line.as_bytes()).status;
        assert!(matches!(status, 400 | 405 | 414 | 431), "{size}: {status}");
    }
    assert_unharmed(&daemon);
}
