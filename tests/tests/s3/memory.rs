//! Memory: however large the images, the daemon holds little of them on their way to the store.

use std::fs;
use std::time::Instant;

use aar_model::Hasher;
use aar_tests::s3::S3Server;
use aar_tests::{Connection, Daemon};

use crate::{Bucket, applications, path};

/// Most that the daemon may hold with one push, and with four at once, in KiB.
const ONE: u64 = 128 << 10;
const FOUR: u64 = 256 << 10;

/// An image that is made while it is sent: no piece of it is like another.
struct Image {
    size: u64,
    piece: Vec<u8>,
}

impl Image {
    fn new(size: u64) -> Self {
        Self { size, piece: crate::image(1 << 20) }
    }

    fn pieces(&mut self, mut take: impl FnMut(&[u8])) {
        for number in 0..self.size >> 20 {
            self.piece[..8].copy_from_slice(&number.to_le_bytes());
            take(&self.piece);
        }
    }

    fn fingerprint(&mut self) -> String {
        let mut hasher = Hasher::default();
        self.pieces(|piece| hasher.update(piece));
        hasher.finish().to_string()
    }

    fn push(&mut self, mut connection: Connection, app: &str) {
        let (fingerprint, size) = (self.fingerprint(), self.size);
        let head = format!(
            "PUT {} HTTP/1.1\r\nhost: x\r\nx-ams-fingerprint: {fingerprint}\r\ncontent-length: {size}\r\n\r\n",
            path(app)
        );
        connection.send(head.as_bytes()).unwrap();
        self.pieces(|piece| connection.send(piece).unwrap());
        let answer = connection.response(false).unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

/// Pushes so many images at once, and answers the most that the daemon held, in KiB.
fn peak(bucket: &Bucket, daemon: &Daemon, together: u64, size: u64) -> u64 {
    let publisher = daemon.publisher(&format!("publisher-{together}"));
    fs::write(format!("/proc/{}/clear_refs", daemon.pid()), "5").unwrap();
    let (begun, parts) = (Instant::now(), bucket.proxy.count("UploadPart"));
    std::thread::scope(|scope| {
        for number in 0..together {
            let connection = daemon.connect(Some(&publisher));
            scope.spawn(move || Image::new(size).push(connection, &format!("app-{together}-{number}")));
        }
    });
    let peak = daemon.status("VmHWM");
    let parts = bucket.proxy.count("UploadPart") - parts;
    println!(
        "{together} x {} MiB in {parts} parts: peak {peak} KiB, {:.1} s",
        size >> 20,
        begun.elapsed().as_secs_f64()
    );
    for application in applications(daemon, &publisher).as_array().unwrap() {
        let name = application["name"].as_str().unwrap();
        let path = format!("/1.0/applications/{name}");
        assert_eq!(application["versions"][0]["images"][0]["size"], size, "{application}");
        assert_eq!(daemon.request(&publisher, "DELETE", &path, b"").status, 202);
    }
    peak
}

#[test]
fn pushes_of_large_images_take_little_memory() {
    let bucket = Bucket::juicefs();
    let daemon = bucket.builder().log_level("info").start();
    let one = peak(&bucket, &daemon, 1, 1 << 30);
    assert!(one < ONE, "the daemon held {one} KiB");
    let four = peak(&bucket, &daemon, 4, 256 << 20);
    assert!(four < FOUR, "the daemon held {four} KiB");
}

#[test]
#[ignore = "needs 15 GB of disk and minutes: `make test-large`"]
fn a_large_image_of_more_than_1000_parts_takes_little_memory() {
    let bucket = Bucket::on(S3Server::juicefs().into());
    let daemon = bucket.builder().log_level("info").start();
    let peak = peak(&bucket, &daemon, 1, 12 << 30);
    assert!(bucket.proxy.count("UploadPart") > 1000);
    assert!(peak < ONE, "the daemon held {peak} KiB");
}

#[test]
#[ignore = "needs 15 GB of disk and minutes: `make test-large`"]
fn four_large_images_at_once_take_little_memory() {
    let bucket = Bucket::on(S3Server::juicefs().into());
    let daemon = bucket.builder().log_level("info").start();
    let peak = peak(&bucket, &daemon, 4, 3 << 30);
    assert!(peak < FOUR, "the daemon held {peak} KiB");
}
