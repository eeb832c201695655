//! What a pull makes of servers and networks that fail.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use aar_client::Error;
use aar_model::Digest;
use support::{Head, Server, Shared, address, listed, noise, serve_image, silent};

#[tokio::test]
async fn a_download_cut_at_any_byte_ends_with_equal_bytes() {
    let bytes = Arc::new(noise(1_500_000));
    let last = bytes.len();
    for cut in [0, 1, 4095, 16_384, 65_537, 262_144, 999_999, last - 1] {
        let (image, heads) = (Arc::clone(&bytes), Shared::<Head>::default());
        let seen = Arc::clone(&heads);
        let server = Server::start(move |number, stream| {
            let limit = if number < 2 { cut } else { usize::MAX };
            seen.lock().unwrap().extend(serve_image(stream, &image, Digest::of(&image), limit));
        });
        let target = server.file("image.zip");
        server.client().pull(&address(), &listed(&bytes), &target, &silent()).await.unwrap();
        assert!(fs::read(&target).unwrap() == *bytes, "cut at {cut}");
        assert!(!server.file("image.zip.part").exists());
        let offsets: Vec<_> = heads.lock().unwrap().iter().map(Head::offset).collect();
        // What came is not fetched again. Of two cuts the second may already reach the end.
        let expected: Vec<_> = [0, cut, 2 * cut].into_iter().filter(|offset| *offset < last).collect();
        assert_eq!(offsets, expected);
    }
}

#[tokio::test]
async fn a_pull_goes_on_with_what_an_earlier_one_left() {
    let bytes = Arc::new(noise(700_000));
    let (image, heads) = (Arc::clone(&bytes), Shared::<Head>::default());
    let seen = Arc::clone(&heads);
    let server = Server::start(move |_, stream| {
        seen.lock().unwrap().extend(serve_image(stream, &image, Digest::of(&image), usize::MAX));
    });
    fs::write(server.file("image.zip.part"), &bytes[..123_456]).unwrap();
    let target = server.file("image.zip");
    server.client().pull(&address(), &listed(&bytes), &target, &silent()).await.unwrap();
    assert!(fs::read(&target).unwrap() == *bytes);
    let head = heads.lock().unwrap()[0].clone();
    assert_eq!(head.line, "GET /1.0/applications/demo/3?architecture=x86_64 HTTP/1.1");
    assert_eq!(head.get("range"), Some("bytes=123456-"));
    assert_eq!(head.get("if-range"), Some(format!("\"{}\"", Digest::of(&bytes)).as_str()));
}

#[tokio::test]
async fn a_complete_part_needs_no_download() {
    let bytes = noise(1000);
    let server = Server::start(|_, _| panic!("a connection"));
    fs::write(server.file("image.zip.part"), &bytes).unwrap();
    let target = server.file("image.zip");
    server.client().pull(&address(), &listed(&bytes), &target, &silent()).await.unwrap();
    assert!(fs::read(&target).unwrap() == bytes);
}

#[tokio::test]
async fn a_part_of_another_image_does_no_harm() {
    let bytes = Arc::new(noise(300_000));
    for other in [vec![7; 100_000], vec![7; 300_000], vec![7; 400_000]] {
        let image = Arc::clone(&bytes);
        let server = Server::start(move |_, stream| {
            serve_image(stream, &image, Digest::of(&image), usize::MAX);
        });
        fs::write(server.file("image.zip.part"), &other).unwrap();
        let target = server.file("image.zip");
        server.client().pull(&address(), &listed(&bytes), &target, &silent()).await.unwrap();
        assert!(fs::read(&target).unwrap() == *bytes, "{} bytes of another", other.len());
    }
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_leave_nothing() {
    let bytes = noise(300_000);
    let expected = listed(&bytes);
    let (announced, mut wrong) = (expected.fingerprint, bytes);
    wrong[299_999] ^= 1;
    let actual = Digest::of(&wrong);
    let server = Server::start(move |_, stream| {
        serve_image(stream, &wrong, announced, usize::MAX);
    });
    let target = server.file("image.zip");
    let error = server.client().pull(&address(), &expected, &target, &silent()).await.unwrap_err();
    assert!(matches!(error, Error::Verification { expected: e, actual: a } if e == announced && a == actual));
    assert!(!target.exists() && !server.file("image.zip.part").exists());
}

#[tokio::test]
async fn a_refused_download_leaves_no_empty_part() {
    let server = Server::start(|_, stream| {
        Head::read(stream);
        let text = r#"{"type":"error","error":"there is no such version","error_code":404}"#;
        support::answer(stream.get_mut(), "404 Not Found", text);
    });
    let target = server.file("image.zip");
    let error = server.client().pull(&address(), &listed(b"x"), &target, &silent()).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound(text) if text == "there is no such version"), "{error:?}");
    assert!(!server.file("image.zip.part").exists());
}

#[tokio::test]
async fn two_pulls_of_one_target_do_not_mix() {
    let bytes = Arc::new(noise(300_000));
    let (begun, wait_begun) = mpsc::channel();
    let (go, wait_go) = mpsc::channel::<()>();
    let (image, wait_go) = (Arc::clone(&bytes), Mutex::new(wait_go));
    let server = Server::start(move |_, stream| {
        begun.send(()).unwrap();
        wait_go.lock().unwrap().recv().unwrap();
        serve_image(stream, &image, Digest::of(&image), usize::MAX);
    });
    let (client, target, expected) = (server.client(), server.file("image.zip"), listed(&bytes));
    let first = tokio::spawn({
        let (target, expected) = (target.clone(), expected.clone());
        async move { client.pull(&address(), &expected, &target, &silent()).await }
    });
    tokio::task::spawn_blocking(move || wait_begun.recv().unwrap()).await.unwrap();
    let second = server.client().pull(&address(), &expected, &target, &silent()).await;
    assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
    go.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert!(fs::read(&target).unwrap() == *bytes);
}
