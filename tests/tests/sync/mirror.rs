//! A mirror: what becomes of its directory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use aar_tests::{Cut, Daemon, Relay};
use serde_json::{Value, json};

use crate::{change, eventually, expected, files, image, images, mirror, push, reaches, read, syncer, tags};

#[test]
fn a_mirror_has_images_and_fields_and_follows_both() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let (one, two) = (image(10), image(20));
    let fields =
        json!({"application": {"tags": ["games"], "novel": {"a": 1}}, "version": {"boot_activity": ".Main"}});
    push(&daemon, &publisher, "game/1/x86_64", &one, &fields);
    let mirror = mirror(&daemon, "mirror", &[]);
    mirror.in_step();
    assert_eq!(
        files(&mirror.dir),
        ["game/1/version.json", "game/1/x86_64/image.zip", "game/application.json"]
    );
    assert_eq!(images(&mirror.dir), expected(&[("game/1/x86_64", &one)]));
    let application = read(&mirror.dir.join("game/application.json"));
    assert_eq!((&application["tags"], &application["novel"]), (&json!(["games"]), &json!({"a": 1})));
    assert_eq!(read(&mirror.dir.join("game/1/version.json"))["boot_activity"], ".Main");

    push(&daemon, &publisher, "game/2/x86_64", &two, &tags(&["new"]));
    change(&daemon, &publisher, "PATCH", "game/1", &json!({"published": false}));
    mirror.in_step();
    assert_eq!(images(&mirror.dir), expected(&[("game/2/x86_64", &two)]));
    assert_eq!(read(&mirror.dir.join("game/application.json"))["tags"], json!(["new"]));

    // A publisher may see what is withdrawn, and mirrors what is published all the same.
    let of_publisher = syncer(&daemon, &publisher, daemon.address(), &[]);
    of_publisher.in_step();
    assert_eq!(files(&of_publisher.dir), files(&mirror.dir));

    change(&daemon, &publisher, "DELETE", "game", &Value::Null);
    mirror.in_step();
    assert_eq!(fs::read_dir(&mirror.dir).unwrap().count(), 1, "nothing but the mirror's own directory");
}

#[test]
fn another_image_under_the_same_version_replaces_the_first_even_if_it_is_packed_otherwise() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mirror = mirror(&daemon, "mirror", &[]);
    let zip = image(10);
    let bzip: Vec<_> = b"BZh9".iter().copied().chain(image(10)).collect();
    for (content, name) in [(&zip, "image.zip"), (&image(10), "image.zip"), (&bzip, "image.tar.bz2")] {
        push(&daemon, &publisher, "game/1/x86_64", content, &Value::Null);
        mirror.in_step();
        assert_eq!(files(&mirror.dir)[1], format!("game/1/x86_64/{name}"));
        assert_eq!(images(&mirror.dir), expected(&[("game/1/x86_64", content)]));
        change(&daemon, &publisher, "DELETE", "game", &Value::Null);
    }
}

#[test]
fn what_is_not_the_mirrors_is_not_touched() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mirror = mirror(&daemon, "mirror", &[]);
    let own =
        ["own/1/x86_64/image.zip", "own/application.json", "game/1/x86_64/notes", "game/1/aarch64/image.zip"];
    for file in own {
        let path = mirror.dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    push(&daemon, &publisher, "game/1/x86_64", &image(1), &Value::Null);
    mirror.in_step();
    // In the way: not replaced, and told.
    push(&daemon, &publisher, "game/1/aarch64", &image(1), &Value::Null);
    push(&daemon, &publisher, "own/1/aarch64", &image(1), &tags(&["x"]));
    let refused = mirror.once(&[]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("game/1/aarch64/image.zip` is in the way"), "{told}");
    assert!(told.contains("own/application.json` is in the way"), "{told}");
    for application in ["game", "own"] {
        change(&daemon, &publisher, "DELETE", application, &Value::Null);
    }
    mirror.in_step();
    let mut left = own.map(String::from).to_vec();
    left.sort();
    assert_eq!(files(&mirror.dir), left);
    for file in own {
        assert_eq!(fs::read_to_string(mirror.dir.join(file)).unwrap(), file);
    }
}

#[test]
fn a_registry_that_cannot_be_asked_takes_nothing_away() {
    let mut daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let content = image(5);
    push(&daemon, &publisher, "game/1/x86_64", &content, &Value::Null);
    let client = daemon.client("mirror");
    let mirror = syncer(&daemon, &client, daemon.address(), &[]);
    mirror.in_step();
    let fingerprint = client.fingerprint().to_string();
    assert!(daemon.aar(&["trust", "remove", &fingerprint]).status.success());
    assert_eq!(mirror.once(&[]).status.code(), Some(4), "not trusted any more");
    daemon.stop();
    assert_eq!(mirror.once(&[]).status.code(), Some(6), "nobody there");
    assert_eq!(images(&mirror.dir), expected(&[("game/1/x86_64", &content)]));
}

#[test]
fn two_mirrors_in_one_directory_refuse_and_a_dry_run_does_not_mind() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let content = image(5);
    push(&daemon, &publisher, "game/1/x86_64", &content, &Value::Null);
    let mut mirror = mirror(&daemon, "mirror", &[]);
    let shown = mirror.command().args(["--dry-run", "--format", "csv"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown, "action,application,version,architecture,size\ntransfer,game,1,x86_64,5120\n");
    assert_eq!(fs::read_dir(&mirror.dir).unwrap().count(), 0, "a dry run leaves nothing");
    mirror.start();
    reaches(&mirror, &expected(&[("game/1/x86_64", &content)]));
    let refused = mirror.once(&[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("another `aar sync` is at work in"));
    let shown = mirror.command().args(["--dry-run", "--format", "json"]).output().unwrap();
    assert_eq!(shown.stdout, b"[]\n");
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mirror = mirror(&daemon, "mirror", &[]);
    let room = rustix::fs::statvfs(&mirror.dir).unwrap();
    // The registry believes what its index says; an image of that size need not be there.
    push(&daemon, &publisher, "game/1/x86_64", &image(1), &Value::Null);
    let record = daemon.base().join("data/records/applications/game/1.json");
    let text = fs::read_to_string(&record).unwrap();
    let huge = room.f_blocks * room.f_frsize + 1;
    assert!(text.contains("\"size\":1024"), "{text}");
    fs::write(&record, text.replace("\"size\":1024", &format!("\"size\":{huge}"))).unwrap();
    assert_eq!(daemon.admin("POST", "/1.0/maintenance/rebuild", b"").status, 200);
    let refused = mirror.once(&[]);
    assert_eq!(refused.status.code(), Some(8), "{refused:?}");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("make space, or select less"));
    assert_eq!(files(&mirror.dir), [""; 0]);
}

#[test]
fn a_cut_at_any_byte_costs_nothing_to_send_again() {
    const SIZE: usize = 8 << 20;
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let content = image(SIZE / 1024);
    push(&daemon, &publisher, "game/1/x86_64", &content, &Value::Null);
    let relay = Relay::to(daemon.address());
    let mut mirror = syncer(&daemon, &daemon.client("mirror"), relay.address(), &[]);
    relay.cut((0..12).map(|_| Cut::Received(fastrand::u64(300_000..900_000))));
    mirror.start();
    // And is killed in between.
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(fastrand::u64(50..300)));
        mirror.kill();
        mirror.start();
    }
    reaches(&mirror, &expected(&[("game/1/x86_64", &content)]));
    assert!(relay.cuts_left() < 6, "{} cuts are left", relay.cuts_left());
    // What a kill finds in the sockets' buffers has not arrived; the rest is handshakes and lists.
    let (carried, most) = (relay.received(), SIZE as u64 + 3 * (1 << 20) + 1_000_000);
    println!("{carried} bytes for an image of {SIZE}");
    assert!(carried < most, "{carried} bytes for an image of {SIZE}");
}

#[test]
fn no_more_moves_than_the_limit_allows() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    for version in 0..4 {
        push(&daemon, &publisher, &format!("game/{version}/x86_64"), &image(512), &Value::Null);
    }
    let mirror = mirror(&daemon, "mirror", &["--limit-rate", "1M"]);
    let begun = Instant::now();
    mirror.in_step();
    let took = begun.elapsed().as_secs_f64();
    assert!((1.7..6.0).contains(&took), "2 MiB at 1 MiB/s took {took} s");
}

#[test]
fn a_mirror_that_was_emptied_by_hand_is_filled_again_and_damage_to_its_notes_heals() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let content = image(50);
    push(&daemon, &publisher, "game/1/x86_64", &content, &Value::Null);
    let mirror = mirror(&daemon, "mirror", &[]);
    mirror.in_step();
    let path = mirror.dir.join("game/1/x86_64/image.zip");
    fs::remove_file(&path).unwrap();
    fs::write(mirror.dir.join("game/application.json"), "{").unwrap();
    mirror.in_step();
    assert_eq!(images(&mirror.dir), expected(&[("game/1/x86_64", &content)]));
    assert!(read(&mirror.dir.join("game/application.json"))["tags"].is_array());
    // Without its records the mirror takes in what is right already.
    let inode = fs::metadata(&path).unwrap().ino();
    fs::remove_dir_all(mirror.dir.join(".aar-sync")).unwrap();
    mirror.in_step();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "it was not fetched again");
}

#[test]
fn a_client_that_runs_gets_a_version_at_once_and_loses_it_at_once() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut mirror = mirror(&daemon, "mirror", &["--interval", "1h"]);
    mirror.start();
    eventually("it listens", || mirror.log().contains("listening"));
    let content = image(5);
    push(&daemon, &publisher, "game/1/x86_64", &content, &Value::Null);
    let begun = Instant::now();
    reaches(&mirror, &expected(&[("game/1/x86_64", &content)]));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    change(&daemon, &publisher, "DELETE", "game/1", &Value::Null);
    reaches(&mirror, &expected(&[]));
}

#[test]
fn what_a_relation_is_told_is_enough_beside_ones_own_certificate() {
    let daemon = Daemon::spawn();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("mirror"));
    let content = image(5);
    push(&daemon, &publisher, "game/1/x86_64", &content, &Value::Null);
    let file = daemon.scratch().join("told.json");
    let certificate = fs::read_to_string(daemon.base().join("certs/server.crt")).unwrap();
    let address = daemon.address();
    let told = |fingerprint: &str| {
        json!({"certificate": certificate, "fingerprint": fingerprint, "ip": address.ip().to_string(),
            "port": address.port().to_string(), "egress-subnets": "127.0.0.1/32"})
    };
    let mut mirror = syncer(&daemon, &client, address, &[]);
    let registry = mirror.arguments.iter().position(|argument| argument == "--registry").unwrap();
    mirror.arguments.drain(registry..registry + 4);
    mirror.arguments.extend(["--from-relation".into(), file.to_str().unwrap().into()]);
    fs::write(&file, told(&daemon.fingerprint().to_string()).to_string()).unwrap();
    mirror.in_step();
    assert_eq!(images(&mirror.dir), expected(&[("game/1/x86_64", &content)]));
    fs::write(&file, told(&"0".repeat(64)).to_string()).unwrap();
    let refused = mirror.once(&[]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
