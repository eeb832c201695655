//! A disk that is full: 507, nothing half there, nothing left behind, and it goes on where there is room again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::thread;

use aar_model::Digest;
use aar_tests::{Connection, Daemon, Person, Response};
use openssl::base64::encode_block;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};
use tempfile::TempDir;

const MIB: usize = 1 << 20;
const SIZE: usize = 16 * MIB;

/// A file system in memory, of `SIZE` bytes; unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
    _dir: TempDir,
}

impl SmallDisk {
    /// Mounts it; none where this process may not.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::create_dir(&path).unwrap();
        let options = CString::new(format!("size={SIZE},mode=0700")).unwrap();
        match mount("tmpfs", &path, "tmpfs", MountFlags::empty(), options.as_c_str()) {
            Ok(()) => Some(Self { path, _dir: dir }),
            Err(error) => {
                eprintln!("skipped: to mount a small file system is not possible here: {error}");
                None
            }
        }
    }

    /// Takes the last block that there is.
    fn fill(&self) -> PathBuf {
        let path = self.path.join("filling");
        let mut file = File::create(&path).unwrap();
        while file.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// The daemon ends before its disk.
struct Setting {
    daemon: Daemon,
    publisher: Person,
    disk: SmallDisk,
}

fn setting() -> Option<Setting> {
    let disk = SmallDisk::mount()?;
    let daemon = Daemon::builder().storage_root(&disk.path).start();
    let publisher = daemon.publisher("publisher");
    Some(Setting { daemon, publisher, disk })
}

impl Setting {
    fn push(&self, app: &str, image: &[u8]) -> Response {
        self.daemon.push(&self.publisher, &path(app), image)
    }

    fn push_chunked(&self, app: &str, image: &[u8]) -> Response {
        let mut connection = self.daemon.connect(Some(&self.publisher));
        let head = format!(
            "PUT {} HTTP/1.1\r\nhost: registry\r\nx-ams-fingerprint: {}\r\ntransfer-encoding: chunked\r\n\r\n",
            path(app),
            Digest::of(image)
        );
        let send_all = |connection: &mut Connection| {
            connection.send(head.as_bytes())?;
            for piece in image.chunks(100_000) {
                connection.send(format!("{:x}\r\n", piece.len()).as_bytes())?;
                connection.send(piece)?;
                connection.send(b"\r\n")?;
            }
            connection.send(b"0\r\n\r\n")
        };
        // The answer may come before all of the body is taken.
        let sent = send_all(&mut connection);
        connection.response(false).unwrap_or_else(|error| panic!("{error}; sending: {sent:?}"))
    }

    fn get(&self, path: &str) -> Response {
        self.daemon.request(&self.publisher, "GET", path, b"")
    }

    fn delete(&self, path: &str) -> u16 {
        self.daemon.request(&self.publisher, "DELETE", path, b"").status
    }

    fn names(&self) -> Vec<String> {
        let list = self.get("/1.0/applications?recursion=1").metadata();
        list.as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Files of images and records, sorted; without what a test put there itself.
    fn stored(&self) -> Vec<String> {
        let mut files = self.daemon.stored_files();
        files.retain(|file| file != "filling");
        files
    }

    fn collect(&self) -> Value {
        let answer = self.daemon.admin("POST", "/1.0/maintenance/collect-garbage?grace=0", b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.metadata()["removed"].clone()
    }
}

fn path(app: &str) -> String {
    format!("/1.0/applications/{app}/1?architecture=x86_64")
}

fn image(seed: u64, size: usize) -> Vec<u8> {
    let mut image = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut image);
    image
}

fn files_of(app: &str, image: &[u8]) -> [String; 3] {
    let digest = Digest::of(image).to_string();
    [
        format!("images/sha256/{}/{digest}", &digest[..2]),
        format!("records/applications/{app}/1.json"),
        format!("records/applications/{app}/application.json"),
    ]
}

fn assert_no_space(answer: &Response) {
    assert_eq!(answer.status, 507, "{answer:?}");
    assert!(answer.error().contains("no space is left"), "{}", answer.error());
}

#[test]
fn a_push_larger_than_the_disk_is_refused_and_leaves_nothing() {
    let Some(setting) = setting() else { return };
    let large = image(1, SIZE + 4 * MIB);
    assert_no_space(&setting.push("large", &large));
    assert_no_space(&setting.push_chunked("large", &large));
    assert_eq!(setting.get("/1.0/applications/large").status, 404);
    assert_eq!(setting.stored(), Vec::<String>::new());
    assert_eq!(setting.get("/1.0/status").status, 200);

    let small = image(2, 4 * MIB);
    assert_eq!(setting.push_chunked("small", &small).status, 202);
    assert_eq!(setting.get(&path("small")).body, small);
    assert_eq!(setting.stored(), files_of("small", &small));
}

#[test]
fn pushes_that_fill_the_disk_together_are_there_whole_or_not_at_all_and_deletions_make_room() {
    let Some(setting) = setting() else { return };
    let images: Vec<_> = (0..6).map(|seed| image(seed, 5 * MIB)).collect();
    let statuses: Vec<_> = thread::scope(|scope| {
        let push = |(at, image): (usize, &Vec<u8>)| {
            let app = format!("app-{at}");
            if at.is_multiple_of(2) { setting.push(&app, image) } else { setting.push_chunked(&app, image) }
        };
        let pushes: Vec<_> =
            images.iter().enumerate().map(|push_of| scope.spawn(move || push(push_of))).collect();
        pushes.into_iter().map(|push| push.join().unwrap()).collect()
    });
    let mut names = Vec::new();
    let mut files = Vec::new();
    for (at, answer) in statuses.iter().enumerate() {
        let app = format!("app-{at}");
        if answer.status == 202 {
            assert_eq!(setting.get(&path(&app)).body, images[at], "{app}");
            files.extend(files_of(&app, &images[at]));
            names.push(app);
        } else {
            assert_no_space(answer);
        }
    }
    files.sort();
    assert!(names.len() <= 3, "more than the disk holds: {names:?}");
    assert_eq!(setting.names(), names);
    assert_eq!(setting.stored(), files);

    for name in &names {
        assert_eq!(setting.delete(&format!("/1.0/applications/{name}")), 202);
    }
    assert_eq!(setting.stored(), Vec::<String>::new());
    for (at, image) in images.iter().take(3).enumerate() {
        assert_eq!(setting.push(&format!("app-{at}"), image).status, 202);
    }
    assert_eq!(setting.collect(), json!([]));
}

#[test]
fn records_that_find_no_room_are_507_and_change_nothing() {
    let Some(mut setting) = setting() else { return };
    let there = image(1, MIB);
    assert_eq!(setting.push("there", &there).status, 202);
    let before = setting.get("/1.0/applications/there").metadata();
    let filling = setting.disk.fill();

    // The image is stored already: all that this needs is room for records.
    assert_no_space(&setting.push("second", &there));
    assert_no_space(&setting.push("tiny", b"tiny"));
    for (path, body) in [
        ("/1.0/applications/there", json!({ "tags": ["new"] })),
        ("/1.0/applications/there/1", json!({ "published": false })),
    ] {
        let body = body.to_string();
        assert_no_space(&setting.daemon.request(&setting.publisher, "PATCH", path, body.as_bytes()));
    }
    assert_eq!(setting.names(), ["there"]);
    assert_eq!(setting.get("/1.0/applications/there").metadata(), before);
    assert_eq!(setting.get(&path("there")).body, there);
    assert_eq!(setting.collect(), json!([]));
    assert_eq!(setting.stored(), files_of("there", &there));

    // A restart on the full disk shows the same.
    setting.daemon.kill();
    setting.daemon.start();
    assert_eq!(setting.get("/1.0/applications/there").metadata(), before);

    // To delete a version needs no room, and makes some.
    assert_eq!(setting.delete("/1.0/applications/there/1"), 202);
    assert_eq!(setting.stored(), Vec::<String>::new());
    assert_eq!(setting.push("tiny", b"tiny").status, 202);
    fs::remove_file(filling).unwrap();
    assert_eq!(setting.push("there", &there).status, 202);
}

#[test]
fn an_upload_that_does_not_fit_is_refused_at_once_and_one_that_fits_outlives_a_full_disk() {
    let Some(setting) = setting() else { return };
    let image = vec![7; 6 * MIB];
    let tus = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let all = [&[("tus-resumable", "1.0.0")], headers].concat();
        setting.daemon.connect(Some(&setting.publisher)).request(method, path, &all, body)
    };
    let create = |length: usize| {
        let fingerprint = Digest::of(&image).to_string();
        let pairs =
            [("name", "app"), ("version", "1"), ("architecture", "x86_64"), ("fingerprint", &fingerprint)];
        let pairs = pairs.map(|(key, value)| format!("{key} {}", encode_block(value.as_bytes())));
        let (length, metadata) = (length.to_string(), pairs.join(","));
        tus("POST", "/1.0/uploads", &[("upload-length", &length), ("upload-metadata", &metadata)], b"")
    };
    let answer = create(SIZE + 1);
    assert_eq!(answer.status, 507, "{answer:?}");
    assert_eq!(setting.stored(), [""; 0]);

    let answer = create(image.len());
    assert_eq!(answer.status, 201, "{answer:?}");
    let path = answer.header("location").unwrap();
    let filling = setting.disk.fill();
    let headers = [("content-type", "application/offset+octet-stream"), ("upload-offset", "0")];
    // Room is set aside for the image; for the note of how much of it came there is none.
    let answer = tus("PATCH", path, &headers, &image);
    assert_eq!(answer.status, 507, "{answer:?}");
    fs::remove_file(filling).unwrap();
    assert_eq!(tus("HEAD", path, &[], b"").header("upload-offset"), Some("0"));
    let answer = tus("PATCH", path, &headers, &image);
    assert_eq!(answer.status, 204, "{answer:?}");
    assert!(setting.get("/1.0/applications/app/1").body == image);
}
