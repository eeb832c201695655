//! What is run when a mirror has changed.

use std::fs;
use std::time::Duration;

use aar_model::Digest;
use aar_tests::Daemon;
use serde_json::Value;

use crate::{change, eventually, image, mirror, push};

#[test]
fn the_command_is_run_once_for_each_image_until_it_succeeds_and_told_the_facts() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let told = daemon.scratch().join("told");
    let command = format!(
        "test -f '{0}.ready' || exit 1; test \"$AAR_ACTION\" = removed || sha256sum <\"$AAR_PATH\" | grep -q $AAR_FINGERPRINT \
         && echo $AAR_ACTION $AAR_NAME $AAR_VERSION $AAR_ARCHITECTURE $AAR_FINGERPRINT >>'{0}'",
        told.display()
    );
    let mut mirror = mirror(&daemon, "mirror", &["--on-change", &command]);
    let content = image(5);
    let digest = Digest::of(&content);
    push(&daemon, &publisher, "game/1/x86_64", &content, &Value::Null);
    mirror.start();
    eventually("the command fails", || mirror.log().matches("tried again after a pause").count() >= 2);
    // What it owes survives.
    mirror.kill();
    fs::write(format!("{}.ready", told.display()), "").unwrap();
    mirror.start();
    let lines = |expected: &[String]| {
        eventually("the command is told", || {
            fs::read_to_string(&told).is_ok_and(|told| told.lines().eq(expected))
        });
    };
    let added = format!("added game 1 x86_64 {digest}");
    lines(std::slice::from_ref(&added));
    // Killed right before its success is noted, it would be run again.
    eventually("it is noted", || mirror.log().contains("action=\"added\""));
    mirror.kill();
    mirror.start();
    std::thread::sleep(Duration::from_secs(1));
    lines(std::slice::from_ref(&added));
    change(&daemon, &publisher, "DELETE", "game", &Value::Null);
    lines(&[added, format!("removed game 1 x86_64 {digest}")]);
}

#[test]
fn a_command_that_fails_is_told_and_has_its_exit_code() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    push(&daemon, &publisher, "game/1/x86_64", &image(1), &Value::Null);
    let mirror = mirror(&daemon, "mirror", &["--on-change", "exit 3 # s3cret"]);
    for _ in 0..2 {
        let failed = mirror.once(&[]);
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        let told = String::from_utf8(failed.stderr).unwrap();
        assert!(
            told.contains("failed for game version 1 for x86_64") && told.contains("exit status: 3"),
            "{told}"
        );
        assert!(!told.contains("s3cret"), "{told}");
    }
}
