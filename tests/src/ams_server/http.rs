//! HTTP/1.1, as the server's side sees it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use serde_json::{Value, json};

/// The longest head, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The next request of a connection; none where the other side has ended it.
    pub(super) fn read(wire: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if wire.read(&mut byte)? == 0 {
                return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            head.extend(byte);
            if head.len() > MAX_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        parsed.parse(&head).map_err(io::Error::other)?;
        let (path, query) = match parsed.path.unwrap_or_default().split_once('?') {
            Some((path, query)) => (path, query),
            None => (parsed.path.unwrap_or_default(), ""),
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut request = Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.trim_end_matches('/').to_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: parsed.headers.iter().map(|it| (it.name.to_lowercase(), text(it.value))).collect(),
            body: Vec::new(),
        };
        let length: u64 =
            request.header("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        let read = wire.take(length).read_to_end(&mut request.body)?;
        if (read as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(request)) }
    }
}

impl Answer {
    pub(super) fn sync(metadata: &Value) -> Self {
        let envelope = json!({
            "type": "sync", "status": "Success", "status_code": 200, "operation": "", "error_code": 0, "error": "",
            "metadata": metadata,
        });
        Self::json(200, &envelope)
    }

    pub(super) fn accepted(operation: &Value) -> Self {
        let path = format!("1.0/operations/{}", operation["id"].as_str().unwrap());
        let envelope = json!({
            "type": "async", "status": "Operation created", "status_code": 100, "operation": path, "error_code": 0,
            "error": "", "metadata": operation,
        });
        let mut answer = Self::json(202, &envelope);
        answer.headers.push(("location", format!("/{path}")));
        answer
    }

    pub(super) fn error(code: u16, text: &str) -> Self {
        Self::json(code, &json!({"type": "error", "error": text, "error_code": code, "metadata": {}}))
    }

    pub(super) fn file(name: &str, fingerprint: String, body: Vec<u8>) -> Self {
        let headers = vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("content-disposition", format!("inline;filename={name}")),
            ("x-ams-fingerprint", fingerprint),
        ];
        Self { status: 200, headers, body }
    }

    fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    pub(super) fn write(&self, wire: &mut impl Write) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} AMS\r\ncontent-length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        wire.write_all(head.as_bytes())?;
        wire.write_all(&self.body)?;
        wire.flush()
    }
}
