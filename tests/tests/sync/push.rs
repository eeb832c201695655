//! A directory of packages whose content goes to the registry.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aar_model::Digest;
use aar_tests::{Daemon, Syncer};
use serde_json::{Value, json};

use crate::{eventually, image, mirror, push, syncer};

/// Puts a file into place that was written a while ago.
fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let beside = path.with_extension("tmp");
    fs::write(&beside, content).unwrap();
    let file = File::options().write(true).open(&beside).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    fs::rename(beside, path).unwrap();
}

fn applications(daemon: &Daemon) -> Value {
    daemon.admin("GET", "/1.0/applications?recursion=1", b"").metadata()
}

fn fingerprints(daemon: &Daemon) -> Vec<String> {
    let applications = applications(daemon);
    let mut found = Vec::new();
    for application in applications.as_array().unwrap() {
        for version in application["versions"].as_array().unwrap() {
            for image in version["images"].as_array().unwrap() {
                let (name, number) = (application["name"].as_str().unwrap(), &version["number"]);
                let architecture = image["architecture"].as_str().unwrap();
                let fingerprint = image["fingerprint"].as_str().unwrap();
                found.push(format!("{name}/{number}/{architecture} {fingerprint}"));
            }
        }
    }
    found.sort();
    found
}

fn pusher(daemon: &Daemon, name: &str, more: &[&str]) -> Syncer {
    let more: Vec<_> = ["--mode", "push"].iter().chain(more).copied().collect();
    syncer(daemon, &daemon.publisher(name), daemon.address(), &more)
}

#[test]
fn packages_go_to_the_registry_with_their_fields_and_new_ones_by_themselves() {
    let daemon = Daemon::spawn();
    let mut pusher = pusher(&daemon, "pusher", &[]);
    let (one, two) = (image(30), image(40));
    put(&pusher.dir.join("game/application.json"), br#"{"tags": ["games"], "name": "ignored"}"#);
    put(&pusher.dir.join("game/1/version.json"), br#"{"boot_activity": ".Main"}"#);
    put(&pusher.dir.join("game/1/x86_64/build.zip"), &one);
    put(&pusher.dir.join("no application/1/x86_64/build.zip"), &one);
    pusher.start();
    let first = format!("game/1/x86_64 {}", Digest::of(&one));
    eventually("the first is pushed", || fingerprints(&daemon) == [first.clone()]);
    let game = &applications(&daemon)[0];
    assert_eq!((&game["tags"], &game["versions"][0]["boot_activity"]), (&json!(["games"]), &json!(".Main")));

    put(&pusher.dir.join("game/2/aarch64/build.zip"), &two);
    let second = format!("game/2/aarch64 {}", Digest::of(&two));
    eventually("the second is pushed", || fingerprints(&daemon) == [first.clone(), second.clone()]);
    put(&pusher.dir.join("game/application.json"), br#"{"tags": ["changed"]}"#);
    eventually("the fields follow", || applications(&daemon)[0]["tags"] == json!(["changed"]));
    // What goes from the directory stays on the registry.
    fs::remove_dir_all(pusher.dir.join("game/1")).unwrap();
    pusher.kill();
    pusher.in_step();
    assert_eq!(fingerprints(&daemon), [first, second]);
}

#[test]
fn a_package_that_is_being_written_waits_until_it_is_whole() {
    let daemon = Daemon::spawn();
    let mut pusher = pusher(&daemon, "pusher", &[]);
    let content = image(64);
    let path = pusher.dir.join("game/1/x86_64/build.zip");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path.with_extension("part"), "never whole").unwrap();
    pusher.start();
    for end in [16, 32, 48, 64] {
        fs::write(&path, &content[..end * 1024]).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(fingerprints(&daemon), [""; 0]);
    }
    eventually("it is pushed", || !fingerprints(&daemon).is_empty());
    assert_eq!(fingerprints(&daemon), [format!("game/1/x86_64 {}", Digest::of(&content))]);
}

#[test]
fn a_package_that_changes_while_it_is_sent_is_taken_back_and_pushed_when_it_is_whole() {
    let daemon = Daemon::spawn();
    let mut pusher = pusher(&daemon, "pusher", &["--limit-rate", "1M"]);
    let content = image(3000);
    let path = pusher.dir.join("game/1/x86_64/build.zip");
    put(&path, &content[..2_500_000]);
    pusher.start();
    let log = |text: &str| pusher.log().contains(text);
    eventually("it is sent", || log("begun"));
    std::thread::sleep(Duration::from_millis(500));
    File::options().append(true).open(&path).unwrap().write_all(&content[2_500_000..]).unwrap();
    eventually("it is taken back", || log("was taken back"));
    eventually("it is pushed", || !fingerprints(&daemon).is_empty());
    assert_eq!(fingerprints(&daemon), [format!("game/1/x86_64 {}", Digest::of(&content))]);
}

#[test]
fn another_package_for_a_version_is_a_conflict_and_holds_nothing_up() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let (theirs, ours) = (image(1), image(2));
    push(&daemon, &publisher, "game/1/x86_64", &theirs, &Value::Null);
    let pusher = pusher(&daemon, "pusher", &["--filter", "games"]);
    put(&pusher.dir.join("game/application.json"), br#"{"tags": ["games"]}"#);
    put(&pusher.dir.join("game/1/x86_64/a.zip"), &ours);
    put(&pusher.dir.join("game/2/x86_64/a.zip"), &ours);
    put(&pusher.dir.join("tool/1/x86_64/a.zip"), &ours);
    put(&pusher.dir.join("broken/application.json"), b"{");
    put(&pusher.dir.join("broken/1/x86_64/a.zip"), &ours);
    let output = pusher.once(&[]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("game version 1 for x86_64 is another image there"), "{told}");
    assert!(told.contains("broken/application.json"), "{told}");
    let expected =
        [format!("game/1/x86_64 {}", Digest::of(&theirs)), format!("game/2/x86_64 {}", Digest::of(&ours))];
    assert_eq!(fingerprints(&daemon), expected);
}

#[test]
fn a_mirror_can_be_pushed_on_to_another_registry() {
    let (near, far) = (Daemon::spawn(), Daemon::spawn());
    let publisher = near.publisher("publisher");
    for path in ["game/1/x86_64", "game/1/aarch64", "tool/7/x86_64"] {
        push(&near, &publisher, path, &image(20), &json!({"application": {"tags": ["a"], "novel": [1]}}));
    }
    let mut mirror = mirror(&near, "mirror", &[]);
    mirror.start();
    eventually("the mirror is there", || crate::images(&mirror.dir).len() == 3);
    let mut pusher = pusher(&far, "pusher", &[]);
    pusher.arguments[1] = mirror.dir.to_str().unwrap().into();
    pusher.start();
    eventually("it is pushed on", || fingerprints(&far) == fingerprints(&near));
    assert_eq!(applications(&far)[0]["novel"], json!([1]));
}
