//! The command line against the daemon: trust, applications, maintenance, and the exit codes that scripts see.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use aar_model::Digest;
use aar_tests::{Daemon, Person, binary};
use serde_json::{Value, json};

/// How long something may take that takes a moment on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn trust_is_given_and_taken_and_counts_at_once() {
    let daemon = Daemon::spawn();
    let person = Person::new(daemon.scratch(), "region-1");
    let fingerprint = person.fingerprint().to_string();
    let file = person.certificate_file.to_str().unwrap();
    let mut open = daemon.connect(Some(&person));
    let mut status = || open.request("GET", "/1.0/applications", &[], b"").status;
    let role = || daemon.request(&person, "GET", "/1.0", b"").metadata()["role"].clone();

    assert_eq!(status(), 401);
    let named = format!("region-1 ({fingerprint})\n");
    assert_eq!(done(&daemon.aar(&["trust", "add", file])), format!("trusted as client: {named}"));
    assert_eq!((status(), role()), (200, "client".into()));
    assert_eq!(done(&daemon.aar(&["trust", "add", file])), format!("already trusted as client: {named}"));
    let output = daemon.aar(&["trust", "add", "--publisher", file]);
    assert_eq!(done(&output), format!("role changed to publisher: {named}"));
    assert_eq!((status(), role()), (200, "publisher".into()));
    assert_eq!(done(&daemon.aar(&["trust", "add", file])), format!("role changed to client: {named}"));
    assert_eq!(role(), "client");

    let colons = fingerprint.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase());
    let colons = colons.collect::<Vec<_>>().join(":");
    assert_eq!(done(&daemon.aar(&["trust", "remove", &colons])), format!("removed: {named}"));
    assert_eq!(status(), 401);
    done(&daemon.aar(&["trust", "add", file]));
    assert_eq!(status(), 200);

    let prefix = &fingerprint[..8];
    assert!(failed(&daemon.aar(&["trust", "revoke", prefix]), 2).contains("--yes"));
    assert_eq!(status(), 200);
    let output = daemon.aar(&["trust", "revoke", "-y", prefix]);
    assert_eq!(done(&output), format!("revoked for good: {named}"));
    assert_eq!(status(), 401);
    assert!(failed(&daemon.aar(&["trust", "add", file]), 5).contains("never"));
    assert!(failed(&daemon.aar(&["trust", "remove", prefix]), 5).contains("never"));
    done(&daemon.aar(&["trust", "revoke", prefix]));
    assert_eq!(status(), 401);

    failed(&daemon.aar(&["trust", "remove", "00000000"]), 3);
    failed(&daemon.aar(&["trust", "remove", &fingerprint[..7]]), 2);
    failed(&daemon.aar(&["trust", "add", "/nowhere.crt"]), 1);
    let key = failed(&daemon.aar(&["trust", "add", person.key_file.to_str().unwrap()]), 1);
    assert!(key.contains("this is a private key"), "{key}");
}

#[test]
fn a_certificate_is_read_from_standard_input() {
    let daemon = Daemon::spawn();
    let add = |arguments: &[&str], input: &[u8]| {
        let mut child = aar(&daemon, &[&["trust", "add"], arguments].concat());
        let mut child =
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    };
    let person = Person::new(daemon.scratch(), "person");
    assert_eq!(
        done(&add(&["--quiet", "--publisher", "--name", "build machine"], person.pem().as_bytes())),
        ""
    );
    let other = Person::new(daemon.scratch(), "other");
    let chain = other.pem() + &person.pem();
    assert!(done(&add(&[], chain.as_bytes())).contains("only the first certificate counts"));
    let der = Person::new(daemon.scratch(), "der");
    done(&add(&["-q"], &der.certificate.to_der().unwrap()));
    let listed: Value =
        serde_json::from_str(&done(&daemon.aar(&["trust", "ls", "--format", "json"]))).unwrap();
    let listed =
        listed.as_array().unwrap().iter().map(|entry| (entry["name"].clone(), entry["role"].clone()));
    assert_eq!(
        listed.collect::<Vec<_>>(),
        [("der", "client"), ("other", "client"), ("build machine", "publisher")]
            .map(|(n, r)| (n.into(), r.into()))
    );
    assert!(failed(&add(&[], b""), 1).contains("empty"));
}

#[test]
fn certificates_are_listed_in_every_format() {
    let daemon = Daemon::spawn();
    let person = daemon.client("region-1");
    let fingerprint = person.fingerprint().to_string();
    let list = |format| done(&daemon.aar(&["trust", "list", "--format", format]));
    let table = list("table");
    let words: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(words[0], ["NAME", "ROLE", "FINGERPRINT", "ADDED", "LAST", "SEEN"]);
    assert_eq!(words[1][..3], ["region-1", "client", &fingerprint[..16]]);
    let csv = list("csv");
    assert!(csv.starts_with("name,role,fingerprint,sources,added_at,last_seen_at,revoked_at\n"), "{csv}");
    assert!(csv.contains(&format!("\nregion-1,client,{fingerprint},operator,20")), "{csv}");
    let json: Value = serde_json::from_str(&list("json")).unwrap();
    assert_eq!(json[0]["fingerprint"], fingerprint);
    assert_eq!(json[0]["sources"], json!(["operator"]));
    let yaml: Value = aar_config::from_yaml(&list("yaml"), Path::new("list")).unwrap();
    assert_eq!(yaml, json);

    done(&daemon.aar(&["trust", "revoke", "--yes", &fingerprint]));
    assert_eq!(list("json"), "[]\n");
    let revoked = done(&daemon.aar(&["trust", "list", "--revoked", "--format", "json"]));
    let revoked: Value = serde_json::from_str(&revoked).unwrap();
    assert!(revoked[0]["revoked_at"].as_str().unwrap().ends_with('Z'), "{revoked}");
}

#[test]
fn trust_changes_while_the_daemon_is_stopped() {
    let mut daemon = Daemon::spawn();
    let (kept, removed, revoked) =
        (daemon.client("kept"), daemon.client("removed"), daemon.client("revoked"));
    assert!(daemon.stop().success());
    let added = Person::new(daemon.scratch(), "added");
    done(&daemon.aar(&["trust", "add", "--publisher", added.certificate_file.to_str().unwrap()]));
    done(&daemon.aar(&["trust", "remove", &removed.fingerprint().to_string()[..8]]));
    done(&daemon.aar(&["trust", "revoke", "--yes", &revoked.fingerprint().to_string()[..8]]));
    let listed = done(&daemon.aar(&["trust", "list", "--format", "json"]));
    let again = daemon.aar(&["trust", "add", revoked.certificate_file.to_str().unwrap()]);
    assert!(failed(&again, 5).contains("never"));

    daemon.start();
    assert_eq!(done(&daemon.aar(&["trust", "list", "--format", "json"])), listed);
    let status = |person| daemon.request(person, "GET", "/1.0/applications", b"").status;
    assert_eq!([&kept, &added, &removed, &revoked].map(status), [200, 200, 401, 401]);
    assert_eq!(daemon.request(&added, "GET", "/1.0", b"").metadata()["role"], "publisher");
    let again = daemon.aar(&["trust", "add", revoked.certificate_file.to_str().unwrap()]);
    assert!(failed(&again, 5).contains("never"));
}

#[test]
fn an_application_lives_over_the_network() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    an_application_lives(&daemon, &|arguments| daemon.aar_as(&publisher, arguments), &|arguments| {
        daemon.aar_as(&client, arguments)
    });
}

#[test]
fn an_application_lives_over_the_socket() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let local = |arguments: &[&str]| daemon.aar(&[&["application"], arguments].concat());
    an_application_lives(&daemon, &local, &|arguments| daemon.aar_as(&client, arguments));
}

/// From the first push to the last deletion, as somebody who may and as somebody who only reads.
fn an_application_lives(
    daemon: &Daemon,
    publisher: &dyn Fn(&[&str]) -> Output,
    client: &dyn Fn(&[&str]) -> Output,
) {
    let dir = daemon.scratch();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let image = |version: u8| [b"PK\x03\x04".as_slice(), &vec![version; 100_000]].concat();
    for version in 1..=3 {
        fs::write(path(&format!("{version}.zip")), image(version)).unwrap();
    }
    let metadata = json!({
        "application": {"boot_package": "com.example.game", "tags": ["eu", "über"]},
        "version": {"boot_activity": ".Main", "invented": {"kept": 1}}
    });
    fs::write(path("metadata.json"), metadata.to_string()).unwrap();

    let push = |version: &str, more: &[&str]| {
        let file = path(&format!("{version}.zip"));
        publisher(&[&["push", "game", version, &file, "--architecture", "amd64"], more].concat())
    };
    let fingerprint = Digest::of(&image(1)).to_string();
    let pushed = done(&push("1", &["--metadata", &format!("@{}", path("metadata.json"))]));
    assert_eq!(pushed, format!("pushed: game version 1 for x86_64 (97.66 KiB, {fingerprint})\n"));
    assert!(done(&push("1", &[])).starts_with("already there: game version 1 for x86_64"));
    done(&push("2", &[]));
    done(&push("3", &["--unpublished"]));

    let json = |output: &Output| serde_json::from_str::<Value>(&done(output)).unwrap();
    let shown = json(&client(&["show", "game", "--format", "json"]));
    assert_eq!((&shown["name"], &shown["boot_package"]), (&"game".into(), &"com.example.game".into()));
    assert_eq!(shown["tags"], json!(["eu", "über"]));
    assert_eq!(shown["versions"][0]["invented"], json!({"kept": 1}));
    assert_eq!(shown["versions"][0]["images"][0]["fingerprint"], fingerprint);
    let numbers = |output| {
        let shown = json(&output);
        shown["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["number"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(client(&["show", "game", "--format", "json"])), [1, 2]);
    assert_eq!(numbers(publisher(&["show", "game", "--format", "json"])), [1, 2, 3]);
    let listed = json(&client(&["list", "--format", "json", "--filter", "tags=eu", "--filter", "name=g*"]));
    assert_eq!(listed[0], shown);
    assert_eq!(json(&client(&["list", "--format", "json", "--filter", "tags=us"])), json!([]));
    let yaml: Value =
        aar_config::from_yaml(&done(&client(&["list", "--format", "yaml"])), Path::new("list")).unwrap();
    assert_eq!(yaml, listed);
    let csv = done(&client(&["list", "--format", "csv"]));
    assert!(csv.lines().nth(1).unwrap().starts_with("game,2,2,x86_64,"), "{csv}");
    let table = done(&client(&["ls"]));
    assert_eq!(
        table.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>()[..4],
        ["game", "2", "2", "x86_64"]
    );

    // The newest that is published.
    let pulled = done(&client(&["pull", "game", "--output", dir.to_str().unwrap()]));
    assert_eq!(
        pulled,
        format!("pulled: game version 2 for x86_64 to {} (97.66 KiB)\n", path("game_2_x86_64.zip"))
    );
    assert_eq!(fs::read(path("game_2_x86_64.zip")).unwrap(), image(2));
    done(&publisher(&["pull", "game", "3", "-a", "x86_64", "-o", &path("three")]));
    assert_eq!(fs::read(path("three")).unwrap(), image(3));
    failed(&client(&["pull", "game", "3", "-o", &path("never")]), 3);
    done(&publisher(&["publish", "game", "3"]));
    done(&client(&["pull", "game", "-o", &path("three")]));
    done(&publisher(&["unpublish", "game", "3"]));
    assert_eq!(numbers(client(&["show", "game", "--format", "json"])), [1, 2]);

    assert!(failed(&publisher(&["delete", "game", "2"]), 2).contains("--yes"));
    let deleted = done(&publisher(&["delete", "game", "2", "--architecture", "x86_64", "--yes"]));
    assert_eq!(deleted, "deleted: game version 2 for x86_64\n");
    assert_eq!(numbers(publisher(&["show", "game", "--format", "json"])), [1, 3]);
    assert_eq!(done(&publisher(&["delete", "game", "1", "-y"])), "deleted: game version 1\n");
    assert_eq!(done(&publisher(&["delete", "game", "-y"])), "deleted: game with all versions\n");
    failed(&publisher(&["show", "game"]), 3);
    assert_eq!(daemon.stored_files(), Vec::<String>::new());
    assert!(!Path::new(&path("never")).exists() && !Path::new(&path("never.part")).exists());
}

#[test]
fn a_pull_goes_on_with_what_an_earlier_one_left() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let image = large_image();
    assert_eq!(daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", &image).status, 202);
    let target = daemon.scratch().join("game.img");
    let part = daemon.scratch().join("game.img.part");
    let pull =
        || done(&daemon.aar_as(&publisher, &["pull", "game", "1", "--output", target.to_str().unwrap()]));

    fs::write(&part, &image[..1_000_000]).unwrap();
    pull();
    assert!(fs::read(&target).unwrap() == image);
    wait_until_sent(&daemon, image.len() - 1_000_000);

    // What is left of another image does no harm.
    fs::write(&part, vec![0; 1_000_000]).unwrap();
    pull();
    assert!(fs::read(&target).unwrap() == image);
    wait_until_sent(&daemon, image.len());
    assert!(!part.exists());
}

#[test]
fn a_pull_that_was_killed_is_continued() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let image = large_image();
    assert_eq!(daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", &image).status, 202);
    let target = daemon.scratch().join("game.img");
    let part = daemon.scratch().join("game.img.part");
    let arguments = ["pull", "game", "1", "--output", target.to_str().unwrap()];

    let relay = relay(daemon.address(), 1_500_000, Then::Stall);
    let mut pulling = aar_at(&daemon, relay, &publisher, &arguments);
    let mut pulling = pulling.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) < 1_000_000 {
        assert!(begun.elapsed() < PATIENCE && pulling.try_wait().unwrap().is_none(), "nothing comes");
        std::thread::sleep(Duration::from_millis(2));
    }
    pulling.kill().unwrap();
    pulling.wait().unwrap();
    let left = fs::read(&part).unwrap();
    assert!(left.len() < image.len() && image.starts_with(&left) && !target.exists());

    done(&daemon.aar_as(&publisher, &arguments));
    assert!(fs::read(&target).unwrap() == image);
    wait_until_sent(&daemon, image.len() - left.len());
    assert!(!part.exists());
}

#[test]
fn a_pull_outlasts_connections_that_break() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let image = large_image();
    assert_eq!(daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", &image).status, 202);
    let target = daemon.scratch().join("game.img");
    let relay = relay(daemon.address(), 1_500_000, Then::Cut);
    let arguments = ["pull", "game", "1", "--output", target.to_str().unwrap()];
    let output = aar_at(&daemon, relay, &publisher, &arguments).output().unwrap();
    done(&output);
    assert!(fs::read(&target).unwrap() == image);
    assert!(!String::from_utf8_lossy(&output.stderr).contains('%'), "a progress bar in a pipe: {output:?}");
}

#[test]
fn scripts_can_tell_failures_apart() {
    let mut daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    let stranger = Person::new(daemon.scratch(), "stranger");
    let revoked = daemon.client("revoked");
    done(&daemon.aar(&["trust", "revoke", "--yes", &revoked.fingerprint().to_string()]));
    let files = ["one", "two"].map(|name| daemon.scratch().join(name));
    for file in &files {
        fs::write(file, file.to_str().unwrap()).unwrap();
    }
    let [one, two] = files.each_ref().map(|file| file.to_str().unwrap());
    let push =
        |person, version, file| daemon.aar_as(person, &["push", "game", version, file, "-a", "x86_64"]);
    done(&push(&publisher, "1", one));

    for arguments in [
        &["show", "none"][..],
        &["pull", "none"],
        &["pull", "game", "2"],
        &["pull", "game", "1", "--architecture", "aarch64"],
        &["delete", "game", "2", "--yes"],
        &["delete", "none", "--yes"],
        &["publish", "game", "2"],
    ] {
        failed(&daemon.aar_as(&publisher, arguments), 3);
    }
    for (person, word, remedy) in
        [(&stranger, "is not known", "aar trust add"), (&revoked, "is revoked", "make a new key")]
    {
        for arguments in [&["list"][..], &["pull", "game", "1"], &["push", "game", "2", one, "-a", "x86_64"]]
        {
            let said = failed(&daemon.aar_as(person, arguments), 4);
            assert!(said.contains(word) && said.contains(remedy), "{said}");
        }
    }
    for arguments in [
        &["push", "game", "2", one, "-a", "x86_64"][..],
        &["delete", "game", "--yes"],
        &["unpublish", "game", "1"],
    ] {
        assert!(failed(&daemon.aar_as(&client, arguments), 4).contains("publisher"));
    }
    assert!(failed(&push(&publisher, "1", two), 5).contains("immutable"));
    failed(&push(&publisher, "x", one), 2);
    failed(&push(&publisher, "2", "/nowhere"), 1);

    let (url, wrong) = (daemon.url(), "ab".repeat(32));
    let pinned = daemon.aar(&["status", "--registry", &url, "--fingerprint", &wrong]);
    assert!(failed(&pinned, 7).contains(&format!("{}, not {wrong} as pinned", daemon.fingerprint())));
    let unpinned = failed(&daemon.aar(&["status", "--registry", &url]), 2);
    assert!(unpinned.contains(&daemon.fingerprint().to_string()), "{unpinned}");

    assert!(daemon.stop().success());
    assert!(
        failed(&daemon.aar_as(&client, &["list"]), 6).contains("cannot reach the registry at 127.0.0.1:")
    );
    assert!(failed(&daemon.aar(&["maintenance", "rebuild"]), 6).contains("is the daemon running?"));
}

#[test]
fn a_registry_is_named_by_the_environment_or_a_file() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let fingerprint = daemon.fingerprint().to_string();
    let status = |command: &mut Command| -> Value {
        let output = command.env("AAR_BASE_DIR", "/nowhere").stdin(Stdio::null()).output().unwrap();
        serde_json::from_str(&done(&output)).unwrap()
    };
    let expected = json!({
        "registry": format!("{}/", daemon.url()), "version": env!("CARGO_PKG_VERSION"), "api_version": "1.0",
        "auth": "trusted", "role": "client"
    });
    let named = status(
        aar(&daemon, &["status", "--format", "json"])
            .env("AAR_REGISTRY", daemon.url())
            .env("AAR_FINGERPRINT", &fingerprint)
            .env("AAR_CERT", &client.certificate_file)
            .env("AAR_KEY", &client.key_file),
    );
    assert_eq!(named, expected);
    // Paths are taken from the file's directory.
    let config = format!(
        "registry: {}\nfingerprint: {fingerprint}\ncert: client.crt\nkey: client.key\n",
        daemon.url()
    );
    let file = daemon.scratch().join("config.yaml");
    fs::write(&file, config).unwrap();
    assert_eq!(status(aar(&daemon, &["status", "--format", "json"]).env("AAR_CONFIG", &file)), expected);
}

#[test]
fn maintenance_reports_to_people_and_programs() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    for name in ["game", "other"] {
        let path = format!("/1.0/applications/{name}/1?architecture=x86_64");
        assert_eq!(daemon.push(&publisher, &path, format!("image of {name}").as_bytes()).status, 202);
    }
    let json = |arguments: &[&str]| -> Value {
        let output = daemon.aar(&[&["maintenance"], arguments, &["--format", "json"]].concat());
        serde_json::from_str(&done(&output)).unwrap()
    };
    let report = json(&["rebuild"]);
    assert_eq!(
        [&report["records"], &report["changed"], &report["damaged"]],
        [&json!(4), &json!(0), &json!(0)]
    );

    let stored = |bytes: &[u8]| {
        let digest = Digest::of(bytes).to_string();
        let dir = daemon.base().join("data/images/sha256").join(&digest[..2]);
        fs::create_dir_all(&dir).unwrap();
        (digest.clone(), dir.join(digest))
    };
    let (orphan, orphan_file) = stored(b"orphan");
    fs::write(&orphan_file, "orphan").unwrap();
    let collected = json!({ "removed": [{"fingerprint": orphan, "size": 6}], "bytes": 6, "dry_run": true });
    assert_eq!(json(&["collect-garbage"])["removed"], json!([]), "it is young");
    assert_eq!(json(&["collect-garbage", "--dry-run", "--grace", "0"]), collected);
    assert!(orphan_file.exists());
    assert_eq!(json(&["collect-garbage", "--grace", "0"])["removed"], collected["removed"]);
    assert!(!orphan_file.exists());

    assert_eq!(json(&["verify"]), json!({ "images": 2, "bytes": 27, "damaged": [] }));
    let (damaged, damaged_file) = stored(b"image of game");
    fs::write(&damaged_file, "IMAGE of game").unwrap();
    let verify = |format| {
        let output = daemon.aar(&["maintenance", "verify", "--format", format]);
        assert!(failed(&output, 7).starts_with("aar: 1 image is damaged"));
        String::from_utf8(output.stdout).unwrap()
    };
    for format in ["table", "csv", "json", "yaml"] {
        let report = verify(format);
        assert!(report.contains(&damaged) && report.contains("game/1/x86_64"), "{report}");
        assert!(!report.contains("other/1"), "{report}");
    }
    let report: Value = serde_json::from_str(&verify("json")).unwrap();
    assert_eq!(report["damaged"][0]["applications"], json!(["game/1/x86_64"]));
    // A pull does not hand it out either.
    let target = daemon.scratch().join("game.img");
    let output = daemon.aar_as(&publisher, &["pull", "game", "1", "-o", target.to_str().unwrap()]);
    assert!(failed(&output, 7).contains("SHA-256"));
    assert!(!target.exists());
}

/// What a command that succeeds prints.
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command says that fails with an exit code.
fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn aar(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("aar"));
    command
        .args(arguments)
        .env("AAR_BASE_DIR", daemon.base())
        .env("XDG_CONFIG_HOME", daemon.scratch().join("no-config"));
    command
}

/// `aar application` as somebody, over another address than the daemon's own.
fn aar_at(daemon: &Daemon, address: SocketAddr, person: &Person, arguments: &[&str]) -> Command {
    let mut command = aar(daemon, &["application"]);
    command
        .args([
            "--registry",
            &format!("https://{address}"),
            "--fingerprint",
            &daemon.fingerprint().to_string(),
        ])
        .arg("--cert")
        .arg(&person.certificate_file)
        .arg("--key")
        .arg(&person.key_file)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

fn large_image() -> Vec<u8> {
    (0..1_000_000u32).flat_map(u32::to_le_bytes).collect()
}

/// Waits until the daemon's log says that it has sent an image, or the part of one, of so many bytes.
fn wait_until_sent(daemon: &Daemon, bytes: usize) {
    let begun = Instant::now();
    let was_sent = |entry: &Value| entry["message"] == "an image was sent" && entry["sent_bytes"] == bytes;
    while !daemon.log().iter().any(was_sent) {
        assert!(begun.elapsed() < PATIENCE, "{bytes} bytes were never sent");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a relay does with a connection that has brought its share.
#[derive(Clone, Copy)]
enum Then {
    Stall,
    Cut,
}

/// A place on the network that passes connections on to `address`, up to `share` bytes of what comes back on each.
fn relay(address: SocketAddr, share: u64, then: Then) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || pass_on(client, address, share, then));
        }
    });
    here
}

fn pass_on(mut client: TcpStream, address: SocketAddr, share: u64, then: Then) -> std::io::Result<()> {
    let server = TcpStream::connect(address)?;
    let (mut asked, mut asks) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut asked, &mut asks));
    std::io::copy(&mut server.try_clone()?.take(share), &mut client)?;
    match then {
        // Until the client goes away.
        Then::Stall => std::io::copy(&mut client.try_clone()?, &mut std::io::sink()).map(drop),
        Then::Cut => client.shutdown(Shutdown::Both),
    }
}
