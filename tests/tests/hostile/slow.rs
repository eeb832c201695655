//! Peers that take their time. All of them at once, for each of them takes as long as its limit.

use std::io::{Read, Write};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use aar_tests::{Connection, Daemon};

use crate::{IMAGE, answer, assert_unharmed, eventually, push_head};

/// What a limit may be missed by on a busy machine.
const LATE: Duration = Duration::from_secs(15);

#[test]
fn slow_peers_are_given_up_and_hold_up_nobody() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    // More than the buffers of both sides hold.
    let image = vec![7; 48_000_000];
    assert_eq!(daemon.push(&publisher, IMAGE, &image).status, 202);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = open();

    let a_reader_that_stops = || {
        let mut stream = Connection::tls_stream(daemon.address(), Some(&client)).unwrap();
        stream.write_all(b"GET /1.0/applications/game/1 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        stream
    };
    let a_body_that_stops = || {
        let mut connection = daemon.connect(Some(&publisher));
        let head = push_head(b"never", "content-length: 5\r\n").replace("/game/", "/slow/") + "nev";
        connection.send(head.as_bytes()).unwrap();
        let begun = Instant::now();
        let answer = answer(&mut connection, head.as_bytes());
        assert_eq!(answer.status, 408, "{answer:?}");
        assert_within(begun, Duration::from_secs(60));
    };
    let a_json_body_that_stops = || {
        let mut connection = daemon.connect(Some(&publisher));
        let head = "PATCH /1.0/applications/game HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{";
        connection.send(head.as_bytes()).unwrap();
        let begun = Instant::now();
        assert_eq!(answer(&mut connection, head.as_bytes()).status, 408);
        assert_within(begun, Duration::from_secs(60));
    };
    let a_body_that_trickles = || {
        // A byte every few seconds is slow, not silent: it is let through.
        let mut connection = daemon.connect(Some(&publisher));
        let head = push_head(b"trickle", "content-length: 7\r\n").replace("/game/", "/trickle/");
        connection.send(head.as_bytes()).unwrap();
        for byte in b"trickle" {
            sleep(Duration::from_secs(10));
            connection.send(&[*byte]).unwrap();
        }
        assert_eq!(answer(&mut connection, head.as_bytes()).status, 202);
    };
    let a_head_that_trickles = || {
        let mut connection = daemon.connect(None);
        let begun = Instant::now();
        for byte in b"GET /1.0/status HTTP/1.1\r\nx: yyyyyyyyyyyyyyy" {
            if connection.send(&[*byte]).is_err() {
                break;
            }
            sleep(Duration::from_millis(500));
        }
        assert!(connection.is_closed());
        assert!(begun.elapsed() < Duration::from_secs(10) + LATE * 2, "{:?}", begun.elapsed());
    };
    let no_handshake = |bytes: &'static [u8]| {
        let mut socket = std::net::TcpStream::connect(daemon.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket.write_all(bytes).unwrap();
        let begun = Instant::now();
        // A reset is an end, too.
        let ended = socket.read_to_end(&mut Vec::new());
        assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        assert_within(begun, Duration::from_secs(10));
    };

    let readers: Vec<_> = (0..8).map(|_| a_reader_that_stops()).collect();
    scope(|scope| {
        scope.spawn(a_body_that_stops);
        scope.spawn(a_json_body_that_stops);
        scope.spawn(a_body_that_trickles);
        scope.spawn(a_head_that_trickles);
        scope.spawn(|| no_handshake(b""));
        scope.spawn(|| no_handshake(&[0x16, 3, 1, 2, 0, 1]));
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(daemon.request(&client, "GET", "/1.0/applications", b"").status, 200);
            assert!(begun.elapsed() < Duration::from_secs(5));
            sleep(Duration::from_secs(1));
        }
    });
    eventually("readers that stopped are given up", Duration::from_secs(90), || open() <= before);
    drop(readers);
    eventually("the upload is removed", LATE, || {
        !daemon.stored_files().iter().any(|file| file.contains("uploads/"))
    });
    assert_unharmed(&daemon);
}

#[test]
fn idle_connections_are_kept_for_a_minute_and_begun_requests_for_ten_seconds() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let silence = |mut connection: Connection, limit| {
        let begun = Instant::now();
        assert!(connection.is_closed());
        assert_within(begun, Duration::from_secs(limit));
    };
    let half_a_request = |mut connection: Connection| {
        connection.send(b"GET /1.0/status HTTP/1.1\r\nhost: x\r\n").unwrap();
        silence(connection, 10);
    };
    let a_client_that_comes_back = || {
        let mut connection = daemon.connect(Some(&client));
        for pause in [0, 12, 40] {
            sleep(Duration::from_secs(pause));
            assert_eq!(connection.request("GET", "/1.0/status", &[], b"").status, 200);
        }
        half_a_request(connection);
    };
    scope(|scope| {
        scope.spawn(|| silence(daemon.connect(Some(&client)), 60));
        scope.spawn(|| half_a_request(daemon.connect(Some(&client))));
        scope.spawn(a_client_that_comes_back);
    });
}

fn assert_within(begun: Instant, limit: Duration) {
    let took = begun.elapsed();
    assert!(took + Duration::from_secs(1) > limit && took < limit + LATE, "{took:?} instead of {limit:?}");
}
