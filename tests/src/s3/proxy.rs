//! A proxy between the registry and a store: it remembers every request, and misbehaves when told to.
//!
//! Requests pass as they are, the `Host` header included, so that signatures hold. Bodies pass in pieces, whatever their
//! size. One thread a connection, and one connection to the store for each.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::door::Door;
use super::fault::{Fault, Refusal, When};
use super::http::{Body, Head, read_answer, read_request, relay, relay_exactly};
use super::iam::{Call, IamPolicy};

/// Bytes that a connection holds of a body.
const BUFFER: usize = 256 << 10;

/// The entity tag that [`Fault::WrongEtag`] puts in the place of the right one.
const WRONG_ETAG: &str = "\"00000000000000000000000000000bad\"";

/// Takes connections on loopback and passes their requests on to a store, until it is dropped.
pub struct Proxy {
    door: Door,
    shared: Arc<Shared>,
}

struct Shared {
    store: SocketAddr,
    requests: Mutex<Vec<ProxyRequest>>,
    rules: Mutex<Vec<(When, Fault)>>,
}

/// A request that came by.
#[derive(Debug, Clone)]
pub struct ProxyRequest {
    /// The method.
    pub method: String,
    /// Path and query as they were sent, without a signature.
    pub target: String,
    /// Names in lower case, and values; without the authorization and without a session's token.
    pub headers: Vec<(String, String)>,
    /// The access key that signed the request.
    pub access_key: Option<String>,
    /// Whether the request carried a session's token.
    pub has_session_token: bool,
    /// Operation, bucket, key and the permissions that it needs.
    pub call: Call,
    /// What was done to it.
    pub fault: Option<Fault>,
    /// The status that was answered; none before, and where the connection broke.
    pub status: Option<u16>,
}

impl ProxyRequest {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

impl Proxy {
    /// A proxy in front of the store at `endpoint`, such as `http://127.0.0.1:9000`.
    pub fn in_front_of(endpoint: &str) -> Self {
        let store = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let shared = Arc::new(Shared { store, requests: Mutex::default(), rules: Mutex::default() });
        let door = Door::open({
            let shared = shared.clone();
            move |client| shared.serve(&client)
        });
        Self { door, shared }
    }

    /// The address to give to the registry instead of the store's.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.door.address())
    }

    /// Adds a rule. The first rule that takes a request decides.
    pub fn misbehave(&self, when: When, fault: Fault) {
        self.shared.rules.lock().unwrap().push((when, fault));
    }

    /// Refuses what needs this action, such as `s3:AbortMultipartUpload`, as if the policy did not give it.
    pub fn deny(&self, action: &str) {
        self.misbehave(When::action(action), Fault::access_denied());
    }

    /// Drops all rules.
    pub fn behave(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// Puts the store out of reach: connections are refused, and those that are there break.
    pub fn cut(&self) {
        self.door.cut();
    }

    /// Puts the store into reach again, at the same address.
    pub fn mend(&self) {
        self.door.mend();
    }

    /// All requests since the start, or since they were last forgotten.
    pub fn requests(&self) -> Vec<ProxyRequest> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How often an operation was asked for.
    pub fn count(&self, operation: &str) -> usize {
        self.requests().iter().filter(|request| request.call.operation == operation).count()
    }

    /// Every request so far needed nothing but what the policy gives.
    ///
    /// # Panics
    /// One needed more, or there was none at all.
    pub fn assert_permitted(&self, policy: &IamPolicy) {
        let requests = self.requests();
        assert!(!requests.is_empty(), "no request came by");
        let mut outside = BTreeSet::new();
        for request in &requests {
            for needed in request.call.permissions.iter().filter(|needed| !policy.permits(needed)) {
                outside.insert(format!(
                    "{} {} ({}) needs {} on {}",
                    request.method, request.target, request.call.operation, needed.action, needed.resource
                ));
            }
        }
        let outside: Vec<_> = outside.into_iter().collect();
        assert!(outside.is_empty(), "outside the policy:\n{}", outside.join("\n"));
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.door.address()).finish_non_exhaustive()
    }
}

/// What becomes of the client's connection after an exchange.
#[derive(PartialEq, Eq)]
enum After {
    Keep,
    Close,
    Reset,
}

impl Shared {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(BUFFER, client);
        let mut store = None;
        while let Some((line, head, body)) = read_request(&mut reader)? {
            let call =
                Call::of(&line.method, head.header("host").unwrap_or_default(), &line.target, &head.headers);
            let fault = self
                .rules
                .lock()
                .unwrap()
                .iter_mut()
                .find_map(|(when, fault)| when.takes(&call).then(|| fault.clone()));
            let exchange = Exchange {
                shared: self,
                number: self.remember(&line.method, &line.target, &head, call.clone(), fault.clone()),
                method: &line.method,
                operation: &call.operation,
                fault,
            };
            let after = exchange.carry_out(&mut reader, client, &mut store, head, body);
            match after {
                Ok(After::Keep) => {}
                Ok(After::Close) => return Ok(()),
                // A store that breaks off looks like a proxy that does.
                Ok(After::Reset) | Err(_) => return reset(client),
            }
        }
        Ok(())
    }

    fn remember(&self, method: &str, target: &str, head: &Head, call: Call, fault: Option<Fault>) -> usize {
        let secret = |name: &str| matches!(name, "authorization" | "x-amz-security-token");
        let (target_shown, presigner) = without_secrets(target);
        let request = ProxyRequest {
            method: method.to_owned(),
            target: target_shown,
            headers: head.headers.iter().filter(|(name, _)| !secret(name)).cloned().collect(),
            access_key: head.header("authorization").and_then(signer).or(presigner),
            has_session_token: head.header("x-amz-security-token").is_some()
                || target.to_lowercase().contains("x-amz-security-token="),
            call,
            fault,
            status: None,
        };
        let mut requests = self.requests.lock().unwrap();
        requests.push(request);
        requests.len() - 1
    }
}

/// One request and its answer.
struct Exchange<'a> {
    shared: &'a Shared,
    number: usize,
    method: &'a str,
    operation: &'a str,
    fault: Option<Fault>,
}

impl Exchange<'_> {
    fn carry_out(
        &self,
        reader: &mut impl BufRead,
        mut client: &TcpStream,
        store: &mut Option<BufReader<TcpStream>>,
        mut head: Head,
        body: Body,
    ) -> io::Result<After> {
        let waits = head.header("expect").is_some();
        match &self.fault {
            Some(Fault::ResetBefore) => return Ok(After::Reset),
            Some(Fault::Stall(time)) => std::thread::sleep(*time),
            Some(Fault::Refuse(refusal)) => {
                // Who waits for leave to send its body does not send it after an error.
                if !waits {
                    relay(reader, &mut io::sink(), body)?;
                }
                self.answer(client, refusal.status, &refusal.headers, &refusal_body(refusal))?;
                return Ok(if waits { After::Close } else { After::Keep });
            }
            _ => {}
        }
        if waits {
            // The store is not asked: it would answer in between, and the leave costs nothing.
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            head.remove("expect");
        }
        if self.fault == Some(Fault::ErrorBehind200 { forward: false }) {
            relay(reader, &mut io::sink(), body)?;
            return self.answer_error_behind_200(client);
        }

        if store.as_ref().is_none_or(|store| is_closed(store.get_ref())) {
            let connection = TcpStream::connect(self.shared.store)?;
            connection.set_nodelay(true)?;
            *store = Some(BufReader::with_capacity(BUFFER, connection));
        }
        let upstream = store.as_mut().unwrap();
        let mut sink = Upstream { stream: upstream.get_ref(), failed: false };
        sink.write_all(&head.bytes)?;
        relay(reader, &mut sink, body)?;
        let broken = sink.failed;
        let (status, answer, body) = read_answer(upstream, self.method)?;
        let after = self.pass_back(upstream, client, status, answer, body)?;
        if broken || after != After::Keep {
            *store = None;
        }
        Ok(after)
    }

    fn pass_back(
        &self,
        store: &mut BufReader<TcpStream>,
        mut client: &TcpStream,
        status: u16,
        mut head: Head,
        body: Body,
    ) -> io::Result<After> {
        let closes = body == Body::UntilClose
            || head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let after = if closes { After::Close } else { After::Keep };
        match &self.fault {
            Some(Fault::ResetAfter) => {
                relay(store, &mut io::sink(), body)?;
                return Ok(After::Reset);
            }
            Some(Fault::ErrorBehind200 { .. }) => {
                relay(store, &mut io::sink(), body)?;
                return self.answer_error_behind_200(client);
            }
            Some(Fault::Truncate) => {
                self.note(status);
                pass_half(store, client, &head, body, None)?;
                return Ok(After::Close);
            }
            Some(Fault::StallAnswer(time)) => {
                self.note(status);
                pass_half(store, client, &head, body, Some(*time))?;
                return Ok(after);
            }
            Some(Fault::WrongEtag) if self.operation == "CompleteMultipartUpload" && status == 200 => {
                // This operation has the tag in its body.
                relay(store, &mut io::sink(), body)?;
                let tag = WRONG_ETAG.replace('"', "&quot;");
                let body = format!(
                    "<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
                );
                self.answer(client, 200, &[], &body)?;
                return Ok(after);
            }
            Some(Fault::WrongEtag) => {
                head.remove("etag");
                head.add(format!("ETag: {WRONG_ETAG}").as_bytes());
            }
            Some(Fault::HeaderNotAscii) => head.add(b"x-amz-meta-place: caf\xe9"),
            _ => {}
        }
        self.note(status);
        client.write_all(&head.bytes)?;
        relay(store, &mut client, body)?;
        Ok(after)
    }

    fn answer_error_behind_200(&self, client: &TcpStream) -> io::Result<After> {
        let Fault::Refuse(error) = Fault::internal_error() else { unreachable!() };
        self.answer(client, 200, &[], &refusal_body(&error))?;
        Ok(After::Keep)
    }

    fn answer(
        &self,
        mut client: &TcpStream,
        status: u16,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> io::Result<()> {
        let mut answer = format!("HTTP/1.1 {status} Answer\r\ncontent-type: application/xml\r\n");
        for (name, value) in headers {
            write!(answer, "{name}: {value}\r\n").unwrap();
        }
        if self.method == "HEAD" {
            answer.push_str("\r\n");
        } else {
            write!(answer, "content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
        self.note(status);
        client.write_all(answer.as_bytes())
    }

    /// Remembers what is answered, before it is: who has the answer finds it remembered.
    fn note(&self, status: u16) {
        self.shared.requests.lock().unwrap()[self.number].status = Some(status);
    }
}

/// Takes a body even where the store no longer does: it may have answered already and closed, and that answer is to reach
/// the client.
struct Upstream<'a> {
    stream: &'a TcpStream,
    failed: bool,
}

impl Write for Upstream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.failed {
            match self.stream.write(bytes) {
                Err(error) if error.kind() != ErrorKind::Interrupted => self.failed = true,
                result => return result,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes on half of an answer, and the other half after a pause, if there is one. Where the body has no known length or
/// none at all, it is the head that is halved.
fn pass_half(
    store: &mut BufReader<TcpStream>,
    mut client: &TcpStream,
    head: &Head,
    body: Body,
    pause: Option<Duration>,
) -> io::Result<()> {
    let (now, later, body_later) = match body {
        Body::Length(length) if length > 0 => {
            client.write_all(&head.bytes)?;
            relay_exactly(store, &mut client, length / 2)?;
            (&[][..], &[][..], Body::Length(length - length / 2))
        }
        other => {
            let (now, later) = head.bytes.split_at(head.bytes.len() / 2);
            (now, later, other)
        }
    };
    client.write_all(now)?;
    if let Some(pause) = pause {
        std::thread::sleep(pause);
        client.write_all(later)?;
        relay(store, &mut client, body_later)?;
    }
    Ok(())
}

fn refusal_body(refusal: &Refusal) -> String {
    let Refusal { code, message, more, .. } = refusal;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}\
         <RequestId>4442587FB7D0A2F9</RequestId></Error>"
    )
}

/// Lets the closing of a connection be a reset.
fn reset(client: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(client, Some(Duration::ZERO))?)
}

/// Whether the other side has closed a connection that is at rest.
fn is_closed(connection: &TcpStream) -> bool {
    let peek = |connection: &TcpStream| {
        connection.set_nonblocking(true)?;
        let peeked = connection.peek(&mut [0]);
        connection.set_nonblocking(false)?;
        peeked
    };
    !matches!(peek(connection), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The access key in an `Authorization` header of AWS's signature version 4.
fn signer(authorization: &str) -> Option<String> {
    let credential = authorization.split_once("Credential=")?.1;
    credential.split('/').next().map(str::to_owned)
}

/// A target without signature and token, and the access key that signed it.
fn without_secrets(target: &str) -> (String, Option<String>) {
    let Some((path, query)) = target.split_once('?') else { return (target.to_owned(), None) };
    let mut access_key = None;
    let kept: Vec<_> = query
        .split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name.to_lowercase().as_str() {
                "x-amz-signature" | "x-amz-security-token" => format!("{name}=(secret)"),
                "x-amz-credential" => {
                    access_key = value.split(['/', '%']).next().map(str::to_owned);
                    pair.to_owned()
                }
                _ => pair.to_owned(),
            }
        })
        .collect();
    (format!("{path}?{}", kept.join("&")), access_key)
}
