//! HTTP/2 as no client should speak it, frame by frame.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aar_tests::{Daemon, Person};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode};

use crate::assert_unharmed;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:method: GET`, `:scheme: https`, `:path: /`, from HPACK's static table.
const GET_ROOT: &[u8] = &[0x82, 0x87, 0x84];

struct Http2(SslStream<TcpStream>);

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Http2 {
    fn connect(daemon: &Daemon, person: Option<&Person>) -> Self {
        let mut this = Self::connect_silently(daemon, person);
        this.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        this.send(&frame(SETTINGS, 0, 0, &[])).unwrap();
        this
    }

    fn connect_silently(daemon: &Daemon, person: Option<&Person>) -> Self {
        let socket = TcpStream::connect(daemon.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_alpn_protos(b"\x02h2").unwrap();
        if let Some(person) = person {
            builder.set_certificate(&person.certificate).unwrap();
            builder.set_private_key(&person.key).unwrap();
        }
        let stream = Ssl::new(&builder.build()).unwrap().connect(socket).unwrap();
        assert_eq!(stream.ssl().selected_alpn_protocol(), Some(&b"h2"[..]));
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next frame; nothing where the connection has ended.
    fn receive(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads on until the answer to a ping comes (true), or the connection ends (false). What came is added to `frames`.
    fn is_alive(&mut self, frames: &mut Vec<Frame>) -> bool {
        let _ = self.send(&frame(PING, 0, 0, b"still on"));
        while let Some(frame) = self.receive() {
            if frame.kind == PING && frame.flags == 1 && frame.payload == b"still on" {
                return true;
            }
            frames.push(frame);
        }
        false
    }

    /// The status of the answer on a stream; nothing where the stream was reset or the connection ended.
    fn status(&mut self, stream: u32) -> Option<u16> {
        while let Some(frame) = self.receive() {
            match frame.kind {
                HEADERS if frame.stream == stream => return Some(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return None,
                GOAWAY => return None,
                _ => {}
            }
        }
        None
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header that HPACK spells out, without Huffman's code.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(&mut bytes, text.len());
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn length(bytes: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return bytes.push(u8::try_from(length).unwrap()) };
    bytes.push(127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// The status that comes first in an answer's headers: from the static table, or spelled out under its name.
fn status(headers: &[u8]) -> u16 {
    match headers {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        // Three digits in Huffman's code have 15 to 18 bits, which are two or three bytes.
        [0x48, size, code @ ..] if size & 0x80 != 0 => {
            let mut bits = code[..usize::from(size & 0x7f)]
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
            bits <<= 32 - 8 * u32::from(size & 0x7f);
            (0..3).fold(0, |number, _| {
                let (digit, width) = match bits >> 27 {
                    short @ 0..=2 => (short, 5),
                    _ => ((bits >> 26) - 0x19 + 3, 6),
                };
                bits <<= width;
                number * 10 + u16::try_from(digit).unwrap()
            })
        }
        other => panic!("unexpected headers {other:?}"),
    }
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_ROOT)
}

#[test]
fn streams_that_are_opened_and_reset_without_end() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    for person in [None, Some(&client)] {
        let mut connection = Http2::connect(&daemon, person);
        let mut ended = false;
        for round in 0..200_u32 {
            let streams = (0..100).map(|n| (round * 100 + n) * 2 + 1);
            let bytes: Vec<u8> =
                streams.flat_map(|n| [get(n), frame(RST_STREAM, 0, n, &[0, 0, 0, 8])]).flatten().collect();
            if connection.send(&bytes).is_err() {
                ended = true;
                break;
            }
        }
        let mut frames = Vec::new();
        let alive = !ended && connection.is_alive(&mut frames);
        let told = frames.iter().any(|frame| frame.kind == GOAWAY);
        assert!(alive || ended || told, "{frames:?}");
        assert_eq!(Http2::connect(&daemon, person).answered(), Some(200));
    }
    assert_unharmed(&daemon);
}

impl Http2 {
    fn answered(&mut self) -> Option<u16> {
        self.send(&get(1)).unwrap();
        self.status(1)
    }
}

#[test]
fn headers_that_never_end() {
    let daemon = Daemon::spawn();
    for piece in [vec![], literal("x-filler", &"y".repeat(16_000))] {
        let mut connection = Http2::connect(&daemon, None);
        connection.send(&frame(HEADERS, END_STREAM, 1, GET_ROOT)).unwrap();
        let more = frame(CONTINUATION, 0, 1, &piece);
        let refused = (0..20_000).any(|_| connection.send(&more).is_err());
        let mut frames = Vec::new();
        while let Some(frame) = connection.receive() {
            frames.push(frame);
        }
        assert!(refused || frames.iter().any(|frame| frame.kind == GOAWAY), "{frames:?}");
    }
    assert_unharmed(&daemon);
}

#[test]
fn header_lists_beyond_the_limit_are_answered() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let mut connection = Http2::connect(&daemon, Some(&client));
    connection.send(&frame(HEADERS, END_STREAM, 1, GET_ROOT)).unwrap();
    for n in 0..5 {
        let flags = if n == 4 { END_HEADERS } else { 0 };
        connection.send(&frame(CONTINUATION, flags, 1, &literal("x-filler", &"y".repeat(16_000)))).unwrap();
    }
    assert_eq!(connection.status(1), Some(431));

    // One header in the table of the connection, named again and again: a few bytes that stand for many.
    let mut connection = Http2::connect(&daemon, Some(&client));
    let mut headers = GET_ROOT.to_vec();
    let mut entry = literal("x-bomb", &"y".repeat(3900));
    entry[0] = 0x40;
    headers.extend(entry);
    headers.extend(vec![0xbe; 12_000]);
    connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &headers)).unwrap();
    let answer = connection.status(1);
    assert!(matches!(answer, None | Some(431)), "{answer:?}");
    assert_unharmed(&daemon);
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_others_served() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut connection = Http2::connect(&daemon, Some(&publisher));
    // Pushes whose bodies do not come.
    let mut headers = vec![0x87];
    headers.extend(literal(":method", "PUT"));
    headers.extend(literal(":path", "/1.0/applications/game/1?architecture=x86_64"));
    headers.extend(literal("x-ams-fingerprint", &"0".repeat(64)));
    let streams: Vec<u32> = (0..1000).map(|n| n * 2 + 1).collect();
    for stream in &streams {
        if connection.send(&frame(HEADERS, END_HEADERS, *stream, &headers)).is_err() {
            break;
        }
    }
    let mut frames = Vec::new();
    connection.is_alive(&mut frames);
    let refused = frames.iter().filter(|frame| frame.kind == RST_STREAM).count();
    let told = frames.iter().any(|frame| frame.kind == GOAWAY);
    assert!(refused >= streams.len() - 100 || told, "{refused}");
    assert_eq!(Http2::connect(&daemon, None).answered(), Some(200));
    assert_unharmed(&daemon);
}

#[test]
fn requests_that_http2_does_not_know_are_refused() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let without =
        |left_out: u8| GET_ROOT.iter().copied().filter(|byte| *byte != left_out).collect::<Vec<_>>();
    let with = |more: Vec<u8>| [GET_ROOT, &more].concat();
    let path = |path: &str| [&[0x82, 0x87][..], &literal(":path", path)].concat();
    for headers in [
        without(0x82),
        without(0x84),
        with(literal("Upper", "case")),
        with(literal("connection", "keep-alive")),
        with(literal("transfer-encoding", "chunked")),
        with(literal(":path", "/")),
        with(literal(":unknown", "x")),
        with(literal("x\ny", "z")),
        with(literal("x", "a\r\nb: c")),
        with(literal("content-length", "7")),
        with(literal("content-length", "-1")),
        path(""),
        path("*"),
        path("no-slash"),
        path("/ /"),
        path("/\0"),
        path("/1.0/applications/%zz%ff"),
        [&[0x87][..], &literal(":method", "CONNECT"), &literal(":authority", "x:1")].concat(),
        vec![0xff; 200],
        vec![0x80],
        vec![0x3f, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![],
    ] {
        let mut connection = Http2::connect(&daemon, Some(&client));
        connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &headers)).unwrap();
        let answer = connection.status(1);
        assert!(answer.is_none_or(|status| (400..500).contains(&status)), "{headers:?}: {answer:?}");
    }
    assert_unharmed(&daemon);
}

#[test]
fn frames_that_break_the_protocol_end_their_connection_only() {
    let daemon = Daemon::spawn();
    let window_overflow = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2);
    let oversized = [[0xff, 0xff, 0xff, DATA, 0].to_vec(), vec![0; 4], vec![0; 300_000]].concat();
    let setting = |id: u8, value: u32| frame(SETTINGS, 0, 0, &[&[0, id][..], &value.to_be_bytes()].concat());
    for bytes in [
        frame(DATA, 0, 1, b"nobody asked"),
        frame(HEADERS, END_HEADERS, 0, GET_ROOT),
        frame(HEADERS, END_HEADERS, 2, GET_ROOT),
        frame(CONTINUATION, END_HEADERS, 1, GET_ROOT),
        frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(SETTINGS, 1, 0, &[0; 6]),
        frame(PING, 0, 0, &[0; 7]),
        frame(RST_STREAM, 0, 99, &[0; 4]),
        frame(HEADERS, END_HEADERS | 8, 1, &[0xff, 0x82]),
        setting(4, u32::MAX),
        setting(5, 0),
        window_overflow,
        oversized,
        [get(3), get(1)].concat(),
    ] {
        let mut connection = Http2::connect(&daemon, None);
        let _ = connection.send(&bytes);
        let mut frames = Vec::new();
        assert!(!connection.is_alive(&mut frames), "{:?}", &bytes[..bytes.len().min(40)]);
    }
    for bytes in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[0; 100]] {
        let mut connection = Http2::connect_silently(&daemon, None);
        connection.send(bytes).unwrap();
        while connection.receive().is_some() {}
    }
    assert_unharmed(&daemon);
}

#[test]
fn floods_of_small_frames_do_not_pile_up() {
    let daemon = Daemon::spawn();
    for (name, small) in [
        ("ping", frame(PING, 0, 0, b"12345678")),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("window", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", frame(0xbb, 0xff, 0, b"?")),
    ] {
        let mut connection = Http2::connect(&daemon, None);
        let many = small.repeat(1000);
        // Answers are not read: at some point the other side has to stop taking questions.
        connection.0.get_ref().set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        let taken = (0..150).take_while(|_| connection.send(&many).is_ok()).count();
        assert!(taken > 0, "{name}");
        drop(connection);
        assert_eq!(Http2::connect(&daemon, None).answered(), Some(200), "{name}");
    }
    assert_unharmed(&daemon);
}
