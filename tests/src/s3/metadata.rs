//! A stand-in for the instance metadata server of EC2, as far as credentials of an instance profile go.
//!
//! It answers as EC2's documentation and servers do: a session token by PUT, asked for with a time to live, 401 to a GET
//! with a wrong one or, where tokens are required, with none.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::door::Door;
use super::http::{Head, RequestLine, read_request, relay};

const TOKEN: &str = "/latest/api/token";
const ROLES: &str = "/latest/meta-data/iam/security-credentials";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// Answers on loopback until it is dropped.
pub struct MetadataServer {
    door: Door,
    shared: Arc<Mutex<State>>,
}

/// What an instance says about session tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// `http-tokens: required`: version 2 only.
    Required,
    /// `http-tokens: optional`: version 1 works too.
    Optional,
    /// A server that only knows version 1, as some stand-ins of other clouds do.
    Unknown,
}

/// Credentials of an instance profile.
#[derive(Clone)]
pub struct InstanceCredentials {
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The session's token.
    pub token: String,
    /// When they end.
    pub expiration: Timestamp,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataRequest {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// Whether it carried a session token.
    pub has_token: bool,
    /// The status that was answered.
    pub status: u16,
}

struct State {
    tokens: Tokens,
    role: Option<(String, InstanceCredentials)>,
    /// Tokens that were given out, and when they end.
    sessions: HashMap<String, Instant>,
    requests: Vec<MetadataRequest>,
}

/// Status, content type, further header, body.
type Answer = (u16, &'static str, Option<(&'static str, String)>, String);

impl MetadataServer {
    /// A metadata server of an instance without a role.
    pub fn new(tokens: Tokens) -> Self {
        let state = State { tokens, role: None, sessions: HashMap::new(), requests: Vec::new() };
        let shared = Arc::new(Mutex::new(state));
        let door = Door::open({
            let shared = shared.clone();
            move |client| serve(&client, &shared)
        });
        Self { door, shared }
    }

    /// The address to ask instead of `http://169.254.169.254`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.door.address())
    }

    /// Attaches a role with these credentials, in the place of the one before.
    pub fn attach(&self, role: &str, credentials: InstanceCredentials) {
        self.shared.lock().unwrap().role = Some((role.into(), credentials));
    }

    /// Takes the role away.
    pub fn detach(&self) {
        self.shared.lock().unwrap().role = None;
    }

    /// Ends all session tokens, as a restart of the real server does.
    pub fn forget_tokens(&self) {
        self.shared.lock().unwrap().sessions.clear();
    }

    /// Refuses connections, until [`mend`](Self::mend).
    pub fn cut(&self) {
        self.door.cut();
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.door.mend();
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<MetadataRequest> {
        self.shared.lock().unwrap().requests.clone()
    }
}

impl InstanceCredentials {
    /// Credentials that end after a time.
    pub fn new(access_key: &str, secret_access_key: &str, token: &str, life: Duration) -> Self {
        Self {
            access_key: access_key.into(),
            secret_access_key: secret_access_key.into(),
            token: token.into(),
            expiration: Timestamp::now() + life,
        }
    }

    fn to_json(&self) -> String {
        let json = json!({
            "Code": "Success",
            // EC2 knows no fractions of a second.
            "LastUpdated": format!("{:.0}", Timestamp::now()),
            "Type": "AWS-HMAC",
            "AccessKeyId": self.access_key,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.token,
            "Expiration": format!("{:.0}", self.expiration),
        });
        serde_json::to_string_pretty(&json).unwrap()
    }
}

fn serve(mut client: &TcpStream, shared: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    while let Some((line, head, body)) = read_request(&mut reader)? {
        relay(&mut reader, &mut io::sink(), body)?;
        let (status, kind, header, body) = {
            let mut state = shared.lock().unwrap();
            let answer = state.answer(&line, &head);
            state.requests.push(MetadataRequest {
                method: line.method.clone(),
                path: line.target.clone(),
                has_token: head.header("x-aws-ec2-metadata-token").is_some(),
                status: answer.0,
            });
            answer
        };
        let mut answer = format!("HTTP/1.1 {status} Answer\r\nserver: EC2ws\r\ncontent-type: {kind}\r\n");
        if let Some((name, value)) = header {
            write!(answer, "{name}: {value}\r\n").unwrap();
        }
        write!(answer, "content-length: {}\r\n\r\n", body.len()).unwrap();
        if line.method != "HEAD" {
            answer.push_str(&body);
        }
        client.write_all(answer.as_bytes())?;
    }
    Ok(())
}

impl State {
    fn answer(&mut self, line: &RequestLine, head: &Head) -> Answer {
        let method = line.method.as_str();
        if line.target == TOKEN && self.tokens != Tokens::Unknown {
            return if method == "PUT" { self.give_token(head) } else { error(405, "Method Not Allowed") };
        }
        if !matches!(method, "GET" | "HEAD") {
            return if self.tokens == Tokens::Unknown {
                error(404, "Not Found")
            } else {
                error(405, "Method Not Allowed")
            };
        }
        let valid = match head.header("x-aws-ec2-metadata-token") {
            _ if self.tokens == Tokens::Unknown => true,
            Some(token) => self.sessions.get(token).is_some_and(|end| *end > Instant::now()),
            None => self.tokens == Tokens::Optional,
        };
        if !valid {
            return error(401, "Unauthorized");
        }
        let text = |body: String| (200, "text/plain", None, body);
        match (&self.role, line.target.strip_prefix(ROLES)) {
            (Some((role, _)), Some("" | "/")) => text(role.clone()),
            (Some((role, credentials)), Some(path)) if path.strip_prefix('/') == Some(role) => {
                text(credentials.to_json())
            }
            _ => error(404, "Not Found"),
        }
    }

    fn give_token(&mut self, head: &Head) -> Answer {
        if head.header("x-forwarded-for").is_some() {
            // A proxy passes the request on, which a token is not to leave through.
            return error(403, "Forbidden");
        }
        let ttl = head.header(TTL).and_then(|ttl| ttl.parse().ok()).filter(|ttl| (1..=21_600).contains(ttl));
        let Some(ttl) = ttl else { return error(400, "Bad Request") };
        let token: String =
            std::iter::repeat_with(fastrand::alphanumeric).take(54).collect::<String>() + "==";
        self.sessions.insert(token.clone(), Instant::now() + Duration::from_secs(ttl));
        (200, "text/plain", Some((TTL, ttl.to_string())), token)
    }
}

fn error(status: u16, reason: &str) -> Answer {
    let body = format!(
        "<html><head><title>{status} - {reason}</title></head><body><h1>{status} - {reason}</h1></body></html>"
    );
    (status, "text/html", None, body)
}

impl fmt::Debug for MetadataServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataServer").field("address", &self.door.address()).finish_non_exhaustive()
    }
}

impl fmt::Debug for InstanceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceCredentials")
            .field("access_key", &self.access_key)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}
