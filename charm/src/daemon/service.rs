//! The service, by systemd's commands.

use std::path::Path;
use std::time::{Duration, Instant};

use aar_model::Digest;
use serde::{Deserialize, Serialize};

use super::registry::{Answer, status};
use crate::command::{CommandError, Question, Ran, run};
use crate::files::FileError;
use crate::status::{chain, one_line};
use crate::workload::{STATE, note, write_note};

const UNIT: &str = "aard.service";
/// What `systemctl enable` makes.
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/aard.service";

/// How long a reload may take.
const RELOAD: Duration = Duration::from_secs(10);

/// The service, as systemd sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// `active`, `inactive`, `failed`, `activating` and so on.
    pub active: String,
    /// `enabled`, `disabled`, or empty where there is no such unit.
    pub enabled: String,
}

impl Service {
    /// That whose daemon answers, for which nobody need be asked: a daemon that answers is up.
    pub fn that_answers() -> Self {
        let enabled = if Path::new(ENABLED).is_symlink() { "enabled" } else { "disabled" };
        Self { active: "active".into(), enabled: enabled.into() }
    }

    /// What systemd says.
    pub fn ask() -> Result<Self, CommandError> {
        let arguments = ["show", UNIT, "--property=ActiveState,SubState,UnitFileState"];
        let text = run("systemctl", &arguments, &[], None)?.ok()?.stdout();
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
                .to_owned()
        };
        // Between two tries, nothing runs; systemd tries again by itself, but later than it is needed.
        let active = if value("SubState") == "auto-restart" { "failed".into() } else { value("ActiveState") };
        Ok(Self { active, enabled: value("UnitFileState") })
    }

    /// Whether the daemon runs, ready or nearly so.
    pub fn is_up(&self) -> bool {
        matches!(self.active.as_str(), "active" | "activating" | "reloading")
    }
}

/// What the service was last started or reloaded with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    /// The program files.
    pub workload: Option<Digest>,
    /// The daemon's file.
    pub config: Option<Digest>,
    /// Its part that needs a restart.
    pub restarting: Option<Digest>,
    /// What is around the service.
    pub settings: Option<Digest>,
    /// A daemon's file with which the daemon did not become ready, and why.
    pub refused: Option<(Digest, String)>,
}

impl Applied {
    const PATH: &str = "daemon.json";

    /// What was noted.
    pub fn load() -> Result<Self, FileError> {
        note(&Path::new(STATE).join(Self::PATH))
    }

    /// Notes it.
    pub fn store(&self) -> Result<(), FileError> {
        write_note(&Path::new(STATE).join(Self::PATH), self)
    }
}

/// Lets systemd read its units again.
pub fn reload_units() -> Result<(), CommandError> {
    systemctl(&["daemon-reload"])
}

/// Starts the daemon, now and whenever the machine boots.
///
/// # Errors
/// What the daemon said last.
pub fn start() -> Result<(), String> {
    systemctl(&["enable", UNIT]).map_err(|error| chain(&error))?;
    restart()
}

/// Restarts the daemon, or starts it, also where systemd has given it up or waits to try again.
///
/// # Errors
/// What the daemon said last.
pub fn restart() -> Result<(), String> {
    // A run that was killed may have changed the unit without telling systemd.
    reload_units().map_err(|error| chain(&error))?;
    // Fails where there is nothing to be forgotten.
    let _ = systemctl(&["reset-failed", UNIT]);
    systemctl(&["restart", UNIT]).map_err(|error| last_words(&error))
}

/// Lets the daemon read its file again, and waits until it listens on `address`.
///
/// # Errors
/// What the daemon said last, where it does not.
pub fn reload(address: &str) -> Result<(), String> {
    systemctl(&["reload", UNIT]).map_err(|error| last_words(&error))?;
    let begun = Instant::now();
    loop {
        match status().and_then(Question::answer) {
            Ok(Answer { summary, .. }) if summary.address == address => return Ok(()),
            Err(error) if begun.elapsed() > RELOAD => return Err(last_words(&error)),
            Ok(Answer { summary, .. }) if begun.elapsed() > RELOAD => {
                return Err(format!(
                    "it still listens on {}: {}",
                    summary.address,
                    journal().unwrap_or_default()
                ));
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Stops the daemon, which ends what runs, and does not start it at boot any more.
pub fn stop() -> Result<(), CommandError> {
    systemctl(&["disable", "--now", UNIT])
}

fn systemctl(arguments: &[&str]) -> Result<(), CommandError> {
    run("systemctl", arguments, &[], None)?.ok().map(drop)
}

/// What the daemon said last, or else what systemd says.
fn last_words(error: &CommandError) -> String {
    journal().unwrap_or_else(|| chain(error))
}

fn journal() -> Option<String> {
    let arguments = ["--unit", UNIT, "--lines", "20", "--output", "cat", "--no-pager"];
    let text = run("journalctl", &arguments, &[], None).and_then(Ran::ok).ok()?.stdout();
    // The daemon's last line is why it ended; a line of systemd may follow it.
    let own = |line: &&str| line.starts_with("aard: ") || line.contains("ERROR");
    let line =
        text.lines().rev().find(own).or_else(|| text.lines().rev().find(|line| !line.trim().is_empty()))?;
    let words = line.split_once(" ERROR ").map_or(line, |(_, words)| words);
    Some(one_line(words.trim_start_matches("aard: ")))
}
