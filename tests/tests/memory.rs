//! Memory: however large the images and however slow the readers, the daemon holds little of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use aar_model::Hasher;
use aar_tests::{Daemon, Person};
use openssl::base64::encode_block;

/// Most that the daemon may hold at any time, in KiB.
const LIMIT: u64 = 48 << 10;
const SIZE: u64 = 128 << 20;

/// An image of `SIZE` bytes, nearly all of them zero, that is like no other; and its SHA-256.
fn image(daemon: &Daemon, name: &str) -> (PathBuf, String) {
    let path = daemon.scratch().join(format!("{name}.image"));
    let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    file.write_all(name.as_bytes()).unwrap();
    file.set_len(SIZE).unwrap();
    file.rewind().unwrap();
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return (path, hasher.finish().to_string()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// curl as somebody, over a version of HTTP; what it writes last is `<status> <version> <bytes received>`.
fn curl(person: &Person, version: &str, output: &str) -> Command {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--insecure", version, "--output", output])
        .args(["--write-out", "%{http_code} %{http_version} %{size_download}", "--cert"])
        .arg(&person.certificate_file)
        .arg("--key")
        .arg(&person.key_file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Begins to push an image.
fn push(daemon: &Daemon, person: &Person, version: &str, app: &str, image: &(PathBuf, String)) -> Child {
    let header = format!("x-ams-fingerprint: {}", image.1);
    let mut curl = curl(person, version, "/dev/null");
    curl.args(["--header", &header, "--upload-file"]).arg(&image.0).arg(url(daemon, app)).spawn().unwrap()
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Lets the highest memory use count from now.
fn forget_the_peak(daemon: &Daemon) {
    fs::write(format!("/proc/{}/clear_refs", daemon.pid()), "5").unwrap();
}

fn assert_small(daemon: &Daemon, at: &str) {
    let peak = daemon.status("VmHWM");
    println!("{at}: {peak} KiB");
    assert!(peak < LIMIT, "{at}: the daemon held {peak} KiB");
}

fn url(daemon: &Daemon, app: &str) -> String {
    format!("{}/1.0/applications/{app}/1?architecture=x86_64", daemon.url())
}

#[test]
fn pushes_and_pulls_of_large_images_take_little_memory() {
    let daemon = Daemon::builder().log_level("info").start();
    let publisher = daemon.publisher("publisher");
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for together in [1, 4] {
            let names: Vec<_> = (0..together).map(|at| format!("app{version}-{together}-{at}")).collect();
            let images: Vec<_> = names.iter().map(|name| image(&daemon, name)).collect();
            forget_the_peak(&daemon);
            let begin = |(name, image): (&String, &_)| push(&daemon, &publisher, version, name, image);
            let pushes: Vec<_> = names.iter().zip(&images).map(begin).collect();
            for push in pushes {
                let said = said(push);
                assert!(said.starts_with(&format!("202 {number} ")), "{said}");
            }
            assert_small(&daemon, &format!("{together} pushes {version}"));

            forget_the_peak(&daemon);
            let pull = |name: &String| {
                curl(&publisher, version, "/dev/null").arg(url(&daemon, name)).spawn().unwrap()
            };
            let pulls: Vec<_> = names.iter().map(pull).collect();
            for pull in pulls {
                assert_eq!(said(pull), format!("200 {number} {SIZE}"));
            }
            assert_small(&daemon, &format!("{together} pulls {version}"));

            for (name, (path, _)) in names.iter().zip(images) {
                let path_of_app = format!("/1.0/applications/{name}");
                assert_eq!(daemon.request(&publisher, "DELETE", &path_of_app, b"").status, 202);
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn uploads_of_large_images_take_little_memory() {
    let daemon = Daemon::builder().log_level("info").start();
    let publisher = daemon.publisher("publisher");
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let images: Vec<_> = (0..4)
            .map(|at| {
                let name = format!("app{version}-{at}");
                let image = image(&daemon, &name);
                let location = begin_upload(&daemon, &publisher, &name, &image.1);
                (image, location)
            })
            .collect();
        forget_the_peak(&daemon);
        let upload = |((path, _), location): &((PathBuf, String), String)| {
            let mut curl = curl(&publisher, version, "/dev/null");
            curl.args(["--request", "PATCH", "--header", "tus-resumable: 1.0.0"])
                .args(["--header", "upload-offset: 0"])
                .args(["--header", "content-type: application/offset+octet-stream"])
                .arg("--upload-file")
                .arg(path)
                .arg(format!("{}{location}", daemon.url()))
                .spawn()
                .unwrap()
        };
        let uploads: Vec<_> = images.iter().map(upload).collect();
        for upload in uploads {
            assert_eq!(said(upload), format!("204 {number} 0"));
        }
        assert_small(&daemon, &format!("4 uploads {version}"));
        for ((path, _), _) in images {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Begins an upload and answers its path.
fn begin_upload(daemon: &Daemon, person: &Person, name: &str, fingerprint: &str) -> String {
    let pairs = [("name", name), ("version", "1"), ("architecture", "x86_64"), ("fingerprint", fingerprint)];
    let metadata = pairs.map(|(key, value)| format!("{key} {}", encode_block(value.as_bytes()))).join(",");
    let length = SIZE.to_string();
    let headers = [
        ("tus-resumable", "1.0.0"),
        ("upload-length", length.as_str()),
        ("upload-metadata", metadata.as_str()),
    ];
    let answer = daemon.connect(Some(person)).request("POST", "/1.0/uploads", &headers, b"");
    answer.header("location").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[test]
fn readers_that_stop_reading_cost_little_memory() {
    let daemon = Daemon::builder().log_level("info").start();
    let publisher = daemon.publisher("publisher");
    let image = image(&daemon, "image");
    assert!(said(push(&daemon, &publisher, "--http1.1", "app", &image)).starts_with("202 "));

    forget_the_peak(&daemon);
    let mut readers = Vec::new();
    for version in ["--http1.1", "--http2"] {
        for _ in 0..4 {
            readers.push(Reader::begin(curl(&publisher, version, "-").arg(url(&daemon, "app"))));
        }
    }
    wait_until_nothing_moves(&daemon);
    assert_small(&daemon, "8 readers that have stopped");
    assert_eq!(daemon.connect(None).request("GET", "/1.0/status", &[], b"").status, 200);
}

/// A reader that has read the beginning, and reads no more.
struct Reader(Child);

impl Reader {
    fn begin(curl: &mut Command) -> Self {
        let mut child = curl.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 1000]).unwrap();
        Self(child)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the daemon has taken no time of a processor for a second.
fn wait_until_nothing_moves(daemon: &Daemon) {
    let mut before = ticks(daemon);
    for _ in 0..60 {
        thread::sleep(Duration::from_secs(1));
        let now = ticks(daemon);
        if now == before {
            return;
        }
        before = now;
    }
    panic!("the daemon is busy although nobody reads");
}

/// Time of a processor that the daemon has taken, in the kernel's ticks.
fn ticks(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    // After the name, in brackets, come the third and further fields; the 14th and 15th are wanted.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..=12].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}
