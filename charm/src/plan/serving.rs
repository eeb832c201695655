//! The service itself.

use std::fmt;

use aar_config::Secret;
use aar_model::Digest;

use super::planner::Planner;
use super::step::Step;
use crate::daemon::{self, Summary};
use crate::status::Status;

impl Planner<'_> {
    /// Plans the service; answers whether it serves.
    pub(super) fn service(&mut self, serve: bool) -> bool {
        let machine = self.machine();
        if !serve {
            self.stop();
            if self.has_no_steps() && machine.notes.pending.is_some() {
                // It cannot be tried.
                self.steps.push(Step::Accept);
            }
            return false;
        }
        if let Some(reason) = &self.facts.run.service {
            if machine.notes.pending.is_some() && machine.can_go_back {
                self.steps.push(Step::RollBack(reason.clone()));
            } else if machine.has_previous_config {
                self.steps.push(Step::RestoreConfig(reason.clone()));
            } else {
                let what = if machine.service.is_up() { "does not reload" } else { "does not start" };
                self.blocked(format!(
                    "the registry {what} (see `journalctl -u aard` on the machine): {reason}"
                ));
            }
            return machine.service.is_up();
        }
        let config = machine.config.as_ref().map(Secret::expose).unwrap_or_default();
        let running = daemon::read(config);
        let settings = daemon::settings(&self.juju().event.proxies, &running.storage);
        let hash = settings.hash();
        if machine.settings != settings {
            self.steps.push(Step::Settle(settings));
            return false;
        }
        let applied = &machine.applied;
        let files = machine.notes.pending.as_ref().or(machine.notes.installed.as_ref());
        let files = files.map(|version| version.content).filter(|_| self.facts.run.install.is_none());
        let needs_restart = files.is_some_and(|files| applied.workload != Some(files))
            || applied.restarting != Some(daemon::restarting_part(config))
            || applied.settings != Some(hash);
        let (is_up, was_started) = (machine.service.is_up(), self.facts.run.started);
        if !is_up && was_started {
            self.blocked(
                "the registry ended right after it was started: see `journalctl -u aard` on the machine",
            );
        } else if !is_up || (machine.service.enabled == "disabled" && !was_started) {
            self.steps.push(Step::Start);
        } else if needs_restart {
            self.steps.push(Step::Restart);
        } else if applied.config != Some(Digest::of(config.as_bytes())) {
            self.steps.push(Step::Reload(running.address));
        } else if machine.notes.pending.is_some() {
            self.steps.push(Step::Accept);
        }
        match &machine.summary {
            Some(Ok(summary)) => {
                let status = served(summary, &self.juju().event.unit);
                self.found.push(status);
                true
            }
            Some(Err(problem)) => {
                self.blocked(format!("the registry does not answer: {problem}"));
                false
            }
            None => false,
        }
    }

    pub(super) fn stop(&mut self) {
        let service = &self.machine().service;
        if service.is_up() || service.enabled == "enabled" {
            self.steps.push(Step::Stop);
        }
    }
}

fn served(summary: &Summary, unit: &str) -> Status {
    if summary.state == "ready" {
        let plural = if summary.applications == 1 { "" } else { "s" };
        Status::Active(format!(
            "serving {} application{plural}, {} on {}",
            summary.applications,
            Size(summary.bytes),
            summary.storage
        ))
    } else {
        Status::Blocked(format!(
            "{} cannot be used, only what was known is served; to see why: juju run {unit} check-storage",
            summary.storage
        ))
    }
}

/// Bytes for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        #[allow(clippy::cast_precision_loss)] // three digits are shown
        let mut size = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // What would be rounded to 1024 is one of the next.
        while size >= 1023.5 && unit + 1 < UNITS.len() {
            (size, unit) = (size / 1024.0, unit + 1);
        }
        if size < 9.95 {
            write!(f, "{size:.1} {}", UNITS[unit])
        } else {
            write!(f, "{size:.0} {}", UNITS[unit])
        }
    }
}
