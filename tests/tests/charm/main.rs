//! The charm, as an operator meets it: deployed by the stand-in for Juju on machines with systemd, with the real daemon
//! serving.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod actions;
mod ams;
mod backup;
mod kills;
mod quiet;
mod relations;
mod secrets;
mod session;
mod upgrades;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use aar_tests::juju::{Deploy, JujuVersion, Model};
use aar_tests::machine::Machine;
use aar_tests::s3::S3Server;
use aar_tests::{Connection, Person, Response, binary};
use tempfile::TempDir;

const UNIT: &str = "aar/0";
/// A token that Ubuntu Pro takes.
const TOKEN: &str = "C1tokenOfTheTests";

/// What operators are given to fill in, as they are given it.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/aar-config/tests/fixtures");

/// The charm with the programs of this build, as `make charm` packs it.
fn charm() -> PathBuf {
    pack("plain", |_| {})
}

/// The charm, with programs that `change` has changed in a directory of their own; packed once for all tests.
fn pack(name: &'static str, change: impl FnOnce(&Path)) -> PathBuf {
    static PACKED: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut packed = PACKED.lock().unwrap();
    if let Some(archive) = packed.get(name) {
        return archive.clone();
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("charm").join(name);
    let programs = dir.join("programs");
    fs::create_dir_all(&programs).unwrap();
    for program in ["dispatch", "aard", "aar"] {
        // What is for debuggers would make copies of it slow.
        run(Command::new("strip").arg("-o").arg(programs.join(program)).arg(binary(program)));
    }
    change(&programs);
    let archive = dir.join("aar.charm");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/charm.sh");
    // The command line that writes its manual is not one that a test has spoilt.
    run(Command::new(script).arg(&programs).arg("amd64").arg(&archive).env("AAR", binary("aar")));
    packed.insert(name, archive.clone());
    archive
}

/// Puts a script in the place of a program.
fn replace(program: &Path, script: &str) {
    fs::write(program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A model with the charm deployed, and those who use it.
struct Site {
    model: Model,
    people: TempDir,
    port: u16,
}

impl Site {
    /// `juju deploy ./aar.charm`
    fn deployed() -> Self {
        Self::deployed_with(Deploy::default())
    }

    fn deployed_with(options: Deploy) -> Self {
        let mut site = Self::empty();
        site.model.deploy_with(&charm(), options).unwrap();
        site
    }

    fn empty() -> Self {
        let model = Model::on_machines(JujuVersion::V3_6);
        Self { model, people: tempfile::tempdir().unwrap(), port: 3000 }
    }

    /// Deployed, with the token set, and serving on the machine's disk.
    fn serving() -> Self {
        let mut site = Self::deployed();
        site.machine().pro().accept(&[TOKEN]);
        site.set("ua_token", TOKEN);
        site.expect("active: serving");
        site
    }

    /// `juju config aar key=value`
    fn set(&mut self, key: &str, value: &str) {
        self.model.config("aar", &[&format!("{key}={value}")]).unwrap();
    }

    /// `juju config aar -f FILE`
    fn set_file(&mut self, text: &str) {
        let file = self.people.path().join("config.yaml");
        fs::write(&file, text).unwrap();
        self.model.config_file("aar", &file).unwrap();
    }

    fn machine(&self) -> Arc<Machine> {
        self.model.machine(UNIT)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((self.model.network().address(10), self.port))
    }

    /// The unit's status, as `active: serving …`.
    fn status(&self) -> String {
        let status = self.model.unit_status(UNIT);
        format!("{}: {}", status.current, status.message)
    }

    /// The unit's status has all these words.
    #[track_caller]
    fn expect(&self, first: &str) {
        let status = self.status();
        assert!(status.starts_with(first), "{status:?} instead of {first:?}\n{}", self.story());
    }

    #[track_caller]
    fn expect_words(&self, first: &str, words: &[&str]) {
        self.expect(first);
        let status = self.status();
        for word in words {
            assert!(status.contains(word), "{word:?} is not in {status:?}\n{}", self.story());
        }
    }

    /// What has happened, to be shown where a test fails.
    fn story(&self) -> String {
        let log: Vec<_> =
            self.model.log().iter().map(|it| format!("{} {} {}", it.level, it.module, it.message)).collect();
        let begin = log.len().saturating_sub(60);
        let journal = self.machine().journal(None);
        let lines: Vec<_> = journal.lines().collect();
        let journal = &lines[lines.len().saturating_sub(30)..];
        format!("log:\n{}\njournal:\n{}", log[begin..].join("\n"), journal.join("\n"))
    }

    fn person(&self, name: &str) -> Person {
        Person::new(self.people.path(), name)
    }

    /// `juju relate`, with an application whose one unit brings a person's certificate.
    fn relate(&mut self, endpoint: &str, application: &str, person: &Person) -> u32 {
        let relation = self.model.relate_scripted(&format!("aar:{endpoint}"), application).unwrap();
        let data = [("certificate", person.pem()), ("mode", endpoint.to_owned())];
        let data = data.each_ref().map(|(key, value)| (*key, value.as_str()));
        self.model.remote_set(relation, &format!("{application}/0"), &data);
        relation
    }

    /// What the unit tells a relation.
    fn told(&self, relation: u32, key: &str) -> String {
        self.model.relation_data(relation, UNIT).get(key).cloned().unwrap_or_default()
    }

    fn request(&self, person: &Person, method: &str, path: &str, body: &[u8]) -> Response {
        Connection::tls(self.address(), Some(person)).request(method, path, &[], body)
    }

    /// Whether the registry knows somebody.
    fn knows(&self, person: &Person) -> bool {
        match self.request(person, "GET", "/1.0/applications", b"").status {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }

    #[track_caller]
    fn push(&self, person: &Person, application: &str, image: &[u8]) {
        let answer = Connection::tls(self.address(), Some(person)).push(&path(application), image, &[]);
        assert!(answer.status == 202, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// Pulls an image, from wherever the registry sends who asks for it.
    fn pull(&self, person: &Person, application: &str) -> Vec<u8> {
        let answer = self.request(person, "GET", &path(application), b"");
        match answer.status {
            200 => answer.body,
            307 => {
                let url = answer.header("location").unwrap();
                let output = Command::new("curl").args(["--silent", "--fail", url]).output().unwrap();
                assert!(output.status.success(), "{output:?}");
                output.stdout
            }
            other => panic!("{other}"),
        }
    }

    /// Nothing listens there.
    fn is_closed(&self, port: u16) -> bool {
        let address = SocketAddr::from((self.address().ip(), port));
        std::net::TcpStream::connect(address).is_err()
    }

    /// The daemon's process, and how often it was started before.
    fn daemon(&self) -> (String, String) {
        let machine = self.machine();
        (machine.property("aard", "MainPID"), machine.property("aard", "ActiveEnterTimestampMonotonic"))
    }

    /// A fixture filled in: the server of the tests, reached from the machine, below `prefix`.
    fn filled(&self, fixture: &str, server: &S3Server, prefix: &str) -> String {
        let target = server.endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let endpoint = format!("http://{}", self.model.network().offer(target));
        let more =
            format!("bucket: {}\n        endpoint: {endpoint}\n        prefix: {prefix}", server.bucket);
        fixture_text(fixture)
            .replace("eu-west-3", &server.region)
            .replace("bucket: aar0", &more)
            .replace("<your access key>", &server.access_key)
            .replace("<your secret access key>", &server.secret_access_key)
    }
}

fn fixture_text(name: &str) -> String {
    fs::read_to_string(Path::new(FIXTURES).join(name)).unwrap()
}

fn path(application: &str) -> String {
    format!("/1.0/applications/{application}/1?architecture=x86_64")
}

/// An image unlike all others.
fn image(size: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(size).collect()
}
