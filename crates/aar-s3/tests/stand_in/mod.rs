//! A server that answers as a test wants it to.
#![allow(dead_code, reason = "each test uses a part")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aar_s3::{Credentials, Options, S3Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What somebody asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// In lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the request is one of this method, for a target that contains this.
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// Bytes to be answered, head and all; nothing cuts the connection.
pub(crate) type Reply = Vec<u8>;

pub(crate) fn reply(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let length = if headers.contains("Content-Length") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let mut reply = format!("HTTP/1.1 {status} x\r\n{length}{headers}\r\n").into_bytes();
    reply.extend_from_slice(body);
    reply
}

pub(crate) fn error(status: u16, code: &str) -> Reply {
    reply(status, "", format!("<Error><Code>{code}</Code><Message>m</Message></Error>"))
}

/// A server, until it is dropped.
pub(crate) struct StandIn {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl StandIn {
    /// Answers each request as `answer` says, which is told how many came before.
    pub(crate) async fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let answer = Arc::new(answer);
        let task = tokio::spawn({
            let asked = asked.clone();
            async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let (asked, answer) = (asked.clone(), answer.clone());
                    tokio::spawn(async move {
                        while let Some(request) = receive(&mut stream).await {
                            let before = {
                                let mut asked = asked.lock().unwrap();
                                asked.push(request.clone());
                                asked.len() - 1
                            };
                            let reply = answer(before, &request);
                            if reply.is_empty() || stream.write_all(&reply).await.is_err() {
                                return;
                            }
                            if reply.windows(17).any(|head| head == b"Connection: close") {
                                return;
                            }
                        }
                    });
                }
            }
        });
        Self { url, asked, task }
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until somebody has asked for such.
    pub(crate) async fn wait_for(&self, method: &str, part: &str) {
        for _ in 0..1000 {
            if self.asked().iter().any(|request| request.is(method, part)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody asks for {method} {part}: {:?}", self.asked());
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

/// A store in bucket `aar0` of region `eu-west-3`, below `p/`, whose parts are small.
pub(crate) fn store(endpoint: &str, credentials: Credentials) -> S3Store {
    aar_s3::open(Options {
        region: "eu-west-3".into(),
        bucket: "aar0".into(),
        endpoint: Some(endpoint.into()),
        public_endpoint: None,
        prefix: "p/".into(),
        credentials,
        redirect_duration: Duration::from_secs(900),
        part_size: Some(1000),
        spool: "/nowhere".into(),
    })
    .unwrap()
}

pub(crate) fn keys() -> Credentials {
    Credentials::Keys { access_key: "AKID".into(), secret_access_key: "SECRET".to_owned().into() }
}
