//! A client of S3 by curl: what the tests set up and look at in a store does not pass through the registry's own code.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::https::Response;

/// What a signature wants encoded: all but these.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ENCODED_KEY: &AsciiSet = &ENCODED.remove(b'/');

/// Entries a page of a listing; small, so that few entries already make several pages.
const PAGE: &str = "20";

/// A client for one bucket.
#[derive(Clone)]
pub struct Client {
    /// The address of the server, without a path.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// The access key.
    pub access_key: String,
    /// The secret of the access key.
    pub secret_access_key: String,
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The key that it is to become.
    pub key: String,
    /// Its id.
    pub id: String,
}

impl Client {
    /// Creates the bucket.
    pub fn create_bucket(&self) {
        let answer = self.request("PUT", None, &[], &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Stores an object.
    pub fn put(&self, key: &str, body: &[u8]) {
        let answer = self.request("PUT", Some(key), &[], &[], body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// An object's bytes, unless there is none.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.request("GET", Some(key), &[], &[], b"");
        assert!(matches!(answer.status, 200 | 404), "{answer:?}");
        (answer.status == 200).then_some(answer.body)
    }

    /// Removes an object, if there is one.
    pub fn delete(&self, key: &str) {
        let answer = self.request("DELETE", Some(key), &[], &[], b"");
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    }

    /// The keys that begin with `prefix`, in order.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut query =
            vec![("list-type", "2".to_owned()), ("max-keys", PAGE.into()), ("prefix", prefix.into())];
        loop {
            let page = self.page(&query);
            keys.extend(elements(&page, "Key"));
            let Some(next) = elements(&page, "NextContinuationToken").pop() else {
                keys.sort();
                return keys;
            };
            query.retain(|(name, _)| *name != "continuation-token");
            query.push(("continuation-token", next));
        }
    }

    /// The multipart uploads that were begun and not ended, ordered by their keys. Servers may forget to list some.
    ///
    /// # Panics
    /// There are more than a page has, 1,000: not all servers can be asked for the next page.
    pub fn uploads(&self) -> Vec<Upload> {
        let page = self.page(&[("uploads", String::new()), ("max-uploads", "1000".into())]);
        assert_ne!(elements(&page, "IsTruncated"), ["true"], "too many uploads to list");
        let upload = |upload: &str| {
            let one = |name| elements(upload, name).into_iter().next().unwrap();
            Upload { key: one("Key"), id: one("UploadId") }
        };
        let mut uploads: Vec<_> = page.split("<Upload>").skip(1).map(upload).collect();
        uploads.sort_by(|a, b| a.key.cmp(&b.key));
        uploads
    }

    /// Begins a multipart upload.
    pub fn begin_upload(&self, key: &str) -> Upload {
        let answer = self.request("POST", Some(key), &[("uploads", "")], &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = elements(&String::from_utf8_lossy(&answer.body), "UploadId").remove(0);
        Upload { key: key.into(), id }
    }

    /// Sends a part, numbered from 1, of a multipart upload; the answer is its `ETag`.
    pub fn upload_part(&self, upload: &Upload, number: u16, body: &[u8]) -> String {
        let query = [("partNumber", number.to_string()), ("uploadId", upload.id.clone())];
        let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = self.request("PUT", Some(&upload.key), &query, &[], body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("etag").unwrap().to_owned()
    }

    /// Completes a multipart upload of these parts, in order; whatever comes of it.
    pub fn complete_upload(&self, upload: &Upload, etags: &[String]) -> Response {
        let mut body = "<CompleteMultipartUpload>".to_owned();
        for (number, etag) in (1..).zip(etags) {
            write!(body, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>").unwrap();
        }
        body.push_str("</CompleteMultipartUpload>");
        self.request("POST", Some(&upload.key), &[("uploadId", &upload.id)], &[], body.as_bytes())
    }

    /// Aborts a multipart upload.
    pub fn abort_upload(&self, upload: &Upload) {
        let answer = self.request("DELETE", Some(&upload.key), &[("uploadId", &upload.id)], &[], b"");
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    }

    /// A signed request on the bucket or on one of its keys; whatever comes of it.
    pub fn request(
        &self,
        method: &str,
        key: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.try_request(method, key, query, headers, body)
            .unwrap_or_else(|error| panic!("{method} {key:?}: {error}"))
    }

    /// As [`request`](Self::request), where the connection may break; the error is what curl says.
    pub fn try_request(
        &self,
        method: &str,
        key: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, String> {
        // curl signs path and query as they are given.
        let mut query: Vec<_> = query
            .iter()
            .map(|(name, value)| {
                format!("{}={}", utf8_percent_encode(name, ENCODED), utf8_percent_encode(value, ENCODED))
            })
            .collect();
        query.sort();
        let mut url = format!("{}/{}", self.endpoint, self.bucket);
        if let Some(key) = key {
            write!(url, "/{}", utf8_percent_encode(key, ENCODED_KEY)).unwrap();
        }
        if !query.is_empty() {
            write!(url, "?{}", query.join("&")).unwrap();
        }

        let dir = tempfile::tempdir().unwrap();
        let file = |name| dir.path().join(name).to_str().unwrap().to_owned();
        let mut config = vec![
            ("url", url),
            ("request", method.to_owned()),
            ("user", format!("{}:{}", self.access_key, self.secret_access_key)),
            ("aws-sigv4", format!("aws:amz:{}:s3", self.region)),
            ("dump-header", file("head")),
            ("output", file("body")),
            // What curl signs as the payload of an upload would be nothing.
            ("header", "x-amz-content-sha256: UNSIGNED-PAYLOAD".to_owned()),
        ];
        config.extend(headers.iter().map(|(name, value)| ("header", format!("{name}: {value}"))));
        if matches!(method, "PUT" | "POST") {
            fs::write(dir.path().join("sent"), body).unwrap();
            config.push(("upload-file", file("sent")));
        }
        let mut text = "silent\nshow-error\ngloboff\nmax-time = 60\n".to_owned();
        if method == "HEAD" {
            text.push_str("head\n");
        }
        for (option, value) in config {
            writeln!(text, "{option} = \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")).unwrap();
        }
        // The secret goes through a pipe: arguments are for everybody to see.
        let mut curl = Command::new("curl")
            .args(["--disable", "--config", "-"])
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        curl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = curl.wait_with_output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }

        let head = fs::read(dir.path().join("head")).unwrap();
        let head = String::from_utf8_lossy(&head);
        // Leave to send the body comes with a head of its own before.
        let mut lines = head.trim_end().rsplit("\r\n\r\n").next().unwrap().lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let body =
            if method == "HEAD" { Vec::new() } else { fs::read(dir.path().join("body")).unwrap_or_default() };
        Ok(Response { status, headers, body })
    }

    fn page(&self, query: &[(&str, String)]) -> String {
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.request("GET", None, &query, &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        String::from_utf8(answer.body).unwrap()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

/// The texts of all elements of this name. The listings that are read here have no attributes and no comments.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = |piece: &str| {
        let text = piece.split(&close).next().unwrap();
        let text =
            text.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", "\"").replace("&quot;", "\"");
        text.replace("&#39;", "'").replace("&apos;", "'").replace("&amp;", "&")
    };
    xml.split(&open).skip(1).map(text).collect()
}
