//! What all servers have in common: a process, a port, a way to ask whether they are ready.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{keys::Keys, load::Target, process::Process};

const READY_LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_micros(200);

/// A server's process and port.
pub(crate) struct Daemon {
    /// How it is reached.
    pub(crate) target: Target,
    /// Its port on loopback.
    pub(crate) port: u16,
    log: PathBuf,
    process: Option<Process>,
}

impl Daemon {
    /// A daemon on a port that is free now, which prints to a file in `dir`; not started.
    pub(crate) fn new(dir: &Path, keys: &Keys) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Ok(Self { target: Target::new(port, keys)?, port, log: dir.join("output.log"), process: None })
    }

    /// Starts it; returns how long it took from exec until `path` was answered 200.
    pub(crate) async fn start(&mut self, command: &mut Command, path: &str) -> Result<Duration> {
        let start = Instant::now();
        let process = self.process.insert(Process::start(command, &self.log)?);
        while !self.target.answers(path).await {
            process.check().with_context(|| format!("{} is not ready", command.get_program().display()))?;
            if start.elapsed() > READY_LIMIT {
                bail!("{} is not ready after {READY_LIMIT:?}", command.get_program().display());
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(start.elapsed())
    }

    /// Its process, while it runs.
    pub(crate) fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the server is not running")
    }

    /// Stops it, if it runs.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// The URL of `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }
}
