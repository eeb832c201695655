//! Bodies that are cut off, too long, too short, too large, or not what their headers say.

use std::io::{Read, Write};
use std::time::Duration;

use aar_tests::{Connection, Daemon};
use openssl::ssl::ShutdownResult;
use serde_json::json;

use crate::{IMAGE, answer, assert_unharmed, eventually, exchange, push_head};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_push_cut_off_at_any_byte_leaves_nothing() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut reader = daemon.connect(Some(&publisher));
    let metadata = "x-ams-request: {\"application\":{\"tags\":[\"cut\"]}}\r\n";
    let small = b"an image".to_vec();
    let large: Vec<u8> = (0..400_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let whole = |image: &[u8], lines: &str| {
        let mut bytes = push_head(image, &format!("{metadata}{lines}")).into_bytes();
        let head = bytes.len();
        (head, {
            bytes.extend(image);
            bytes
        })
    };
    let (_, plain) = whole(&small, "content-length: 8\r\n");
    let (_, chunked) = whole(b"4\r\nan i\r\n4\r\nmage\r\n0\r\n\r\n", "transfer-encoding: chunked\r\n");
    let (head, big) = whole(&large, "content-length: 400000\r\n");
    let cuts = (1..plain.len()).map(|end| &plain[..end]);
    let cuts = cuts.chain((chunked.len() - 25..chunked.len()).map(|end| &chunked[..end]));
    let cuts = cuts.chain((head..big.len()).step_by(37_001).map(|end| &big[..end]));
    for bytes in cuts.chain([&big[..big.len() - 1]]) {
        daemon.connect(Some(&publisher)).send(bytes).unwrap();
        let list = reader.request("GET", "/1.0/applications?recursion=1", &[], b"");
        assert_eq!(list.metadata(), json!([]), "{} bytes", bytes.len());
    }
    eventually("nothing is stored", SOON, || daemon.stored_files().is_empty());
    assert_eq!(reader.request("GET", "/1.0/applications", &[], b"").metadata(), json!([]));
    let running = || {
        let list = daemon.request(&publisher, "GET", "/1.0/operations?recursion=1", b"").metadata();
        list.get("running").is_some()
    };
    eventually("no operation goes on", SOON, || !running());
    assert_eq!(daemon.push(&publisher, IMAGE, &small).status, 202);
    assert_unharmed(&daemon);
}

#[test]
fn a_sender_that_ends_its_side_early_is_told_so() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut stream = Connection::tls_stream(daemon.address(), Some(&publisher)).unwrap();
    stream.write_all(push_head(b"image", "content-length: 5\r\n").as_bytes()).unwrap();
    stream.write_all(b"ima").unwrap();
    assert_eq!(stream.shutdown().unwrap(), ShutdownResult::Sent);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("cut off"), "{said:?}");
    eventually("nothing is stored", SOON, || daemon.stored_files().is_empty());
    assert_unharmed(&daemon);
}

#[test]
fn a_body_of_another_length_than_announced_does_not_become_an_image() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");

    // What is too much is the beginning of the next request, and no good one.
    let mut connection = daemon.connect(Some(&publisher));
    let bytes = push_head(b"image", "content-length: 5\r\n") + "image and more\r\n\r\n";
    connection.send(bytes.as_bytes()).unwrap();
    assert_eq!(answer(&mut connection, b"").status, 202);
    assert_eq!(answer(&mut connection, b"").status, 400);
    assert!(connection.is_closed());

    // What is too little is not the image that the fingerprint names.
    let refused = exchange(
        &daemon,
        Some(&publisher),
        (push_head(b"other", "content-length: 4\r\n").replace("/game/", "/other/") + "othe").as_bytes(),
    );
    assert_eq!(refused.status, 400);
    assert!(refused.error().contains("nothing was kept"), "{}", refused.error());
    for announced in
        ["-1", "+5", "5 5", "five", "5,6", "0x5", "18446744073709551616", "9999999999999999999999"]
    {
        let bytes = push_head(b"other", &format!("content-length: {announced}\r\n")) + "other";
        assert_eq!(exchange(&daemon, Some(&publisher), bytes.as_bytes()).status, 400, "{announced}");
    }
    let empty = exchange(
        &daemon,
        Some(&publisher),
        push_head(b"", "content-length: 0\r\n").replace("/game/", "/other/").as_bytes(),
    );
    assert!(empty.status == 400 && empty.error().contains("empty"), "{empty:?}");
    assert_eq!(daemon.stored_files().iter().filter(|file| file.starts_with("images/")).count(), 1);
    assert_unharmed(&daemon);
}

#[test]
fn an_announcement_beyond_the_disk_is_refused_before_the_body() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let head = push_head(b"image", "content-length: 4611686018427387904\r\n") + "image";
    let refused = exchange(&daemon, Some(&publisher), head.as_bytes());
    assert_eq!(refused.status, 507, "{refused:?}");
    eventually("nothing is stored", SOON, || daemon.stored_files().is_empty());
    assert!(!daemon.log_text().contains("panicked"));
    assert_eq!(daemon.push(&publisher, IMAGE, b"image").status, 202);
}

#[test]
fn chunks_that_are_garbage_are_refused() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    for chunks in [
        "zz\r\nimage\r\n0\r\n\r\n",
        "-5\r\nimage\r\n0\r\n\r\n",
        "5\r\nimages\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nimage",
        "5 5\r\nimage\r\n0\r\n\r\n",
        "\r\n\r\n",
        "5\nimage\n0\n\n",
        "5\r\nimage\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        let bytes = push_head(b"image", "transfer-encoding: chunked\r\n") + chunks;
        let refused = exchange(&daemon, Some(&publisher), bytes.as_bytes());
        assert_eq!(refused.status, 400, "{chunks:?}: {refused:?}");
        let mut bytes =
            "PATCH /1.0/applications/game HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
                .to_owned();
        bytes += chunks;
        let refused = exchange(&daemon, Some(&publisher), bytes.as_bytes());
        assert_eq!(refused.status, 400, "{chunks:?}: {refused:?}");
    }
    // An extension without end is no reason to read without end.
    let mut connection = daemon.connect(Some(&publisher));
    let head = push_head(b"image", "transfer-encoding: chunked\r\n") + "5;x=";
    connection.send(head.as_bytes()).unwrap();
    let _ = connection.send(&vec![b'x'; 1 << 20]);
    assert_eq!(answer(&mut connection, b"").status, 400);
    eventually("nothing is stored", SOON, || daemon.stored_files().is_empty());
    assert_unharmed(&daemon);
}

#[test]
fn an_oversized_json_body_is_refused() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    assert_eq!(daemon.push(&publisher, IMAGE, b"image").status, 202);
    let of_size = |size: usize| {
        let frame = r#"{"x-long":""}"#;
        frame.replace("\"\"", &format!("\"{}\"", "a".repeat(size - frame.len())))
    };
    let limit = 1 << 20;
    for (method, path) in [
        ("PATCH", "/1.0/applications/game"),
        ("PATCH", "/1.0/applications/game/1"),
        ("DELETE", "/1.0/applications"),
        ("DELETE", "/1.0/applications/game"),
        ("DELETE", "/1.0/applications/game/1"),
        ("DELETE", "/1.0/registry/applications/game"),
    ] {
        let refused = daemon.request(&publisher, method, path, of_size(limit + 1).as_bytes());
        assert_eq!(refused.status, 413, "{method} {path}: {refused:?}");
        assert!(refused.error().contains("1 MiB"), "{}", refused.error());
        // One that is only announced, and one that does not say how long it is.
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 109951162777600\r\n\r\n{{");
        assert_eq!(exchange(&daemon, Some(&publisher), head.as_bytes()).status, 413);
        let mut chunked =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
        let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        chunked.extend(std::iter::repeat_n(piece, 32));
        assert_eq!(exchange(&daemon, Some(&publisher), chunked.as_bytes()).status, 413);
    }
    let certificate = json!({ "certificate": "a".repeat(limit) }).to_string();
    assert_eq!(daemon.admin("POST", "/1.0/certificates", certificate.as_bytes()).status, 413);
    let largest = daemon.request(&publisher, "PATCH", "/1.0/applications/game", of_size(limit).as_bytes());
    assert_eq!(largest.status, 202, "{largest:?}");
    assert_unharmed(&daemon);
}

#[test]
fn a_body_where_none_belongs_is_passed_over() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut connection = daemon.connect(Some(&publisher));
    for _ in 0..3 {
        let answer = connection.request("GET", "/1.0/applications", &[], &vec![b'x'; 70_000]);
        assert_eq!(answer.status, 200);
    }
    assert_unharmed(&daemon);
}

#[test]
fn who_asks_before_sending_is_told_to_go_on_or_why_not() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    let first_line = |person, head: &str| {
        let mut stream = Connection::tls_stream(daemon.address(), person).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut line = [0; 13];
        stream.read_exact(&mut line).unwrap();
        (String::from_utf8_lossy(&line).into_owned(), stream)
    };
    let head = push_head(b"image", "content-length: 5\r\nexpect: 100-continue\r\n");
    let (line, mut stream) = first_line(Some(&publisher), &head);
    assert_eq!(line, "HTTP/1.1 100 ");
    stream.write_all(b"image").unwrap();
    let mut said = [0; 200];
    let mut text = String::new();
    while !text.contains("202 Accepted") {
        let read = stream.read(&mut said).unwrap();
        assert!(read > 0, "{text}");
        text += &String::from_utf8_lossy(&said[..read]);
    }

    let huge = "content-length: 1099511627776\r\nexpect: 100-continue\r\n";
    let conflict = push_head(b"another image", huge);
    for (person, head, status) in [
        (None, push_head(b"image", huge), "401"),
        (Some(&client), push_head(b"image", huge), "403"),
        (Some(&publisher), conflict.clone(), "409"),
        (Some(&publisher), push_head(b"image", &format!("x-ams-request: [\r\n{huge}")), "400"),
        (Some(&publisher), conflict.replace("/game/1?", "/Game/1?"), "400"),
        (Some(&publisher), conflict.replace("/1.0/", "/2.0/"), "404"),
        (Some(&publisher), conflict.replace("PUT", "POST"), "405"),
        (Some(&publisher), format!("PATCH /1.0/applications/game HTTP/1.1\r\nhost: x\r\n{huge}\r\n"), "413"),
    ] {
        let (line, _) = first_line(person, &head);
        assert_eq!(line, format!("HTTP/1.1 {status} "), "{head}");
    }
    assert_unharmed(&daemon);
}
