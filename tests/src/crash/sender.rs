//! Sends requests to a daemon that may be killed at any moment.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aar_model::Digest;
use fastrand::Rng;

use super::model::{Action, Metadata};
use crate::{Connection, Person, Response};

/// What came of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    Answered(Response),
    /// The daemon was killed before it answered. What was not sent to its end cannot have been carried out.
    Lost {
        whole: bool,
    },
}

/// Somebody's connection to the daemon, made anew where it has ended.
pub(super) struct Sender<'a> {
    pub(super) address: SocketAddr,
    pub(super) person: &'a Person,
    /// Set before the daemon is killed: until then it may leave nothing unanswered.
    pub(super) killed: &'a AtomicBool,
    pub(super) connection: Option<Connection>,
}

impl Sender<'_> {
    /// Asks for a change.
    pub(super) fn send(&mut self, app: &str, action: &Action, rng: &mut Rng) -> Outcome {
        let (method, path, json) = action.request(app);
        if let Action::Push { image, digest, metadata, .. } = action {
            let metadata = metadata.as_ref().map(Metadata::header);
            return self.push(&path, *digest, metadata.as_deref(), image, rng);
        }
        let body = json.map(|json| json.to_string()).unwrap_or_default();
        self.exchange(|connection| {
            connection.try_request(method, &path, &[], body.as_bytes()).map_err(|_| true)
        })
    }

    /// Pulls an image.
    pub(super) fn get(&mut self, path: &str) -> Outcome {
        self.exchange(|connection| connection.try_request("GET", path, &[], b"").map_err(|_| true))
    }

    /// Pushes an image that is to have this digest, with and without its length, in pieces and with pauses.
    pub(super) fn push(
        &mut self,
        path: &str,
        digest: Digest,
        metadata: Option<&str>,
        image: &[u8],
        rng: &mut Rng,
    ) -> Outcome {
        let chunked = rng.bool();
        let head = head(path, digest, metadata, (!chunked).then_some(image.len()));
        self.exchange(|connection| {
            let sent =
                connection.send(head.as_bytes()).and_then(|()| send_body(connection, image, chunked, rng));
            // An answer may come before all of the body is taken.
            connection.response(false).map_err(|_| sent.is_ok())
        })
    }

    /// Begins to push an image, and goes away.
    pub(super) fn cut_push(&mut self, path: &str, image: &[u8], rng: &mut Rng) {
        let head = head(path, Digest::of(image), None, Some(image.len()));
        let part = &image[..rng.usize(..image.len())];
        if let Some(mut connection) = self.connection.take().or_else(|| self.connect()) {
            // Where it has been killed, that is found next time.
            let _ =
                connection.send(head.as_bytes()).and_then(|()| send_body(&mut connection, part, false, rng));
        }
    }

    fn connect(&self) -> Option<Connection> {
        let connection = Connection::try_tls(self.address, Some(self.person));
        assert!(connection.is_ok() || self.is_killed(), "cannot connect: {:?}", connection.err());
        connection.ok()
    }

    /// Has a request answered; where it is not, `exchange` says whether it had been sent to its end.
    fn exchange(&mut self, exchange: impl FnOnce(&mut Connection) -> Result<Response, bool>) -> Outcome {
        let Some(mut connection) = self.connection.take().or_else(|| self.connect()) else {
            return Outcome::Lost { whole: false };
        };
        match exchange(&mut connection) {
            Ok(response) => {
                // What is refused may end the connection.
                if response.status < 300 {
                    self.connection = Some(connection);
                }
                Outcome::Answered(response)
            }
            Err(whole) => {
                assert!(self.is_killed(), "a request was not answered, and nobody had killed the daemon");
                Outcome::Lost { whole }
            }
        }
    }

    fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }
}

fn head(path: &str, digest: Digest, metadata: Option<&str>, length: Option<usize>) -> String {
    let metadata = metadata.map(|json| format!("x-ams-request: {json}\r\n")).unwrap_or_default();
    let framing = match length {
        Some(length) => format!("content-length: {length}"),
        None => "transfer-encoding: chunked".into(),
    };
    format!(
        "PUT {path} HTTP/1.1\r\nhost: registry\r\nx-ams-fingerprint: {digest}\r\n{metadata}{framing}\r\n\r\n"
    )
}

fn send_body(
    connection: &mut Connection,
    mut body: &[u8],
    chunked: bool,
    rng: &mut Rng,
) -> std::io::Result<()> {
    while !body.is_empty() {
        let longest = body.len().min(1 << rng.u32(10..=20));
        let (piece, rest) = body.split_at(rng.usize(1..=longest));
        body = rest;
        if chunked {
            connection.send(format!("{:x}\r\n", piece.len()).as_bytes())?;
        }
        connection.send(piece)?;
        if chunked {
            connection.send(b"\r\n")?;
        }
        if rng.u8(..20) == 0 {
            std::thread::sleep(Duration::from_millis(rng.u64(1..10)));
        }
    }
    if chunked { connection.send(b"0\r\n\r\n") } else { Ok(()) }
}
