//! A stand-in for CloudFront's edge: serves an object of its origin to whoever has a URL that is signed for it.
//!
//! It shares nothing with the signing side: the policy is made anew from what was requested, and `openssl` on the command
//! line verifies. Errors are what CloudFront answers.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the other side may stay silent.
const PATIENCE: Duration = Duration::from_secs(90);
/// The longest head of a request or an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// An edge that listens on a port of this machine, without TLS; it stops when dropped.
pub struct Edge {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

/// What the origin has at a path.
#[derive(Debug, Clone)]
pub enum Object {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What a server answers to a GET of this `http://` URL, which has to hold the origin's own signature.
    At(String),
}

type Origin = dyn Fn(&str) -> Option<Object> + Send + Sync;

struct Shared {
    /// PEM of public keys by their ID.
    keys: HashMap<String, String>,
    origin: Box<Origin>,
    /// How much its clock is ahead.
    seconds_ahead: AtomicU64,
}

impl Edge {
    /// Starts an edge that trusts `keys`, IDs with public keys as PEM, and finds objects by `origin`, which is given
    /// the path as it was requested.
    pub fn start(
        keys: &[(&str, String)],
        origin: impl Fn(&str) -> Option<Object> + Send + Sync + 'static,
    ) -> Self {
        let keys = keys.iter().map(|(id, pem)| ((*id).to_owned(), pem.clone())).collect();
        let shared = Arc::new(Shared { keys, origin: Box::new(origin), seconds_ahead: AtomicU64::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = stopped.clone();
        let served = shared.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                if is_stopped.load(Ordering::Relaxed) {
                    break;
                }
                let shared = served.clone();
                thread::spawn(move || {
                    // Clients may go away as they like.
                    let _ = socket.and_then(|mut socket| shared.serve(&mut socket));
                });
            }
        });
        Self { address, stopped, shared }
    }

    /// What URLs of the edge begin with, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets its clock that much ahead of this machine's.
    pub fn set_seconds_ahead(&self, seconds: u64) {
        self.shared.seconds_ahead.store(seconds, Ordering::Relaxed);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections, to end.
        let _ = TcpStream::connect(self.address);
    }
}

/// A request as far as it matters here.
struct Request {
    method: String,
    target: String,
    host: String,
    range: Option<String>,
}

/// Code and message of an error that is answered with 403.
type Refusal = (&'static str, &'static str);

const ACCESS_DENIED: Refusal = ("AccessDenied", "Access denied");
const MISSING_KEY: Refusal = ("MissingKey", "Missing Key-Pair-Id query parameter or cookie value");
const UNKNOWN_KEY: Refusal = ("InvalidKey", "Unknown Key");
const MALFORMED: Refusal = ("MalformedSignature", "Could not unencode Signature");

impl Shared {
    fn serve(&self, client: &mut TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_write_timeout(Some(PATIENCE))?;
        let request = read_request(client)?;
        let now = self.now();
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return answer(client, &request, now, "405 Method Not Allowed", "text/plain", b"");
        }
        let object = match self.check(&request, now) {
            Err((code, message)) => return refuse(client, &request, now, code, message),
            Ok(path) => (self.origin)(path),
        };
        match object {
            // As S3 does where listing is not allowed, and CloudFront hands on.
            None => refuse(client, &request, now, ACCESS_DENIED.0, ACCESS_DENIED.1),
            Some(Object::Bytes(bytes)) => {
                answer(client, &request, now, "200 OK", "application/octet-stream", &bytes)
            }
            Some(Object::At(url)) => hand_on(client, &request, &url),
        }
    }

    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        now + self.seconds_ahead.load(Ordering::Relaxed)
    }

    /// The path that is requested, if it may be.
    fn check<'a>(&self, request: &'a Request, now: u64) -> Result<&'a str, Refusal> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let mut own = HashMap::new();
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((name @ ("Expires" | "Signature" | "Key-Pair-Id" | "Hash-Algorithm"), value)) => {
                    own.insert(name, value);
                }
                _ => rest.push(pair),
            }
        }
        let key = self.keys.get(*own.get("Key-Pair-Id").ok_or(MISSING_KEY)?).ok_or(UNKNOWN_KEY)?;
        let hash = match own.get("Hash-Algorithm") {
            None | Some(&"SHA1") => "-sha1",
            Some(&"SHA256") => "-sha256",
            Some(_) => return Err(ACCESS_DENIED),
        };
        let signature = unencode(own.get("Signature").ok_or(ACCESS_DENIED)?).ok_or(MALFORMED)?;
        let expires = own.get("Expires").ok_or(ACCESS_DENIED)?;
        let mut resource = format!("http://{}{path}", request.host);
        if !rest.is_empty() {
            resource = resource + "?" + &rest.join("&");
        }
        let policy = [
            r#"{"Statement":[{"Resource":""#,
            &resource,
            r#"","Condition":{"DateLessThan":{"AWS:EpochTime":"#,
            expires,
            "}}}]}",
        ];
        let is_early = expires.parse::<u64>().is_ok_and(|expires| now < expires);
        if is_early && verifies(key, hash, policy.concat().as_bytes(), &signature) {
            Ok(path)
        } else {
            Err(ACCESS_DENIED)
        }
    }
}

fn read_request(client: &mut TcpStream) -> io::Result<Request> {
    let head = read_head(client)?;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(&head).map_err(io::Error::other)?;
    let header = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value).into_owned())
    };
    Ok(Request {
        host: header("host").unwrap_or_default(),
        range: header("range"),
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
    })
}

/// Reads up to the end of a head, byte by byte: what is behind it belongs to somebody else.
fn read_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

fn unencode(signature: &str) -> Option<Vec<u8>> {
    if signature.contains(['+', '=', '/']) {
        return None;
    }
    openssl::base64::decode_block(&signature.replace('-', "+").replace('_', "=").replace('~', "/")).ok()
}

/// Asks `openssl`, which takes key and signature from files.
fn verifies(public_key: &str, hash: &str, text: &[u8], signature: &[u8]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", hash, "-verify"]).arg(file("key.pem", public_key.as_bytes()));
    openssl.arg("-signature").arg(file("signature", signature)).arg(file("policy", text));
    openssl.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn refuse(client: &mut TcpStream, request: &Request, now: u64, code: &str, message: &str) -> io::Result<()> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    answer(client, request, now, "403 Forbidden", "text/xml", body.as_bytes())
}

fn answer(
    client: &mut TcpStream,
    request: &Request,
    now: u64,
    status: &str,
    content_type: &str,
    body: &[u8],
) -> io::Result<()> {
    let length = body.len();
    let date = jiff::Timestamp::from_second(now.cast_signed()).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT");
    write!(
        client,
        "HTTP/1.1 {status}\r\nserver: CloudFront\r\ndate: {date}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    )?;
    if request.method == "HEAD" { Ok(()) } else { client.write_all(body) }
}

/// Fetches the object and hands its answer on, whatever it is, as it comes.
fn hand_on(client: &mut TcpStream, request: &Request, url: &str) -> io::Result<()> {
    let address = url.strip_prefix("http://").unwrap();
    let (host, target) = address.split_once('/').unwrap();
    let mut server = TcpStream::connect(host)?;
    server.set_read_timeout(Some(PATIENCE))?;
    // Always GET, which is what the URL is signed for.
    write!(server, "GET /{target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n")?;
    if let Some(range) = &request.range {
        write!(server, "range: {range}\r\n")?;
    }
    write!(server, "\r\n")?;
    client.write_all(&read_head(&mut server)?)?;
    if request.method != "HEAD" {
        io::copy(&mut server, client)?;
    }
    Ok(())
}
