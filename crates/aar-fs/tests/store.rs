//! What the store of images and records promises beyond its contracts: what it leaves on the disk, and what it makes of a
//! disk that is not as it left it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aar_fs::{FsBlobs, FsRecords};
use aar_model::Digest;
use aar_store::{Blobs, Error, RecordKey, Records, image_key};
use bytes::Bytes;
use futures_util::TryStreamExt;
use tempfile::TempDir;
use tokio::time::timeout;

#[tokio::test]
async fn files_and_directories_are_for_their_owner_alone() {
    let (dir, blobs, records) = store().await;
    upload(&blobs, b"image").await.unwrap();
    records.put(&app("a"), "{}".into()).await.unwrap();
    let _upload = blobs.begin(&Digest::of(b"other"), Some(1000)).await.unwrap();

    let mut files = 0;
    for path in tree(dir.path()) {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.mode() & 0o7777, expected, "{}", path.display());
        files += usize::from(metadata.is_file());
    }
    assert_eq!(files, 4, "lock, image, record and upload");
}

#[tokio::test]
async fn a_root_that_is_open_is_refused_to_others_and_free_afterwards() {
    let (dir, blobs, records) = store().await;

    let refused = aar_fs::open(dir.path()).await.unwrap_err();

    let Error::Io { action, source } = refused else { panic!("{refused:?}") };
    assert_eq!(action, format!("open `{}`", dir.path().display()));
    assert_eq!(source.to_string(), "it is in use by another process");
    drop(blobs);
    assert!(aar_fs::open(dir.path()).await.is_err());
    drop(records);
    // A test beside this one may be starting a process, which has a copy of every open file for a moment.
    let freed = async { while aar_fs::open(dir.path()).await.is_err() {} };
    timeout(Duration::from_secs(10), freed).await.unwrap();
}

#[tokio::test]
async fn a_root_that_another_process_has_open_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(aar_fs::open(dir.path()).await.unwrap());
    let mut other = Command::new("flock")
        .arg(dir.path().join(".lock"))
        .args(["sh", "-c", "echo locked; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(other.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "locked\n");

    assert!(aar_fs::open(dir.path()).await.is_err());

    drop(other.stdin.take());
    other.wait().unwrap();
    aar_fs::open(dir.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_off_at_any_point_leaves_no_file() {
    let (dir, blobs, _) = store().await;
    let uploads = dir.path().join("uploads");
    let chunk = Bytes::from(vec![7; 64 * 1024]);
    for chunks in [0, 1, 3, 4, 5, 8, 9, 40, 600] {
        let mut upload = blobs.begin(&Digest::of(b"never"), Some(100 << 20)).await.unwrap();
        assert_eq!(entries(&uploads).len(), 1);
        for _ in 0..chunks {
            upload.write(chunk.clone()).await.unwrap();
        }
        drop(upload);
        eventually("the file of a dropped upload goes away", || entries(&uploads).is_empty());
    }
    // The request's task is aborted while the upload waits for its thread.
    for _ in 0..20 {
        let (blobs, chunk) = (blobs.clone(), chunk.clone());
        let sender = tokio::spawn(async move {
            let mut upload = blobs.begin(&Digest::of(b"never"), None).await.unwrap();
            loop {
                upload.write(chunk.clone()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        eventually("the upload begins", || !entries(&uploads).is_empty());
        sender.abort();
        assert!(sender.await.unwrap_err().is_cancelled());
        eventually("the file of an aborted upload goes away", || entries(&uploads).is_empty());
    }
}

#[tokio::test]
async fn a_refused_image_is_gone_before_the_refusal_is_answered() {
    let (dir, blobs, _) = store().await;
    let mut upload = blobs.begin(&Digest::of(b"right"), Some(5)).await.unwrap();
    upload.write("wrong".into()).await.unwrap();
    assert!(matches!(upload.commit().await, Err(Error::Mismatch { .. })));
    assert_eq!(entries(&dir.path().join("uploads")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_image_shorter_than_declared_takes_only_the_room_it_needs() {
    let (dir, blobs, _) = store().await;
    let image = Digest::of(b"short");
    let mut upload = blobs.begin(&image, Some(64 << 20)).await.unwrap();
    upload.write("short".into()).await.unwrap();
    assert_eq!(upload.commit().await.unwrap(), 5);
    let blocks = fs::metadata(dir.path().join(image_key(&image))).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
}

#[tokio::test]
async fn leftovers_of_a_killed_process_are_swept_and_nothing_else() {
    let (dir, blobs, records) = store().await;
    let image = upload(&blobs, b"image").await.unwrap();
    let tag = records.put(&app("a"), "{}".into()).await.unwrap();
    let leftovers = ["uploads/.writing-abc", "uploads/.writing-def", "records/applications/a/.writing-x"];
    let alien = ["uploads/notes.txt", "records/applications/a/.1.json.swp"];
    for file in leftovers.iter().chain(&alien) {
        fs::write(dir.path().join(file), "half").unwrap();
    }

    assert_eq!(blobs.sweep_uploads().await.unwrap(), leftovers.len());
    assert_eq!(blobs.sweep_uploads().await.unwrap(), 0);

    assert!(leftovers.iter().all(|file| !dir.path().join(file).exists()));
    assert!(alien.iter().all(|file| dir.path().join(file).exists()));
    assert_eq!(blobs.size(&image).await.unwrap(), Some(5));
    assert_eq!(records.list().await.unwrap(), [(app("a"), tag)]);
}

#[tokio::test]
async fn alien_files_are_passed_over_and_left_alone() {
    let (dir, blobs, records) = store().await;
    let image = upload(&blobs, b"image").await.unwrap();
    let tag = records.put(&app("a"), "{}".into()).await.unwrap();
    let hex = Digest::of(b"other").to_string();
    let folder = &image.to_string()[..2];
    let outside = dir.path().join("outside");
    fs::write(&outside, "x").unwrap();
    let put = |path: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        path
    };
    let mut alien = vec![
        put("lost+found/x"),
        put("images/sha256/lost+found/x"),
        put("images/sha256/README"),
        put(&format!("images/sha256/{folder}/{hex}")),
        put(&format!("images/sha256/{folder}/{image}~")),
        put("records/applications/README"),
        put("records/applications/UPPER/1.json"),
        put("records/applications/a/01.json"),
        put("records/applications/a/1.json~"),
        put("records/applications/a/.application.json.swp"),
        put("records/applications/a/2.json/x"),
    ];
    for link in ["records/applications/a/3.json", &format!("images/sha256/{}/{hex}", &hex[..2])] {
        let link = dir.path().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&outside, &link).unwrap();
        alien.push(link);
    }
    symlink(dir.path().join("records/applications/a"), dir.path().join("records/applications/b")).unwrap();

    assert_eq!(records.list().await.unwrap(), [(app("a"), tag)]);
    let listed = blobs.list().await.unwrap();
    assert_eq!(listed.iter().map(|info| (info.image, info.size)).collect::<Vec<_>>(), [(image, 5)]);
    assert_eq!(blobs.sweep_uploads().await.unwrap(), 0);
    // A link in place of a file is not followed.
    assert!(records.get(&version("a", 3)).await.is_err());
    assert!(records.get(&version("a", 2)).await.is_err());
    assert!(blobs.read(&Digest::of(b"other"), 0..1).await.is_err());
    assert!(blobs.size(&Digest::of(b"other")).await.is_err());
    // The application's folder stays for the sake of what else is in it.
    records.delete(&app("a")).await.unwrap();
    assert!(alien.iter().all(|path| fs::symlink_metadata(path).is_ok()));
}

#[tokio::test]
async fn a_pipe_in_place_of_a_record_does_not_hold_up_its_reader() {
    let (dir, _, records) = store().await;
    fs::create_dir(dir.path().join("records/applications/a")).unwrap();
    let made = Command::new("mkfifo").arg(dir.path().join(app("a").path())).status().unwrap();
    assert!(made.success());

    let got = timeout(Duration::from_secs(10), records.get(&app("a"))).await.unwrap();

    assert!(got.is_err());
    assert_eq!(records.list().await.unwrap(), []);
}

#[tokio::test]
async fn an_application_without_records_leaves_no_directory() {
    let (dir, _, records) = store().await;
    for key in [app("a"), version("a", 1)] {
        records.put(&key, "{}".into()).await.unwrap();
    }
    records.delete(&app("a")).await.unwrap();
    assert!(dir.path().join("records/applications/a").exists());
    records.delete(&version("a", 1)).await.unwrap();
    assert!(!dir.path().join("records/applications/a").exists());
}

#[tokio::test]
async fn a_record_that_is_edited_by_hand_gets_another_tag() {
    let (dir, _, records) = store().await;
    let tag = records.put(&app("a"), "{1}".into()).await.unwrap();
    File::options().write(true).open(dir.path().join(app("a").path())).unwrap().write_at(b"{2}", 0).unwrap();

    let (document, edited) = records.get(&app("a")).await.unwrap().unwrap();

    assert_eq!(document, "{2}");
    assert_ne!(edited, tag);
    assert_eq!(records.list().await.unwrap(), [(app("a"), edited)]);
}

#[tokio::test]
async fn an_image_that_has_lost_its_end_is_damaged_and_can_be_uploaded_again() {
    let (dir, blobs, _) = store().await;
    let data = vec![1; 300_000];
    let image = upload(&blobs, &data).await.unwrap();
    let path = dir.path().join(image_key(&image));
    let stream = blobs.read(&image, 0..300_000).await.unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(100_000).unwrap();

    let broken = stream.try_collect::<Vec<_>>().await.unwrap_err();
    let Error::Corrupt { what, .. } = broken else { panic!("{broken:?}") };
    assert_eq!(what, format!("`{}`", path.display()));
    assert!(matches!(blobs.read(&image, 0..300_000).await, Err(Error::Corrupt { .. })));

    upload(&blobs, &data).await.unwrap();
    assert_eq!(blobs.size(&image).await.unwrap(), Some(300_000));
    assert_eq!(read(&blobs, &image, 0..300_000).await, data);
}

#[tokio::test]
async fn ranges_beyond_two_gibibytes_are_read_from_their_place() {
    let (dir, blobs, _) = store().await;
    let image = Digest::of(b"as large as it is, nobody hashes it here");
    let path = dir.path().join(image_key(&image));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let size = 3 << 30;
    let file = File::create(&path).unwrap();
    file.set_len(size).unwrap();
    let places = [0, (1 << 31) - 3, (1 << 31) + 100_000, size - 6];
    for place in places {
        file.write_all_at(&place.to_be_bytes()[2..], place).unwrap();
    }

    assert_eq!(blobs.size(&image).await.unwrap(), Some(size));
    for place in places {
        assert_eq!(read(&blobs, &image, place..place + 6).await, place.to_be_bytes()[2..]);
    }
    let around = read(&blobs, &image, (1 << 31) - 70_000..(1 << 31) + 70_000).await;
    assert_eq!(around.len(), 140_000);
    assert_eq!(around.iter().filter(|byte| **byte != 0).count(), 4, "the one number among zeroes");
    assert!(matches!(blobs.read(&image, size..size + 1).await, Err(Error::Corrupt { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_no_space_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(4 << 20) else {
        println!("skipped: mounting a small file system takes root");
        return;
    };
    let (blobs, records) = aar_fs::open(disk.path()).await.unwrap();
    let uploads = disk.path().join("uploads");

    // Declared, it is noticed before a byte has come.
    let declared = blobs.begin(&Digest::of(b"big"), Some(5 << 20)).await;
    assert!(matches!(declared, Err(Error::NoSpace(_))));
    eventually("a refused upload leaves no file", || entries(&uploads).is_empty());

    // Undeclared, when the disk is full.
    let mut upload = blobs.begin(&Digest::of(b"big"), None).await.unwrap();
    let mut refused = None;
    for _ in 0..200 {
        if let Err(error) = upload.write(vec![1; 64 * 1024].into()).await {
            refused = Some(error);
            break;
        }
    }
    let refused = match refused {
        Some(error) => error,
        None => upload.commit().await.unwrap_err(),
    };
    assert!(matches!(refused, Error::NoSpace(_)), "{refused:?}");
    eventually("a failed upload leaves no file", || entries(&uploads).is_empty());

    // The name goes a moment before the room is free.
    eventually("the room of a failed upload is free", || disk.free() > 3 << 20);

    // Records too; what was there stays.
    let tag = records.put(&app("a"), "{}".into()).await.unwrap();
    let full = records.put(&app("a"), vec![b' '; 5 << 20].into()).await;
    assert!(matches!(full, Err(Error::NoSpace(_))));
    assert_eq!(records.get(&app("a")).await.unwrap(), Some(("{}".into(), tag)));
    assert_eq!(entries(&disk.path().join("records/applications/a")).len(), 1);
    eventually("the room of a refused record is free", || disk.free() > 3 << 20);

    self::upload(&blobs, b"fits").await.unwrap();
}

#[tokio::test]
async fn a_root_that_cannot_be_made_is_denied_by_its_path() {
    let Some(disk) = SmallDisk::mount(1 << 20) else {
        println!("skipped: mounting a file system takes root");
        return;
    };
    disk.make_read_only();
    let root = disk.path().join("root");

    let denied = aar_fs::open(&root).await.unwrap_err();

    let Error::Denied { action, .. } = denied else { panic!("{denied:?}") };
    assert_eq!(action, format!("create `{}`", root.display()));
}

/// A file system in memory, mounted for a test.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(bytes: usize) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let size = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    fn make_read_only(&self) {
        let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status().unwrap();
        assert!(remounted.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

async fn store() -> (TempDir, FsBlobs, FsRecords) {
    let dir = TempDir::new().unwrap();
    let (blobs, records) = aar_fs::open(dir.path()).await.unwrap();
    (dir, blobs, records)
}

async fn upload(blobs: &FsBlobs, data: &[u8]) -> aar_store::Result<Digest> {
    let image = Digest::of(data);
    let mut upload = blobs.begin(&image, Some(data.len() as u64)).await?;
    upload.write(Bytes::copy_from_slice(data)).await?;
    upload.commit().await?;
    Ok(image)
}

async fn read(blobs: &FsBlobs, image: &Digest, range: std::ops::Range<u64>) -> Vec<u8> {
    let chunks: Vec<Bytes> = blobs.read(image, range).await.unwrap().try_collect().await.unwrap();
    chunks.concat()
}

/// Waits for what another thread is about to do.
fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !happened() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(dir) {
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}

fn app(name: &str) -> RecordKey {
    RecordKey::application(name.parse().unwrap())
}

fn version(name: &str, number: i64) -> RecordKey {
    RecordKey::version(name.parse().unwrap(), number.try_into().unwrap())
}
