//! Pulls of images that lie elsewhere than on the registry.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use aar_client::Error;
use aar_model::Digest;
use support::{Head, Server, Shared, address, listed, noise, silent};

const PATH: &str = "/bucket/images/sha256/ab/abc?X-Amz-Expires=900&X-Amz-Signature=5ec3e7";

/// A store that plays a script for every connection, the number of connections before it beside it. Answers where it is,
/// and what it was asked.
fn store(script: impl Fn(usize, &Head, &mut TcpStream) + Send + Sync + 'static) -> (String, Shared<Head>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let heads = Shared::<Head>::default();
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let Some(head) = Head::read(&mut stream) else { continue };
            seen.lock().unwrap().push(head.clone());
            script(number, &head, stream.get_mut());
        }
    });
    (authority, heads)
}

/// A registry that sends everybody to `url` for an image.
fn registry(url: String, image: Digest) -> Server {
    Server::start(move |_, stream| {
        while Head::read(stream).is_some() {
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: {url}\r\nx-ams-fingerprint: {image}\r\ncontent-length: 0\r\n\r\n"
            );
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    })
}

fn refuse(stream: &mut TcpStream) {
    let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    let _ = write!(stream, "HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{body}", body.len());
}

#[tokio::test]
async fn a_pull_follows_to_the_store_and_goes_on_there_after_a_cut_and_an_expired_url() {
    let bytes = Arc::new(noise(500_000));
    let image = Arc::clone(&bytes);
    let (authority, heads) = store(move |number, head, stream| {
        if number == 1 {
            return refuse(stream);
        }
        let (offset, size) = (head.offset(), image.len());
        let status = if offset == 0 { "200 OK" } else { "206 Partial Content" };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-range: bytes {offset}-{}/{size}\r\n\r\n",
            size - offset,
            size - 1
        );
        let end = if number == 0 { 100_000 } else { size };
        let _ = stream.write_all(&image[offset..end]);
    });
    let server = registry(format!("http://{authority}{PATH}"), Digest::of(&bytes));
    let target = server.file("image.zip");
    server.client().pull(&address(), &listed(&bytes), &target, &silent()).await.unwrap();
    assert!(fs::read(&target).unwrap() == *bytes);
    let heads = heads.lock().unwrap();
    assert_eq!(heads.iter().map(Head::offset).collect::<Vec<_>>(), [0, 100_000, 100_000]);
    for head in &*heads {
        // What was signed is asked for, byte for byte.
        assert_eq!(head.line, format!("GET {PATH} HTTP/1.1"));
        assert_eq!(head.get("host"), Some(authority.as_str()));
    }
}

#[tokio::test]
async fn a_store_that_refuses_is_named_without_the_signature() {
    let (authority, _) = store(|_, _, stream| refuse(stream));
    let image = Digest::of(b"image");
    let server = registry(format!("http://{authority}{PATH}"), image);
    let error = server.client().download(&address(), 0, &image).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{authority}, where the image lies, answers 403 (AccessDenied)"));
    assert!(!format!("{error:?}").contains("5ec3e7"));
}

#[tokio::test]
async fn a_store_whose_certificate_nobody_vouches_for_is_not_talked_to() {
    let identity = aar_tls::Identity::generate("localhost", &[]).unwrap();
    let acceptor = aar_tls::Acceptor::new(&identity).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("localhost:{}", listener.local_addr().unwrap().port());
    let refused =
        tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await.is_err() });
    let image = Digest::of(b"image");
    let server = registry(format!("https://{authority}{PATH}"), image);
    let error = server.client().download(&address(), 0, &image).await.unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.starts_with(&format!("cannot reach the store of the images at {authority}: ")), "{text}");
    assert!(text.contains("certificate verify failed"), "{text}");
    assert!(matches!(error, Error::Unreachable { .. }));
    assert!(refused.await.unwrap());
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let image = Digest::of(b"image");
    for url in ["ftp://store/x", "/1.0/elsewhere", "nonsense"] {
        let server = registry(url.to_owned(), image);
        let error = server.client().download(&address(), 0, &image).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{url}: {error:?}");
    }
}
