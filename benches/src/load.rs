//! The client that makes many small requests: HTTP/1.1 by hand over TLS 1.3, so cheap that it is not what is measured.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use openssl::ssl::{Ssl, SslContext, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_openssl::SslStream;

use crate::keys::Keys;

/// The one cipher suite that every client asks for.
pub(crate) const CIPHER_SUITE: &str = "TLS_AES_128_GCM_SHA256";

const MAX_HEADERS: usize = 64;

/// A server, seen by a client that has the client's key.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    tls: SslContext,
}

/// A request, and what must come back.
#[derive(Clone)]
pub(crate) struct Request {
    /// The request as it is sent.
    pub(crate) bytes: Vec<u8>,
    /// The answer's status.
    pub(crate) status: u16,
    /// The answer's length without its header.
    pub(crate) body_length: usize,
}

/// An open connection.
pub(crate) struct Connection {
    stream: SslStream<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer<'a> {
    /// Its status.
    pub(crate) status: u16,
    /// Its body.
    pub(crate) body: &'a [u8],
    head: &'a [u8],
}

/// What a server has at a path.
pub(crate) struct Document {
    /// The header `ETag`.
    pub(crate) etag: Option<String>,
    /// Its content.
    pub(crate) body: Vec<u8>,
}

/// What a load measured.
pub(crate) struct Outcome {
    /// Requests, or handshakes, per second.
    pub(crate) rate: f64,
    latencies: Histogram<u64>,
}

impl Target {
    /// The server on `port` of loopback.
    pub(crate) fn new(port: u16, keys: &Keys) -> Result<Self> {
        let mut tls = SslContext::builder(SslMethod::tls_client())?;
        tls.set_min_proto_version(Some(SslVersion::TLS1_3))?;
        tls.set_ciphersuites(CIPHER_SUITE)?;
        tls.set_alpn_protos(b"\x08http/1.1")?;
        tls.set_verify(SslVerifyMode::NONE);
        tls.set_certificate_file(&keys.client.certificate, SslFiletype::PEM)?;
        tls.set_private_key_file(&keys.client.key, SslFiletype::PEM)?;
        // One system call for a record instead of one for its header and one for the rest.
        tls.set_read_ahead(true);
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), tls: tls.build() })
    }

    /// Opens a connection with a full handshake.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let mut stream = SslStream::new(Ssl::new(&self.tls)?, tcp)?;
        Pin::new(&mut stream).connect().await?;
        Ok(Connection { stream, buffer: Vec::with_capacity(32 << 10) })
    }

    /// Opens `count` connections.
    pub(crate) async fn connect_all(&self, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(self.connect().await?);
        }
        Ok(connections)
    }

    /// What `path` answers, which must be 200 and not empty.
    pub(crate) async fn fetch(&self, path: &str) -> Result<Document> {
        let mut connection = self.connect().await?;
        let answer = connection.exchange(&request("GET", path, &[])).await?;
        ensure!(answer.status == 200 && !answer.body.is_empty(), "`{path}` answered {}", answer.status);
        Ok(Document { etag: answer.header("etag"), body: answer.body.to_vec() })
    }

    /// Whether `path` is answered 200 on a new connection.
    pub(crate) async fn answers(&self, path: &str) -> bool {
        let attempt = async {
            let mut connection = self.connect().await?;
            let answer = connection.exchange(&request("GET", path, &[])).await?;
            anyhow::Ok(answer.status == 200)
        };
        attempt.await.unwrap_or(false)
    }

    /// Makes `count` full handshakes, `concurrent` at a time, each with one request on a connection of its own.
    pub(crate) async fn handshakes(&self, request: &Request, concurrent: u64, count: u64) -> Result<Outcome> {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..concurrent {
            let (target, request) = (self.clone(), request.clone());
            tasks.spawn(async move {
                let mut latencies = new_histogram()?;
                for _ in 0..count / concurrent {
                    let start = Instant::now();
                    let mut connection = target.connect().await?;
                    connection.expect(&request).await?;
                    latencies.record(nanoseconds(start.elapsed()))?;
                    ensure!(!connection.stream.ssl().session_reused(), "the session was resumed");
                    connection.stream.shutdown().await?;
                }
                Ok((latencies, ()))
            });
        }
        Ok(gather(tasks, start).await?.0)
    }
}

/// Makes `count` requests, taking `choice` in turn, over all `connections` at once, each of which waits for its answer
/// before it asks again.
pub(crate) async fn requests(
    connections: &mut Vec<Connection>,
    choice: &[Request],
    count: u64,
) -> Result<Outcome> {
    let (count, step) = (usize::try_from(count)?, connections.len());
    let choice: Arc<[Request]> = choice.into();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (first, mut connection) in connections.drain(..).enumerate() {
        let choice = choice.clone();
        tasks.spawn(async move {
            let mut latencies = new_histogram()?;
            for number in (first..count).step_by(step) {
                let start = Instant::now();
                connection.expect(&choice[number % choice.len()]).await?;
                latencies.record(nanoseconds(start.elapsed()))?;
            }
            Ok((latencies, connection))
        });
    }
    let (outcome, given_back) = gather(tasks, start).await?;
    *connections = given_back;
    Ok(outcome)
}

/// Adds up what the tasks measured, and returns what else they hand over.
async fn gather<T: 'static>(
    mut tasks: JoinSet<Result<(Histogram<u64>, T)>>,
    start: Instant,
) -> Result<(Outcome, Vec<T>)> {
    let mut latencies = new_histogram()?;
    let mut handed_over = Vec::with_capacity(tasks.len());
    while let Some(done) = tasks.join_next().await {
        let (measured, rest) = done??;
        latencies.add(measured)?;
        handed_over.push(rest);
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = latencies.len() as f64 / start.elapsed().as_secs_f64();
    Ok((Outcome { rate, latencies }, handed_over))
}

impl Outcome {
    /// Requests that were made.
    pub(crate) fn count(&self) -> u64 {
        self.latencies.len()
    }

    /// A quantile of the latencies, in milliseconds.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn latency(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e6
    }
}

impl Connection {
    /// Sends `request` and reads its answer to the end.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.fill().await?;
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
        };
        while self.buffer.len() < head.length + head.body_length {
            self.fill().await?;
        }
        ensure!(self.buffer.len() == head.length + head.body_length, "an answer is longer than it says");
        let (head_bytes, body) = self.buffer.split_at(head.length);
        Ok(Answer { status: head.status, head: head_bytes, body })
    }

    /// Sends `request`; fails unless status and length of the answer are as they must be.
    async fn expect(&mut self, request: &Request) -> Result<()> {
        let answer = self.exchange(&request.bytes).await?;
        if answer.status != request.status || answer.body.len() != request.body_length {
            bail!(
                "{} with {} bytes instead of {} with {}",
                answer.status,
                answer.body.len(),
                request.status,
                request.body_length
            );
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.reserve(16 << 10);
        ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
        Ok(())
    }
}

impl Answer<'_> {
    /// The value of the header `name`.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        httparse::Response::new(&mut headers).parse(self.head).ok()?;
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        String::from_utf8(header.value.to_vec()).ok()
    }
}

struct Head {
    length: usize,
    status: u16,
    body_length: usize,
}

impl Head {
    /// Reads the header of an answer; `None` as long as it is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(bytes)? else {
            return Ok(None);
        };
        let status = response.code.context("an answer has no status")?;
        let body_length = match status {
            204 | 304 => 0,
            _ => response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
                .context("an answer does not say its length")?,
        };
        Ok(Some(Self { length, status, body_length }))
    }
}

/// A request without a body as it is sent; `headers` are `Name: value`.
pub(crate) fn request(method: &str, path: &str, headers: &[&str]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_measured_once_its_header_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-LENGTH: 12\r\nETag: \"a\"\r\n\r\nhello";
        assert!(Head::parse(&answer[..40]).unwrap().is_none());
        let head = Head::parse(answer).unwrap().unwrap();
        assert_eq!((head.status, head.body_length, head.length), (200, 12, answer.len() - 5));
    }

    #[test]
    fn an_answer_that_does_not_say_its_length_is_refused() {
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(Head::parse(b"SSH-2.0\r\n\r\n").is_err());
    }

    #[test]
    fn not_modified_has_no_body_whatever_it_says() {
        let head = Head::parse(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.body_length, 0);
    }
}
