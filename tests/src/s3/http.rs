//! As much of HTTP/1.1 as stand-ins need: heads, and bodies that pass through in pieces.

use std::io::{self, BufRead, ErrorKind, Read, Write};

/// No head that is meant seriously is longer.
const LONGEST_HEAD: u64 = 64 << 10;

/// The head of a request or of an answer.
#[derive(Debug)]
pub(super) struct Head {
    /// As it came, with the empty line.
    pub(super) bytes: Vec<u8>,
    /// Names in lower case, and values.
    pub(super) headers: Vec<(String, String)>,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Method and target, as the first line has them.
pub(super) struct RequestLine {
    pub(super) method: String,
    pub(super) target: String,
}

impl Head {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Takes out all headers of this name.
    pub(super) fn remove(&mut self, name: &str) {
        let prefix = format!("{name}:").into_bytes();
        let is_it =
            |line: &[u8]| line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(&prefix));
        self.bytes = self
            .bytes
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| !is_it(line))
            .flatten()
            .copied()
            .collect();
        self.headers.retain(|(given, _)| given != name);
    }

    /// Adds a header, whatever its bytes are.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.bytes.truncate(self.bytes.len() - 2);
        self.bytes.extend_from_slice(line);
        self.bytes.extend_from_slice(b"\r\n\r\n");
    }

    fn framing(&self, otherwise: Body) -> io::Result<Body> {
        if self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Ok(Body::Chunked);
        }
        self.header("content-length")
            .map_or(Ok(otherwise), |length| length.parse().map(Body::Length).map_err(io::Error::other))
    }
}

/// Reads a request's head; none where the connection ends before it.
pub(super) fn read_request(reader: &mut impl BufRead) -> io::Result<Option<(RequestLine, Head, Body)>> {
    let Some(bytes) = read_head(reader)? else { return Ok(None) };
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(&bytes).map_err(io::Error::other)?;
    let line = RequestLine {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
    };
    let headers = names_and_values(request.headers);
    let head = Head { bytes, headers };
    let body = head.framing(Body::Length(0))?;
    Ok(Some((line, head, body)))
}

/// Reads an answer's head: its status, and how its body ends.
pub(super) fn read_answer(reader: &mut impl BufRead, method: &str) -> io::Result<(u16, Head, Body)> {
    loop {
        let bytes = read_head(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut answer = httparse::Response::new(&mut headers);
        answer.parse(&bytes).map_err(io::Error::other)?;
        let status = answer.code.unwrap_or_default();
        let headers = names_and_values(answer.headers);
        if status < 200 {
            continue;
        }
        let head = Head { bytes, headers };
        let body = if method == "HEAD" || matches!(status, 204 | 304) {
            Body::Length(0)
        } else {
            head.framing(Body::UntilClose)?
        };
        return Ok((status, head, body));
    }
}

/// Passes a body on as it comes.
pub(super) fn relay(reader: &mut impl BufRead, writer: &mut impl Write, body: Body) -> io::Result<()> {
    match body {
        Body::Length(length) => relay_exactly(reader, writer, length),
        Body::UntilClose => io::copy(reader, writer).map(drop),
        Body::Chunked => loop {
            let line = read_line(reader)?;
            writer.write_all(&line)?;
            let size = String::from_utf8_lossy(&line);
            let size = size.trim().split(';').next().unwrap_or_default();
            match u64::from_str_radix(size, 16).map_err(io::Error::other)? {
                // What follows are trailers and the empty line.
                0 => loop {
                    let line = read_line(reader)?;
                    writer.write_all(&line)?;
                    if line == b"\r\n" {
                        return Ok(());
                    }
                },
                size => relay_exactly(reader, writer, size + 2)?,
            }
        },
    }
}

/// Passes on so many bytes, without more copies than the reader's buffer needs.
pub(super) fn relay_exactly(
    reader: &mut impl BufRead,
    writer: &mut impl Write,
    mut length: u64,
) -> io::Result<()> {
    while length > 0 {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let part = usize::try_from(length).map_or(buffer.len(), |length| length.min(buffer.len()));
        writer.write_all(&buffer[..part])?;
        reader.consume(part);
        length -= part as u64;
    }
    Ok(())
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut reader = reader.take(LONGEST_HEAD);
    loop {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        if head.ends_with(b"\r\n\r\n") {
            return Ok(Some(head));
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(LONGEST_HEAD).read_until(b'\n', &mut line)?;
    if line.ends_with(b"\r\n") { Ok(line) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn names_and_values(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let value = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|header| (header.name.to_lowercase(), value(header.value))).collect()
}
