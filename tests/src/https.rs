//! A plain blocking HTTP/1.1 client, over TLS or a Unix socket, whose every byte a test can choose.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use aar_model::Digest;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode};
use serde_json::Value;

use crate::certificates::Person;

/// How long the other side may stay silent; far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A connection to the daemon.
pub struct Connection {
    wire: Box<dyn Wire>,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `metadata` of the envelope.
    pub fn metadata(&self) -> Value {
        self.json()["metadata"].clone()
    }

    /// What an error's envelope says.
    pub fn error(&self) -> String {
        let json = self.json();
        assert_eq!((&json["type"], &json["error_code"]), (&"error".into(), &self.status.into()), "{json}");
        json["error"].as_str().unwrap().to_owned()
    }
}

impl Connection {
    /// Connects over TLS as somebody, or as nobody. Takes whatever certificate the server shows.
    pub fn tls(address: SocketAddr, person: Option<&Person>) -> Self {
        Self::try_tls(address, person).unwrap()
    }

    /// As [`tls`](Self::tls), where that may fail.
    pub fn try_tls(address: SocketAddr, person: Option<&Person>) -> std::io::Result<Self> {
        Ok(Self { wire: Box::new(Self::tls_stream(address, person)?), received: Vec::new() })
    }

    /// The TLS stream itself, for tests that look at it.
    pub fn tls_stream(address: SocketAddr, person: Option<&Person>) -> std::io::Result<SslStream<TcpStream>> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        // No connector: that would read all certificates that this machine trusts, for every connection.
        let mut builder = SslContext::builder(SslMethod::tls_client())?;
        builder.set_verify(SslVerifyMode::NONE);
        if let Some(person) = person {
            builder.set_certificate(&person.certificate)?;
            builder.set_private_key(&person.key)?;
        }
        Ssl::new(&builder.build())?.connect(socket).map_err(std::io::Error::other)
    }

    /// Connects to a Unix socket.
    pub fn unix(path: &Path) -> Self {
        Self::try_unix(path).unwrap()
    }

    /// As [`unix`](Self::unix), where that may fail.
    pub fn try_unix(path: &Path) -> std::io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { wire: Box::new(socket), received: Vec::new() })
    }

    /// Sends a request with a body of known length, and reads the answer.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_request(method, path, headers, body).unwrap()
    }

    /// As [`request`](Self::request), where the connection may break.
    pub fn try_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: registry\r\n");
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            write!(head, "content-length: {}\r\n", body.len()).unwrap();
        }
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        // An answer may come, and the connection end, before all of a long head or of the body is taken.
        let sent = self.send(head.as_bytes()).and_then(|()| self.send(body));
        match self.response(method == "HEAD") {
            Ok(response) => Ok(response),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    /// Pushes an image with its right fingerprint.
    pub fn push(&mut self, path: &str, image: &[u8], headers: &[(&str, &str)]) -> Response {
        self.try_push(path, image, headers).unwrap()
    }

    /// As [`push`](Self::push), where the connection may break.
    pub fn try_push(
        &mut self,
        path: &str,
        image: &[u8],
        headers: &[(&str, &str)],
    ) -> std::io::Result<Response> {
        let fingerprint = Digest::of(image).to_string();
        let mut all = vec![("x-ams-fingerprint", fingerprint.as_str())];
        all.extend(headers);
        self.try_request("PUT", path, &all, image)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.wire.write_all(bytes)?;
        self.wire.flush()
    }

    /// Reads an answer; `headless` where it is one to HEAD, which has no body.
    pub fn response(&mut self, headless: bool) -> std::io::Result<Response> {
        let (mut response, chunked, length) = loop {
            if let Some(head) = self.parse_head()? {
                break head;
            }
            self.receive()?;
        };
        if headless || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if chunked {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
                response.body.extend(self.take(size)?);
                self.line()?;
                if size == 0 {
                    return Ok(response);
                }
            }
        }
        response.body = self.take(length)?;
        Ok(response)
    }

    /// The line in front of the response that tells to go on with the body.
    pub fn told(&mut self) -> std::io::Result<String> {
        let line = self.line()?;
        while !self.line()?.trim().is_empty() {}
        Ok(line.trim().to_owned())
    }

    /// Whether the other side has closed the connection, waiting for it.
    pub fn is_closed(&mut self) -> bool {
        self.receive().is_err()
    }

    fn parse_head(&mut self) -> std::io::Result<Option<(Response, bool, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = head.parse(&self.received).map_err(std::io::Error::other)?
        else {
            return Ok(None);
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers: Vec<_> =
            head.headers.iter().map(|header| (header.name.to_lowercase(), text(header.value))).collect();
        let response = Response { status: head.code.unwrap(), headers, body: Vec::new() };
        self.received.drain(..end);
        if response.status == 100 {
            return self.parse_head();
        }
        let chunked = response.header("transfer-encoding") == Some("chunked");
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        Ok(Some((response, chunked, length)))
    }

    fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<_> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.receive()?;
        }
    }

    fn take(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        while self.received.len() < length {
            self.receive()?;
        }
        Ok(self.received.drain(..length).collect())
    }

    fn receive(&mut self) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        match self.wire.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.received.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}
