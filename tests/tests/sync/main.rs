//! `aar sync`: what is published is on every client's side, by itself and whatever breaks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod announcement;
mod convergence;
mod idle;
mod mirror;
mod on_change;
mod push;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use aar_model::Digest;
use aar_tests::{Daemon, Person, Syncer};
use serde_json::{Value, json};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `aar sync` of a directory that is there, with the registry at an address.
fn syncer(daemon: &Daemon, person: &Person, address: SocketAddr, more: &[&str]) -> Syncer {
    let syncer = Syncer::new(daemon, person, address, more);
    fs::create_dir_all(&syncer.dir).unwrap();
    syncer
}

/// A client of the registry that mirrors it.
fn mirror(daemon: &Daemon, name: &str, more: &[&str]) -> Syncer {
    syncer(daemon, &daemon.client(name), daemon.address(), more)
}

/// Waits until a mirror's images are `expected`.
fn reaches(mirror: &Syncer, expected: &BTreeMap<String, Digest>) {
    let begun = Instant::now();
    while &images(&mirror.dir) != expected {
        assert!(
            begun.elapsed() < PATIENCE,
            "{}: {:#?} instead of {expected:#?}\n{}",
            mirror.dir.display(),
            images(&mirror.dir),
            mirror.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All images below a directory by `name/version/architecture`, each by the SHA-256 of what it really is.
fn images(dir: &Path) -> BTreeMap<String, Digest> {
    let mut images = BTreeMap::new();
    for file in files(dir) {
        let parts: Vec<_> = file.split('/').collect();
        if let [name, version, architecture, file_name] = parts[..]
            && file_name.starts_with("image.")
            && !file_name.contains(".part")
            && let Ok(bytes) = fs::read(dir.join(&file))
        {
            images.insert(format!("{name}/{version}/{architecture}"), Digest::of(&bytes));
        }
    }
    images
}

/// All files below a directory but the mirror's own, sorted.
fn files(dir: &Path) -> Vec<String> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.retain(|file| !file.starts_with(".aar-sync/"));
    found.sort();
    found
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// An image of some KiB that is unlike all others.
fn image(kib: usize) -> Vec<u8> {
    let random = std::iter::repeat_with(|| fastrand::u64(..).to_le_bytes()).flatten();
    b"PK\x03\x04".iter().copied().chain(random).take(kib * 1024).collect()
}

/// Pushes an image to `name/version/architecture`.
fn push(daemon: &Daemon, publisher: &Person, path: &str, image: &[u8], request: &Value) {
    let (version, architecture) = path.rsplit_once('/').unwrap();
    let path = format!("/1.0/applications/{version}?architecture={architecture}");
    let request = if request.is_null() { &json!({}) } else { request };
    let headers = [("x-ams-request", &*request.to_string())];
    let answer = daemon.connect(Some(publisher)).push(&path, image, &headers);
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// A change by a publisher.
fn change(daemon: &Daemon, publisher: &Person, method: &str, path: &str, body: &Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let path = format!("/1.0/applications/{path}");
    let answer = daemon.request(publisher, method, &path, body.as_bytes());
    assert_eq!(answer.status, 202, "{method} {path}: {answer:?}");
}

fn expected(images: &[(&str, &[u8])]) -> BTreeMap<String, Digest> {
    images.iter().map(|(path, image)| ((*path).to_owned(), Digest::of(image))).collect()
}

fn tags(tags: &[&str]) -> Value {
    json!({"application": {"tags": tags}})
}

/// Waits until something holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: never");
        std::thread::sleep(Duration::from_millis(20));
    }
}
