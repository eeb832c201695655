//! Nothing that opens the bucket is logged, at any level.
#![allow(clippy::unwrap_used, reason = "tests")]

mod stand_in;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use aar_model::Digest;
use aar_s3::Credentials;
use aar_store::{Blobs, Download, Downloads, RecordKey, Records};
use bytes::Bytes;
use stand_in::{Reply, Request, StandIn, keys, reply, store};
use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_keys_nor_tokens_nor_signatures_are_logged_at_trace_level() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .init();
    let metadata = StandIn::start(|_, request| match request.target.as_str() {
        "/latest/api/token" => reply(200, "", "METADATATOKEN"),
        target if target.ends_with('/') => reply(200, "", "registry"),
        _ => reply(
            200,
            "",
            r#"{"Code": "Success", "AccessKeyId": "ASIA", "SecretAccessKey": "SECRET", "Token": "SESSION",
                "Expiration": "2199-01-01T00:00:00Z"}"#,
        ),
    })
    .await;
    let bucket = StandIn::start(echo).await;
    let profile = Credentials::InstanceProfile { metadata_endpoint: Some(metadata.url.clone()) };
    let image = Digest::of(b"x");
    let mut signatures = Vec::new();
    for store in [store(&bucket.url, keys()), store(&bucket.url, profile)] {
        let record = RecordKey::application("a".parse().unwrap());
        let _ = store.put(&record, Bytes::from_static(b"{}")).await;
        let _ = Records::list(&store).await;
        let mut upload = store.begin(&image, Some(3000)).await.unwrap();
        upload.write(vec![0; 3000].into()).await.unwrap();
        let _ = upload.commit().await;
        let download = Download { image: &image, media_type: "a/b", file_name: "c" };
        let url = store.url(&download).await.unwrap();
        signatures.push(url.reveal().split_once("X-Amz-Signature=").unwrap().1[..64].to_owned());
        store.check().await;
    }
    for request in bucket.asked() {
        signatures
            .push(request.header("authorization").unwrap().split_once("Signature=").unwrap().1.to_owned());
    }

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("TRACE") && log.contains("the store is asked again"), "{log}");
    assert!(signatures.len() > 20);
    for secret in
        ["SECRET", "SESSION", "METADATATOKEN"].into_iter().chain(signatures.iter().map(String::as_str))
    {
        assert!(!log.contains(secret), "the log shows {secret}");
    }
}

/// An answer that errs and repeats the request, as S3 does with one whose signature is wrong.
fn echo(before: usize, request: &Request) -> Reply {
    if request.method == "POST" {
        return reply(
            200,
            "",
            "<InitiateMultipartUploadResult><UploadId>ID</UploadId></InitiateMultipartUploadResult>",
        );
    }
    if request.method == "PUT" && !before.is_multiple_of(3) {
        return reply(200, "ETag: \"t\"\r\n", "");
    }
    let signed = request.header("authorization").unwrap();
    let token = request.header("x-amz-security-token").unwrap_or_default();
    let (status, code) = match request.method.as_str() {
        "PUT" => (503, "SlowDown"),
        _ => (403, "SignatureDoesNotMatch"),
    };
    let body =
        format!("<Error><Code>{code}</Code><SignatureProvided>{signed} {token}</SignatureProvided></Error>");
    reply(status, "", body)
}
