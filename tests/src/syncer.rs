//! `aar sync` as a test's program, which runs or not.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{Daemon, Person, binary};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `aar sync` of a directory with a registry; it ends when dropped.
pub struct Syncer {
    /// What it is called with.
    pub arguments: Vec<String>,
    /// Its directory, below the daemon's scratch and with the person's name. It makes it itself.
    pub dir: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Syncer {
    /// One that does not run yet.
    pub fn new(daemon: &Daemon, person: &Person, address: SocketAddr, more: &[&str]) -> Self {
        let name = person.certificate_file.file_stem().unwrap().to_str().unwrap();
        let dir = daemon.scratch().join(format!("{name}-dir"));
        let mut arguments = vec![
            "sync".to_owned(),
            dir.display().to_string(),
            "--registry".to_owned(),
            format!("https://{address}"),
            "--fingerprint".to_owned(),
            daemon.fingerprint().to_string(),
            "--cert".to_owned(),
            person.certificate_file.display().to_string(),
            "--key".to_owned(),
            person.key_file.display().to_string(),
        ];
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Self { arguments, dir, log: daemon.scratch().join(format!("{name}-log")), child: None }
    }

    /// The command that is run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("aar"));
        command.args(&self.arguments).stdin(Stdio::null()).env("XDG_CONFIG_HOME", "/nowhere");
        command
    }

    /// Lets it run until it is killed.
    pub fn start(&mut self) {
        assert!(self.child.is_none());
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        self.child = Some(self.command().stderr(log).stdout(Stdio::null()).spawn().unwrap());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs it with `--once`, and more, to its end.
    pub fn once(&self, more: &[&str]) -> Output {
        self.command().arg("--once").args(more).output().unwrap()
    }

    /// Runs it with `--once`, which has to succeed.
    pub fn in_step(&self) {
        let output = self.once(&[]);
        assert!(output.status.success(), "{output:?}");
    }

    /// What it has logged since it was started first.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until something holds.
    pub fn eventually(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "{what}: never\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}
