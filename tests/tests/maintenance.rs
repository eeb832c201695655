//! Maintenance: the index can be lost at any time, orphans are collected, damage is named.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::FileExt;

use aar_model::Digest;
use aar_tests::{Daemon, Person};
use serde_json::json;

fn filled() -> (Daemon, Person) {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    for (name, version) in [("game", 1), ("game", 2), ("other", 1)] {
        let path = format!("/1.0/applications/{name}/{version}?architecture=x86_64");
        let image = format!("image of {name} {version}").repeat(1000);
        assert_eq!(daemon.push(&publisher, &path, image.as_bytes()).status, 202);
    }
    (daemon, publisher)
}

fn image_file(daemon: &Daemon, image: &[u8]) -> std::path::PathBuf {
    let digest = Digest::of(image).to_string();
    daemon.base().join("data/images/sha256").join(&digest[..2]).join(digest)
}

#[test]
fn an_index_that_is_lost_or_damaged_comes_back_by_itself() {
    let (mut daemon, publisher) = filled();
    let list =
        |daemon: &Daemon| daemon.request(&publisher, "GET", "/1.0/applications?recursion=1", b"").metadata();
    let before = list(&daemon);
    assert!(daemon.stop().success());
    fs::remove_dir_all(daemon.base().join("index")).unwrap();
    daemon.start();
    assert_eq!(list(&daemon), before);
    let mut offset = 0;
    loop {
        daemon.kill();
        let index = fs::read_dir(daemon.base().join("index")).unwrap();
        let files: Vec<_> = index.flatten().filter(|entry| entry.file_type().unwrap().is_file()).collect();
        let longest = files.iter().map(|file| file.metadata().unwrap().len()).max().unwrap();
        for file in files {
            let (path, length) = (file.path(), file.metadata().unwrap().len());
            let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            if offset < length {
                let mut byte = [0];
                file.read_exact_at(&mut byte, offset).unwrap();
                file.write_all_at(&[byte[0] ^ 0x55], offset).unwrap();
            }
        }
        daemon.start();
        assert_eq!(list(&daemon), before, "a byte flipped at {offset}");
        offset = offset * 2 + 13;
        if offset > longest {
            break;
        }
    }
}

#[test]
fn records_changed_by_hand_count_after_a_rebuild() {
    let (daemon, publisher) = filled();
    let other = daemon.base().join("data/records/applications/other");
    fs::remove_dir_all(&other).unwrap();
    let report = daemon.admin("POST", "/1.0/maintenance/rebuild", b"").metadata();
    assert_eq!(
        (&report["records"], &report["changed"], &report["damaged"]),
        (&3.into(), &2.into(), &0.into())
    );
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/other", b"").status, 404);
    // A record that cannot be read is left out, and left alone.
    let record = daemon.base().join("data/records/applications/game/2.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, &whole[..whole.len() / 2]).unwrap();
    let report = daemon.admin("POST", "/1.0/maintenance/rebuild", b"").metadata();
    assert_eq!((&report["records"], &report["damaged"]), (&3.into(), &1.into()));
    let versions =
        daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata()["versions"].clone();
    assert_eq!(versions.as_array().unwrap().len(), 1);
    // It is not written over.
    let other = daemon.push(&publisher, "/1.0/applications/game/2?architecture=x86_64", b"another image");
    assert_eq!(other.status, 503, "{other:?}");
    // What it holds is not known, and must not be taken for unused.
    assert_eq!(daemon.admin("POST", "/1.0/maintenance/collect-garbage?grace=0", b"").status, 503);
    assert_eq!(daemon.request(&publisher, "DELETE", "/1.0/applications/game", b"").status, 202);
    assert!(image_file(&daemon, "image of game 2".repeat(1000).as_bytes()).exists());
    let image = "image of game 1".repeat(1000);
    let path = "/1.0/applications/game/1?architecture=x86_64";
    assert_eq!(daemon.push(&publisher, path, image.as_bytes()).status, 202);
    fs::write(&record, &whole).unwrap();
    daemon.admin("POST", "/1.0/maintenance/rebuild", b"");
    assert_eq!(daemon.admin("POST", "/1.0/maintenance/collect-garbage?grace=0", b"").status, 200);
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/game/2", b"").status, 200);
    let versions =
        daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata()["versions"].clone();
    assert_eq!(versions.as_array().unwrap().len(), 2);
}

#[test]
fn the_collector_removes_orphans_and_only_those() {
    let (daemon, publisher) = filled();
    let orphan = image_file(&daemon, b"orphan");
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, b"orphan").unwrap();
    let collect = |query: &str| {
        daemon.admin("POST", &format!("/1.0/maintenance/collect-garbage{query}"), b"").metadata()
    };
    assert_eq!(collect("")["removed"], json!([]), "it is young");
    let expected = json!([{ "fingerprint": Digest::of(b"orphan").to_string(), "size": 6 }]);
    let dry = collect("?grace=0&dry-run=true");
    assert_eq!((&dry["removed"], &dry["dry_run"], &dry["bytes"]), (&expected, &true.into(), &6.into()));
    assert!(orphan.exists());
    assert_eq!(collect("?grace=0")["removed"], expected);
    assert!(!orphan.exists());
    assert_eq!(collect("?grace=0")["removed"], json!([]));
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/game/1", b"").status, 200);
}

#[test]
fn verify_names_every_damaged_image_and_a_missing_one_comes_back_by_a_push() {
    let (daemon, publisher) = filled();
    let verify = || daemon.admin("POST", "/1.0/maintenance/verify", b"").metadata();
    let clean = verify();
    assert_eq!((&clean["images"], &clean["damaged"]), (&3.into(), &json!([])));
    let flipped = "image of game 1".repeat(1000);
    let file = fs::OpenOptions::new().write(true).open(image_file(&daemon, flipped.as_bytes())).unwrap();
    file.write_all_at(b"X", 7).unwrap();
    let gone = "image of other 1".repeat(1000);
    fs::remove_file(image_file(&daemon, gone.as_bytes())).unwrap();
    let report = verify();
    let mut damaged: Vec<_> = report["damaged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["applications"][0].as_str().unwrap(), d["problem"].as_str().unwrap()))
        .collect();
    damaged.sort_unstable();
    assert_eq!(damaged.len(), 2, "{report}");
    assert_eq!(damaged[0].0, "game/1/x86_64");
    assert!(damaged[0].1.contains("SHA-256"), "{report}");
    assert_eq!(damaged[1], ("other/1/x86_64", "it is missing"));

    let pull = || daemon.request(&publisher, "GET", "/1.0/applications/other/1", b"");
    let refused = pull();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    assert!(refused.error().contains("aar maintenance verify"), "{}", refused.error());
    let again = daemon.push(&publisher, "/1.0/applications/other/1?architecture=x86_64", gone.as_bytes());
    assert_eq!(again.status, 202, "{}", again.error());
    assert_eq!(pull().body, gone.as_bytes());
}
