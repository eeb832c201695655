//! What comes of a store that errs, breaks off or lies.
#![allow(clippy::unwrap_used, reason = "tests")]

mod stand_in;

use std::time::Duration;

use aar_model::Digest;
use aar_s3::S3Store;
use aar_store::{Blobs, Error, Note, RecordKey, Records, UploadId, image_key};
use bytes::Bytes;
use futures_util::TryStreamExt;
use serde_json::Value;
use stand_in::{Reply, Request, StandIn, error, keys, reply, store};

#[tokio::test]
async fn a_request_is_sent_again_until_the_store_is_well() {
    let server = StandIn::start(|before, _| match before {
        0 => error(503, "SlowDown"),
        1 => Reply::new(),
        2 => b"HTTP/1.1 200 x\r\nContent-Length: 0\r\nX-Name: \xc3\xa9\r\nETag: \"t\"\r\n\r\n".to_vec(),
        3 => reply(200, "", ""),
        4 => error(404, "NoSuchKey"),
        _ => reply(200, "ETag: \"t\"\r\n", ""),
    })
    .await;

    let tag = Records::put(&store(&server.url, keys()), &record(), Bytes::from_static(b"{}")).await.unwrap();

    assert_eq!(&*tag.0, "t");
    let asked = server.asked();
    assert_eq!(asked.len(), 6);
    // MD5 of `{}`.
    assert!(asked.iter().all(|put| put.header("content-md5") == Some("mZFLkyvTelC5g8XnyQrpOw==")));
    assert!(asked.iter().all(|put| put.body == b"{}"));
}

#[tokio::test]
async fn what_is_denied_is_not_asked_again_and_names_what_the_policy_lacks() {
    let server = StandIn::start(|_, request| match request.method.as_str() {
        "HEAD" => reply(403, "Content-Length: 0\r\n", ""),
        _ => error(403, "AccessDenied"),
    })
    .await;
    let store = store(&server.url, keys());

    let denied = Records::put(&store, &record(), Bytes::new()).await.unwrap_err();
    assert_eq!(denied.to_string(), "the store denies s3:PutObject on arn:aws:s3:::aar0/*");
    let denied = Blobs::list(&store).await.unwrap_err();
    assert_eq!(denied.to_string(), "the store denies s3:ListBucket on arn:aws:s3:::aar0");
    assert_eq!(server.asked().len(), 2);
    let denied = store.size(&Digest::of(b"x")).await.unwrap_err();
    assert_eq!(denied.to_string(), "the store denies s3:GetObject on arn:aws:s3:::aar0/*");
}

#[tokio::test]
async fn why_a_look_up_is_refused_is_told() {
    let server = StandIn::start(|_, request| match request.method.as_str() {
        "HEAD" => reply(403, "Content-Length: 0\r\n", ""),
        _ => error(403, "SignatureDoesNotMatch"),
    })
    .await;
    let refused = store(&server.url, keys()).size(&Digest::of(b"x")).await.unwrap_err();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(cause.contains("check access-key and secret-access-key"), "{cause}");
}

#[tokio::test]
async fn every_permission_that_is_missing_is_named_and_no_other() {
    for (method, part, missing) in [
        ("GET", "?location", "s3:GetBucketLocation"),
        ("GET", "list-type=2", "s3:ListBucket"),
        ("GET", "uploads=", "s3:ListBucketMultipartUploads"),
        ("GET", "/p/uploads/", "s3:GetObject"),
        ("PUT", "", "s3:PutObject"),
        ("GET", "uploadId", "s3:ListMultipartUploadParts"),
        ("DELETE", "uploadId", "s3:AbortMultipartUpload"),
        ("DELETE", "/p/uploads/", "s3:DeleteObject"),
    ] {
        let server = StandIn::start(move |_, request| {
            // A query of its own makes another action of it.
            let other = part.starts_with('/') && request.target.contains('?');
            let denied = request.is(method, part) && !other;
            if denied { error(403, "AccessDenied") } else { kind(request) }
        })
        .await;

        let checks = store(&server.url, keys()).check().await;

        assert_eq!(checks.len(), 8);
        for check in checks {
            let denied = matches!(&check.outcome, Err(Error::Denied { action, .. })
                if *action == format!("{missing} on {}", check.resource));
            assert_eq!(denied, check.permission == missing, "{missing}: {check:?}");
            assert!(denied || check.outcome.is_ok(), "{missing}: {check:?}");
        }
    }
}

#[tokio::test]
async fn parts_are_equal_and_each_carries_its_md5() {
    let server = StandIn::start(|_, request| kind(request)).await;
    let data = vec![7; 2500];
    let image = Digest::of(&data);

    assert_eq!(push(&store(&server.url, keys()), image, &data).await.unwrap(), 2500);

    let asked = server.asked();
    let mut parts: Vec<_> = asked.iter().filter(|request| request.is("PUT", "partNumber=")).collect();
    parts.sort_by(|a, b| a.target.cmp(&b.target));
    assert_eq!(parts.iter().map(|part| part.body.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
    assert!(parts.iter().all(|part| part.target.contains(&image_key(&image))));
    assert!(parts.iter().all(|part| part.header("content-md5").is_some_and(|md5| md5.len() == 24)));
    let note: Vec<_> = asked.iter().filter(|request| request.target.contains("/p/uploads/")).collect();
    assert_eq!(note.iter().map(|request| &*request.method).collect::<Vec<_>>(), ["PUT", "DELETE"]);
    assert_eq!(note[0].body, b"ID");
}

#[tokio::test]
async fn an_image_that_no_object_can_hold_is_refused_before_anything_is_asked() {
    const MOST: u64 = 5 << 40;
    let server = StandIn::start(|_, request| kind(request)).await;
    let store = store(&server.url, keys());
    let image = Digest::of(b"x");
    let id: UploadId = format!("{:032x}", 1).parse().unwrap();
    for size in [MOST + 1, i64::MAX as u64, u64::MAX] {
        let pushed = store.begin(&image, Some(size)).await.err();
        assert!(matches!(pushed, Some(Error::TooLarge(..))), "{size}: {pushed:?}");
        let created = store.uploads().create(&id, Note::new(Value::Null, image, size)).await;
        assert!(matches!(created, Err(Error::TooLarge(..))), "{size}: {created:?}");
    }
    assert_eq!(server.asked().len(), 0);

    store.begin(&image, Some(MOST)).await.unwrap();
    store.uploads().create(&id, Note::new(Value::Null, image, MOST)).await.unwrap();
}

#[tokio::test]
async fn an_answer_of_200_with_an_error_in_it_is_no_completion() {
    let data = vec![7; 2500];
    let image = Digest::of(&data);
    let server = StandIn::start(|_, request| match request {
        request if request.is("POST", "uploadId=") => error(200, "InternalError"),
        request => kind(request),
    })
    .await;
    // Patience for eight attempts is for the store's sake; that the first one is not believed shows long before.
    let store = store(&server.url, keys());
    let pushing = tokio::spawn(async move { push(&store, image, &data).await });
    server.wait_for("POST", "uploadId=").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!pushing.is_finished());
    pushing.abort();
    server.wait_for("DELETE", "uploadId=").await;
}

#[tokio::test]
async fn a_completion_whose_answer_is_lost_is_found_out() {
    let data = vec![7; 2500];
    let image = Digest::of(&data);
    for size in [2500, 2499] {
        let completed = std::sync::atomic::AtomicUsize::new(0);
        let server = StandIn::start(move |_, request| {
            if request.is("POST", "uploadId=") {
                let before = completed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                return if before == 0 { Reply::new() } else { error(404, "NoSuchUpload") };
            }
            let complete = completed.load(std::sync::atomic::Ordering::Relaxed) > 0;
            if request.method == "HEAD" && complete {
                return format!("HTTP/1.1 200 x\r\nContent-Length: {size}\r\n\r\n").into_bytes();
            }
            kind(request)
        })
        .await;

        let outcome = push(&store(&server.url, keys()), image, &data).await;

        assert_eq!(outcome.is_ok(), size == 2500, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_push_that_fails_is_aborted_and_its_note_removed() {
    let server = StandIn::start(|_, request| match request {
        request if request.is("PUT", "partNumber=2") => error(403, "AccessDenied"),
        request => kind(request),
    })
    .await;
    let data = vec![7; 2500];
    let failed = push(&store(&server.url, keys()), Digest::of(&data), &data).await.unwrap_err();
    assert!(matches!(failed, Error::Denied { .. }), "{failed:?}");
    server.wait_for("DELETE", "uploadId=ID").await;
    server.wait_for("DELETE", "/p/uploads/").await;
    assert!(!server.asked().iter().any(|request| request.is("POST", "uploadId=")));
}

#[tokio::test]
async fn an_upload_whose_part_failed_is_not_put_together_without_it() {
    let server = StandIn::start(|_, request| match request {
        request if request.is("PUT", "partNumber=1&") => error(400, "InvalidPart"),
        request => kind(request),
    })
    .await;
    let data = vec![7; 9_500];
    let image = Digest::of(&data);
    let mut upload = store(&server.url, keys()).begin(&image, Some(9_500)).await.unwrap();
    for chunk in data.chunks(500) {
        // Whoever does not listen.
        let _ = upload.write(Bytes::copy_from_slice(chunk)).await;
    }
    upload.commit().await.unwrap_err();
    server.wait_for("DELETE", "uploadId=ID").await;
    assert!(!server.asked().iter().any(|request| request.is("POST", "uploadId=")));
}

#[tokio::test]
async fn a_download_goes_on_where_the_store_broke_off() {
    let data: Vec<u8> = (0..=255).collect();
    let image = Digest::of(&data);
    let server = StandIn::start({
        let data = data.clone();
        move |before, request| {
            let range = request.header("range").unwrap().strip_prefix("bytes=").unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let bytes = &data[start.parse().unwrap()..=end.parse().unwrap()];
            let sent = if before < 3 { &bytes[..bytes.len().min(50)] } else { bytes };
            reply(206, &format!("Content-Length: {}\r\nConnection: close\r\n", bytes.len()), sent)
        }
    })
    .await;

    let stream = store(&server.url, keys()).read(&image, 6..250).await.unwrap();
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();

    assert_eq!(chunks.concat(), data[6..250]);
    let ranges: Vec<_> =
        server.asked().iter().map(|request| request.header("range").unwrap().to_owned()).collect();
    assert_eq!(ranges, ["bytes=6-249", "bytes=56-249", "bytes=106-249", "bytes=156-249"]);
}

#[tokio::test]
async fn an_image_that_is_shorter_than_its_record_says_is_damaged() {
    let server = StandIn::start(|_, _| reply(206, "", "short")).await;
    let store = store(&server.url, keys());
    assert!(matches!(store.read(&Digest::of(b"x"), 0..10).await, Err(Error::Corrupt { .. })));
    let server = StandIn::start(|_, _| error(416, "InvalidRange")).await;
    let store = stand_in::store(&server.url, keys());
    assert!(matches!(store.read(&Digest::of(b"x"), 10..20).await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn listings_of_many_pages_are_read_to_the_end() {
    let server = StandIn::start(|_, request| {
        let page = ["token=b", "token=c"].iter().position(|token| request.target.contains(token));
        let (number, next) = match page {
            None => (1, "<IsTruncated>true</IsTruncated><NextContinuationToken>b</NextContinuationToken>"),
            Some(0) => (2, "<IsTruncated>true</IsTruncated><NextContinuationToken>c</NextContinuationToken>"),
            Some(_) => (3, "<IsTruncated>false</IsTruncated>"),
        };
        let body = format!(
            "<ListBucketResult><Contents><Key>p/records/applications/a/{number}.json</Key>\
             <ETag>&quot;t{number}&quot;</ETag></Contents>{next}</ListBucketResult>"
        );
        reply(200, "", body)
    })
    .await;
    let listed = Records::list(&store(&server.url, keys())).await.unwrap();
    assert_eq!(listed.iter().map(|(_, tag)| &*tag.0).collect::<Vec<_>>(), ["t1", "t2", "t3"]);
}

/// How a store behaves that works: any key holds nothing, any upload has id `ID`.
fn kind(request: &Request) -> Reply {
    let target = &request.target;
    match request.method.as_str() {
        "POST" if target.contains("uploads=") => reply(
            200,
            "",
            "<InitiateMultipartUploadResult><UploadId>ID</UploadId></InitiateMultipartUploadResult>",
        ),
        "POST" => reply(
            200,
            "",
            "<CompleteMultipartUploadResult><ETag>&quot;t&quot;</ETag></CompleteMultipartUploadResult>",
        ),
        "PUT" => reply(200, "ETag: \"t\"\r\n", ""),
        "DELETE" => reply(204, "", ""),
        "HEAD" => reply(404, "", ""),
        _ if target.contains("uploadId") => error(404, "NoSuchUpload"),
        _ if target.contains("location") => {
            reply(200, "", "<LocationConstraint>eu-west-3</LocationConstraint>")
        }
        _ if target.contains("list-type") => reply(200, "", "<ListBucketResult></ListBucketResult>"),
        _ if target.contains("uploads=") => {
            reply(200, "", "<ListMultipartUploadsResult></ListMultipartUploadsResult>")
        }
        _ => error(404, "NoSuchKey"),
    }
}

async fn push(store: &S3Store, image: Digest, data: &[u8]) -> aar_store::Result<u64> {
    let mut upload = store.begin(&image, Some(data.len() as u64)).await?;
    for chunk in data.chunks(300) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    upload.commit().await
}

fn record() -> RecordKey {
    RecordKey::application("a".parse().unwrap())
}
