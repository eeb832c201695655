//! A server that does what no proper registry does: cuts, lies, and answers too early.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part; a test may panic

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aar_client::{Client, ImageAddress, Progress, Silent};
use aar_model::Digest;
use aar_model::wire::Image;

/// A request's head.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn read(from: &mut impl BufRead) -> Option<Self> {
        let mut next = || {
            let mut line = String::new();
            from.read_line(&mut line).ok().filter(|read| *read > 0)?;
            Some(line.trim_end().to_owned())
        };
        let line = next()?;
        let mut headers = Vec::new();
        loop {
            let header = next()?;
            let Some((name, value)) = header.split_once(": ") else { return Some(Self { line, headers }) };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// First byte that a `Range` asks for.
    pub(crate) fn offset(&self) -> usize {
        let range = self.get("range").map(|range| range.trim_start_matches("bytes=").trim_end_matches('-'));
        range.map_or(0, |first| first.parse().unwrap())
    }
}

/// One connection, the number of connections before it beside it.
pub(crate) type Script = dyn Fn(usize, &mut BufReader<UnixStream>) + Send + Sync;

/// Listens on a Unix socket and plays a script for every connection, each on a thread of its own.
pub(crate) struct Server {
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(script: impl Fn(usize, &mut BufReader<UnixStream>) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(number, &mut BufReader::new(stream.unwrap())));
            }
        });
        Self { folder }
    }

    pub(crate) fn client(&self) -> Client {
        Client::unix(self.folder.path().join("sock"))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Serves `bytes` as the image, from where the request's `Range` begins, and cuts the connection after `limit` bytes.
pub(crate) fn serve_image(
    stream: &mut BufReader<UnixStream>,
    bytes: &[u8],
    announced: Digest,
    limit: usize,
) -> Option<Head> {
    let head = Head::read(stream)?;
    let (offset, size) = (head.offset(), bytes.len());
    let status = if offset == 0 { "200 OK" } else { "206 Partial Content" };
    let out = stream.get_mut();
    write!(
        out,
        "HTTP/1.1 {status}\r\nx-ams-fingerprint: {announced}\r\ncontent-length: {}\r\n",
        size - offset
    )
    .unwrap();
    if offset > 0 {
        write!(out, "content-range: bytes {offset}-{}/{size}\r\n", size - 1).unwrap();
    }
    write!(out, "\r\n").unwrap();
    let body = &bytes[offset..];
    // The client may have closed on its own.
    let _ = out.write_all(&body[..limit.min(body.len())]);
    let _ = out.shutdown(Shutdown::Both);
    Some(head)
}

/// The first request but those for what the service is, which a registry answers that takes pushes whole only.
pub(crate) fn read_of_old(stream: &mut BufReader<UnixStream>) -> Option<Head> {
    loop {
        let head = Head::read(stream)?;
        if head.line != "GET /1.0 HTTP/1.1" {
            return Some(head);
        }
        answer(stream.get_mut(), "200 OK", SERVICE);
    }
}

/// What a service is that knows no extensions.
pub(crate) const SERVICE: &str = r#"{"type":"sync","status":"Success","status_code":200,"metadata":{"api_extensions":[],"api_status":"stable","api_version":"1.0","auth":"trusted","auth_methods":[]}}"#;

/// Writes an answer with a JSON body.
pub(crate) fn answer(out: &mut impl Write, status: &str, json: &str) {
    let length = json.len();
    let _ = write!(
        out,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
    );
}

/// Reads and drops `length` bytes.
pub(crate) fn swallow(from: &mut impl Read, length: u64) {
    std::io::copy(&mut from.take(length), &mut std::io::sink()).unwrap();
}

/// Bytes that look like nothing else.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

pub(crate) fn address() -> ImageAddress {
    ImageAddress {
        name: "demo".parse().unwrap(),
        version: "3".parse().unwrap(),
        architecture: "x86_64".parse().unwrap(),
    }
}

pub(crate) fn listed(bytes: &[u8]) -> Image {
    Image {
        architecture: address().architecture,
        fingerprint: Digest::of(bytes),
        size: bytes.len() as u64,
        media_type: "application/zip".into(),
    }
}

pub(crate) fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

/// A list that threads add to.
pub(crate) type Shared<T> = Arc<Mutex<Vec<T>>>;
