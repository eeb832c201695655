//! Calls over connections that end or refuse at the wrong moment.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aar_client::{Client, Error};
use aar_model::wire::{AddCertificate, PushRequest};
use aar_model::{Digest, Fingerprint, FingerprintPrefix};
use aar_tls::{Acceptor, Connector, Identity};
use support::{Head, SERVICE, Server, Shared, address, answer, read_of_old, silent, swallow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

const VERSION: &str =
    r#"{"type":"sync","status":"Success","status_code":200,"metadata":{"version":"1.2.3"}}"#;
const REFUSED: &str = r#"{"type":"error","error":"demo version 3 is immutable","error_code":409}"#;
const LENGTH: u64 = 64 * 1024 * 1024;

#[tokio::test]
async fn calls_share_a_connection_and_replace_a_dead_one() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let server = Server::start(move |_, stream| {
        count.fetch_add(1, Ordering::SeqCst);
        for _ in 0..2 {
            if Head::read(stream).is_some() {
                answer(stream.get_mut(), "200 OK", VERSION);
            }
        }
        Head::read(stream); // takes a third request, and closes without an answer
    });
    let client = server.client();
    for expected in [1, 1, 2, 2] {
        assert_eq!(client.version().await.unwrap().version, "1.2.3");
        assert_eq!(connections.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn a_change_that_may_have_been_carried_out_is_not_sent_twice() {
    let deletes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&deletes);
    let server = Server::start(move |_, stream| {
        while let Some(head) = Head::read(stream) {
            if head.line.starts_with("DELETE") {
                count.fetch_add(1, Ordering::SeqCst);
                return;
            }
            answer(stream.get_mut(), "200 OK", VERSION);
        }
    });
    let client = server.client();
    client.version().await.unwrap();
    let error = client.delete_application(&address().name).await.unwrap_err();
    assert!(matches!(error, Error::Interrupted(_)), "{error:?}");
    assert_eq!(deletes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn every_refusal_has_its_kind_and_keeps_its_words() {
    let kind = |error: Error| match error {
        Error::Unauthorised(text) => ("unauthorised", text),
        Error::Forbidden(text) => ("forbidden", text),
        Error::NotFound(text) => ("not found", text),
        Error::Conflict(text) => ("conflict", text),
        Error::BadRequest(text) => ("bad request", text),
        Error::NoSpace(text) => ("no space", text),
        Error::Server { text, .. } => ("server", text),
        other => panic!("{other:?}"),
    };
    for (status, expected) in [
        (401, "unauthorised"),
        (403, "forbidden"),
        (404, "not found"),
        (409, "conflict"),
        (400, "bad request"),
        (413, "bad request"),
        (507, "no space"),
        (503, "server"),
    ] {
        let server = Server::start(move |_, stream| {
            Head::read(stream);
            let text = format!(r#"{{"type":"error","error":"no, {status}","error_code":{status}}}"#);
            answer(stream.get_mut(), &format!("{status} No"), &text);
        });
        let error = server.client().version().await.unwrap_err();
        assert_eq!(kind(error), (expected, format!("no, {status}")));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_told_apart() {
    let server = Server::start(|_, stream| {
        Head::read(stream);
        answer(stream.get_mut(), "200 OK", "<html>");
    });
    assert!(matches!(server.client().version().await, Err(Error::Protocol(_))));
    let server = Server::start(|_, stream| {
        Head::read(stream);
        answer(stream.get_mut(), "502 Bad Gateway", "<html>");
    });
    let error = server.client().version().await.unwrap_err();
    assert_eq!(error.to_string(), "the server answers 502 Bad Gateway");
}

#[tokio::test]
async fn nobody_who_listens_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let error = Client::unix(folder.path().join("sock")).version().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_push_that_is_refused_while_it_is_sent_gets_the_reason() {
    let server = Server::start(|_, stream| {
        if read_of_old(stream).is_none() {
            return;
        }
        swallow(stream, 100_000);
        answer(stream.get_mut(), "409 Conflict", REFUSED); // and closes with unread bytes in the socket
    });
    let file = server.file("image");
    File::create(&file).unwrap().set_len(LENGTH).unwrap();
    for _ in 0..20 {
        let pushed = server.client().push(&address(), &file, &PushRequest::default(), &silent()).await;
        assert!(
            matches!(&pushed, Err(Error::Conflict(text)) if text == "demo version 3 is immutable"),
            "{pushed:?}"
        );
    }
}

#[tokio::test]
async fn a_push_over_tls_that_is_refused_while_it_is_sent_gets_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (port, fingerprint) = tls_server(folder.path()).await;
    let file = folder.path().join("image");
    File::create(&file).unwrap().set_len(LENGTH).unwrap();
    for _ in 0..20 {
        let client = tls_client(port, fingerprint);
        let pushed = client.push(&address(), &file, &PushRequest::default(), &silent()).await;
        assert!(
            matches!(&pushed, Err(Error::Conflict(text)) if text == "demo version 3 is immutable"),
            "{pushed:?}"
        );
    }
}

#[tokio::test]
async fn another_server_than_the_pinned_one_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (port, fingerprint) = tls_server(folder.path()).await;
    let wrong = Fingerprint::of(b"another");
    let error = tls_client(port, wrong).version().await.unwrap_err();
    assert!(
        matches!(error, Error::Pin { expected, presented, .. } if expected == wrong && presented == fingerprint),
        "{error:?}"
    );
}

#[tokio::test]
async fn every_call_asks_as_the_api_says() {
    let lines = Shared::<String>::default();
    let seen = Arc::clone(&lines);
    let server = Server::start(move |_, stream| {
        while let Some(head) = Head::read(stream) {
            swallow(stream, head.get("content-length").map_or(0, |length| length.parse().unwrap()));
            seen.lock().unwrap().push(head.line.trim_end_matches(" HTTP/1.1").to_owned());
            answer(stream.get_mut(), "404 Not Found", "{}");
        }
    });
    let (client, name, version) = (server.client(), address().name, address().version);
    let prefix: FingerprintPrefix = "abcdef01".parse().unwrap();
    let add = AddCertificate { certificate: String::new(), role: None, name: None, source: None };
    let filters = [("tags".to_owned(), "a b&c".to_owned())];
    let refusals = [
        client.service_status().await.err(),
        client.version().await.err(),
        client.applications(&filters).await.err(),
        client.application(&name).await.err(),
        client.set_published(&name, version, true).await.err(),
        client.delete_application(&name).await.err(),
        client.delete_version(&name, version, None).await.err(),
        client.delete_version(&name, version, Some(address().architecture)).await.err(),
        client.download(&address(), 0, &Digest::of(b"")).await.err(),
        client.certificates(false).await.err(),
        client.certificates(true).await.err(),
        client.certificate(&prefix).await.err(),
        client.add_certificate(&add).await.err(),
        client.remove_certificate(&prefix).await.err(),
        client.revoke_certificate(&prefix).await.err(),
        client.rebuild().await.err(),
        client.collect_garbage(true, Some(Duration::from_secs(5))).await.err(),
        client.verify().await.err(),
        client.copy_storage(String::new()).await.err(),
    ];
    assert!(refusals.iter().all(|error| matches!(error, Some(Error::NotFound(_)))), "{refusals:?}");
    assert_eq!(
        *lines.lock().unwrap(),
        [
            "GET /1.0",
            "GET /1.0/version",
            "GET /1.0/applications?recursion=1&limit=-1&tags=a+b%26c",
            "GET /1.0/applications/demo",
            "PATCH /1.0/applications/demo/3",
            "DELETE /1.0/applications/demo",
            "DELETE /1.0/applications/demo/3",
            "DELETE /1.0/applications/demo/3?architecture=x86_64",
            "GET /1.0/applications/demo/3?architecture=x86_64",
            "GET /1.0/certificates",
            "GET /1.0/certificates?revoked=true",
            "GET /1.0/certificates/abcdef01",
            "POST /1.0/certificates",
            "DELETE /1.0/certificates/abcdef01",
            "POST /1.0/certificates/abcdef01/revoke",
            "POST /1.0/maintenance/rebuild",
            "POST /1.0/maintenance/collect-garbage?dry-run=true&grace=5",
            "POST /1.0/maintenance/verify",
            "POST /1.0/maintenance/copy-storage",
        ]
    );
}

#[test]
fn only_an_https_address_is_taken() {
    let connector = Connector::new(None, Fingerprint::of(b"x")).unwrap();
    for address in ["http://h", "https://user@h/", "https://h/?a=b", "unix:/run/aar.sock"] {
        let url = Url::parse(address).unwrap();
        assert!(matches!(Client::https(&url, connector.clone()), Err(Error::Address(_))), "{address}");
    }
}

fn tls_client(port: u16, fingerprint: Fingerprint) -> Client {
    let url = Url::parse(&format!("https://127.0.0.1:{port}")).unwrap();
    Client::https(&url, Connector::new(None, fingerprint).unwrap()).unwrap()
}

/// A server that refuses every push after it has read a little of it, and closes with unread bytes in the socket.
async fn tls_server(folder: &std::path::Path) -> (u16, Fingerprint) {
    let identity = Identity::load_or_create(folder, &["127.0.0.1".to_owned()]).unwrap();
    let fingerprint = identity.certificate().fingerprint();
    let acceptor = Acceptor::new(&identity).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut some = vec![0; 100_000];
                let first = stream.read(&mut some).await.unwrap_or_default();
                if some[..first].starts_with(b"GET /1.0 ") {
                    let mut out = Vec::new();
                    answer(&mut out, "200 OK", SERVICE);
                    let _ = stream.write_all(&out).await;
                    let _ = stream.flush().await;
                    return;
                }
                if stream.read_exact(&mut some).await.is_err() {
                    return;
                }
                let mut out = Vec::new();
                answer(&mut out, "409 Conflict", REFUSED);
                let _ = stream.write_all(&out).await;
                let _ = stream.flush().await;
            });
        }
    });
    (port, fingerprint)
}
