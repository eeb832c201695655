//! The daemon as a process of its own.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use aar_model::Fingerprint;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Person;
use crate::https::{Connection, Response};
use crate::s3::{Client, S3Server};

/// How long the daemon may take to become ready or to end; far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where cargo puts programs of the kind of this one, debug or release.
pub(crate) fn program_directory() -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir
}

/// A program of the workspace, built beside the test that runs.
pub fn binary(name: &str) -> PathBuf {
    let path = program_directory().join(name);
    assert!(path.exists(), "`{}` is missing: build it with `cargo build --workspace --bins`", path.display());
    path
}

/// A running daemon with a base directory of its own; killed and removed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Option<Child>,
    dir: TempDir,
    storage_root: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// The bucket, and the prefix within it.
    bucket: Option<(Client, String)>,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

/// How a daemon is to be.
#[derive(Debug, Default)]
pub struct DaemonBuilder {
    storage_root: Option<PathBuf>,
    level: Option<&'static str>,
    more: String,
    environment: Vec<(&'static str, String)>,
    bucket: Option<(Client, String)>,
}

impl DaemonBuilder {
    /// Where images and records lie; in the base directory where this is left out.
    #[must_use]
    pub fn storage_root(mut self, root: &Path) -> Self {
        self.storage_root = Some(root.into());
        self
    }

    /// The log level instead of `debug`.
    #[must_use]
    pub fn log_level(mut self, level: &'static str) -> Self {
        self.level = Some(level);
        self
    }

    /// Images and records are in a server's bucket below `prefix`, and the daemon reaches it at `endpoint`. Further keys of
    /// `s3:` may follow.
    #[must_use]
    pub fn bucket(mut self, server: &S3Server, endpoint: &str, prefix: &str) -> Self {
        self.bucket = Some((server.client(), prefix.into()));
        self.configuration(&server.configuration(endpoint, prefix))
    }

    /// More lines of the configuration.
    #[must_use]
    pub fn configuration(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The environment that the daemon's unit gives it.
    #[must_use]
    pub fn environment_of_unit(mut self) -> Self {
        self.environment.extend(unit_environment().map(|(name, value)| (name, value.into())));
        self
    }

    /// Writes the configuration and starts the daemon.
    pub fn start(self) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        fs::create_dir(&base).unwrap();
        let mut config = format!(
            "http:\n  addr: 127.0.0.1:0\nlog:\n  level: {}\n  format: json\n{}",
            self.level.unwrap_or("debug"),
            self.more
        );
        if let Some(root) = &self.storage_root {
            writeln!(config, "storage:\n  fs:\n    root-directory: {}", root.display()).unwrap();
        }
        fs::write(base.join("config.yaml"), config).unwrap();
        let mut daemon = Daemon {
            child: None,
            dir,
            storage_root: self.storage_root.unwrap_or_else(|| base.join("data")),
            environment: self.environment,
            bucket: self.bucket,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            fingerprint: Fingerprint::of(b""),
        };
        daemon.start();
        daemon
    }
}

impl Daemon {
    /// Starts a daemon on local disk on a free port of loopback.
    pub fn spawn() -> Self {
        Self::builder().start()
    }

    /// A daemon that is special.
    pub fn builder() -> DaemonBuilder {
        DaemonBuilder::default()
    }

    /// Starts the daemon again after it has ended; it may have another port then.
    pub fn start(&mut self) {
        self.launch();
        let ready = self.wait_for_log("ready");
        self.address = ready["address"].as_str().unwrap().parse().unwrap();
        self.fingerprint = ready["fingerprint"].as_str().unwrap().parse().unwrap();
    }

    /// Starts the daemon and does not wait until it is ready.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "the daemon runs");
        let log = File::create(self.log_file()).unwrap();
        let child = Command::new(binary("aard"))
            .arg("--base-dir")
            .arg(self.base())
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Waits for a log entry with this message.
    ///
    /// # Panics
    /// The daemon ends, or is not heard of for a minute.
    pub fn wait_for_log(&mut self, message: &str) -> Value {
        let begun = Instant::now();
        loop {
            if let Some(entry) = self.log().into_iter().rev().find(|entry| entry["message"] == message) {
                return entry;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "no log entry `{message}`, the daemon ended with {ended:?}; its log:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        child.kill().unwrap();
        assert_eq!(
            child.wait().unwrap().signal(),
            Some(9),
            "the daemon ended by itself:\n{}",
            self.log_text()
        );
    }

    /// SIGTERM; waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the daemon does not end:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap(), signal).unwrap();
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// The base directory.
    pub fn base(&self) -> PathBuf {
        self.dir.path().join("base")
    }

    /// The socket for administration.
    pub fn socket(&self) -> PathBuf {
        self.base().join("run/aar.sock")
    }

    /// A directory for a test's own files; it goes with the daemon.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The URL that it is reached under.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// The log since the last start.
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The log's entries since the last start. What is no JSON, such as a panic's message, is an entry with that message.
    pub fn log(&self) -> Vec<Value> {
        let text = self.log_text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let entry = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|_| serde_json::json!({ "message": line }))
        };
        complete.lines().map(entry).collect()
    }

    /// Runs `aar` for this daemon's base directory.
    pub fn aar(&self, arguments: &[&str]) -> Output {
        self.aar_command().args(arguments).output().unwrap()
    }

    fn aar_command(&self) -> Command {
        let mut command = Command::new(binary("aar"));
        command
            .env("AAR_BASE_DIR", self.base())
            .env("XDG_CONFIG_HOME", self.scratch().join("no-config"))
            .env("XDG_STATE_HOME", self.scratch().join("state"))
            .stdin(Stdio::null());
        command
    }

    /// Runs `aar application` over the network as somebody.
    pub fn aar_as(&self, person: &Person, arguments: &[&str]) -> Output {
        self.aar_at(self.address, person).args(arguments).output().unwrap()
    }

    /// `aar application` over the network as somebody, who takes the registry to be at an address.
    pub fn aar_at(&self, address: SocketAddr, person: &Person) -> Command {
        let mut command = self.aar_command();
        command
            .args(["application", "--registry", &format!("https://{address}")])
            .args(["--fingerprint", &self.fingerprint.to_string(), "--cert"])
            .arg(&person.certificate_file)
            .arg("--key")
            .arg(&person.key_file);
        command
    }

    /// Somebody new whom the registry trusts as a client.
    pub fn client(&self, name: &str) -> Person {
        let person = Person::new(self.scratch(), name);
        self.trust(&person, "client");
        person
    }

    /// Somebody new whom the registry trusts as a publisher.
    pub fn publisher(&self, name: &str) -> Person {
        let person = Person::new(self.scratch(), name);
        self.trust(&person, "publisher");
        person
    }

    /// Trusts somebody.
    pub fn trust(&self, person: &Person, role: &str) {
        let body = serde_json::json!({ "certificate": person.pem(), "role": role });
        let answer = self.admin("POST", "/1.0/certificates", body.to_string().as_bytes());
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }

    /// A request on the Unix socket.
    pub fn admin(&self, method: &str, path: &str, body: &[u8]) -> Response {
        Connection::unix(&self.socket()).request(method, path, &[], body)
    }

    /// A connection as somebody, or as nobody.
    pub fn connect(&self, person: Option<&Person>) -> Connection {
        Connection::tls(self.address, person)
    }

    /// One request on a connection of its own.
    pub fn request(&self, person: &Person, method: &str, path: &str, body: &[u8]) -> Response {
        self.connect(Some(person)).request(method, path, &[], body)
    }

    /// Pushes an image.
    pub fn push(&self, person: &Person, path: &str, image: &[u8]) -> Response {
        self.connect(Some(person)).push(path, image, &[])
    }

    /// Files or objects of the storage, as paths below its root or prefix.
    pub fn stored_files(&self) -> Vec<String> {
        if let Some((client, prefix)) = &self.bucket {
            let keys = client.list(prefix);
            return keys.iter().map(|key| key.strip_prefix(prefix).unwrap().to_owned()).collect();
        }
        let root = &self.storage_root;
        let mut files = Vec::new();
        let mut dirs = vec![root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        files.retain(|file| file != ".lock");
        files.sort();
        files
    }

    /// A number of `/proc/<pid>/status`, such as `VmRSS` in KiB.
    pub fn status(&self, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log_text();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!("the daemon's log ends:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// The environment that the daemon's unit gives it.
pub fn unit_environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    const UNIT: &str = include_str!("../../packaging/systemd/aard.service");
    let lines = UNIT.lines().filter_map(|line| line.strip_prefix("Environment="));
    lines.flat_map(str::split_whitespace).filter_map(|variable| variable.split_once('='))
}
