//! What has to be there before the registry may serve.

use aar_model::Digest;

use super::planner::Planner;
use super::step::Step;
use crate::daemon::{self, Kept, Rendered, Surroundings};
use crate::event::Kind;
use crate::memory::{Attached, DataPlace, Memory};
use crate::options::is_host;
use crate::status::Status;

impl Planner<'_> {
    /// Plans the program files; answers whether there are any that can run.
    pub(super) fn program_files(&mut self) -> bool {
        let machine = self.machine();
        let (notes, run) = (&machine.notes, &self.facts.run);
        if let Some(problem) = &machine.resource_problem {
            self.blocked(format!(
                "the resource aar cannot be used, attach another one (juju attach-resource aar aar=aar.tar.gz): {problem}"
            ));
        }
        if let Some(problem) = &run.install {
            if notes.pending.is_some() && machine.can_go_back {
                self.steps.push(Step::RollBack(problem.clone()));
            }
            self.blocked(format!("the registry cannot be installed: {problem}"));
            return notes.installed.is_some();
        }
        if let Some(source) = &machine.source {
            let version = &source.version;
            let is_asked_again = self.juju().event.kind == Kind::UpgradeCharm && run.service.is_none();
            let is_refused = notes.refused.as_ref().is_some_and(|(content, _)| *content == version.content);
            match (&notes.installed, &notes.pending) {
                // Put in place again, as a run may have been killed half-way.
                (_, Some(_)) if !run.installed => self.steps.push(Step::Install),
                (_, Some(_)) => {}
                (Some(installed), None) if installed.content == version.content => {
                    if installed.look != version.look {
                        self.steps.push(Step::NoteLook);
                    }
                }
                (_, None) if is_refused && (run.installed || !is_asked_again) => {}
                (_, None) => self.steps.push(Step::Install),
            }
        } else if notes.pending.is_some() && machine.can_go_back && !run.installed {
            self.steps.push(Step::RollBack("its files are gone".to_owned()));
        } else if notes.installed.is_none() && machine.resource_problem.is_none() {
            self.blocked(
                "this charm carries no registry, and no resource is attached: juju attach-resource aar aar=aar.tar.gz",
            );
        }
        if let Some((_, reason)) = &notes.refused
            && notes.pending.is_none()
        {
            self.blocked(format!(
                "the new version did not become ready, the one before goes on until the charm is refreshed again: {reason}"
            ));
        }
        let there = notes.installed.is_some() || notes.pending.is_some();
        if there && self.has_no_steps() && !machine.base_is_owned {
            self.steps.push(Step::Prepare);
        }
        there
    }

    /// Plans the attachment to Ubuntu Pro; answers whether the machine is attached.
    pub(super) fn pro(&mut self, remember: &mut Memory) -> bool {
        let options = &self.juju().options;
        let hash = options.ua_token.as_ref().map(|token| Digest::of(token.expose().as_bytes()));
        let now = match hash {
            Some(hash) => Attached::With(hash),
            None => self.juju().memory.attached.unwrap_or(Attached::Otherwise),
        };
        if let Some(reason) = &self.facts.run.attach {
            self.blocked(format!(
                "Ubuntu Pro refuses the token, set another one (juju config aar ua_token=<token>): {reason}"
            ));
            if self.machine().attached == Ok(false) {
                remember.attached = None;
            }
            return self.machine().attached == Ok(true);
        }
        match (&self.machine().attached, &options.ua_token) {
            (Err(reason), _) => {
                self.blocked(format!(
                    "it cannot be told whether the machine is attached to Ubuntu Pro: {reason}"
                ));
                // One that was, most probably still is.
                self.juju().memory.attached.is_some()
            }
            (Ok(true), Some(token)) => {
                match self.juju().memory.attached {
                    Some(before @ Attached::With(_)) if before != now => {
                        self.steps.push(Step::Attach { token: token.clone(), again: true });
                    }
                    _ => remember.attached = Some(now),
                }
                true
            }
            (Ok(true), None) => {
                remember.attached = Some(now);
                true
            }
            (Ok(false), Some(token)) => {
                self.steps.push(Step::Attach { token: token.clone(), again: false });
                false
            }
            (Ok(false), None) => {
                remember.attached = None;
                self.blocked("set ua_token: juju config aar ua_token=<token>");
                false
            }
        }
    }

    /// Whether this unit may serve beside the others.
    pub(super) fn is_alone(&mut self, rendered: Option<&Rendered>) -> bool {
        let running = || self.machine().config.as_ref().map(|text| daemon::read(text.expose()).storage);
        let on_bucket =
            rendered.map(|rendered| rendered.storage.clone()).or_else(running) == Some(Kept::Bucket);
        let number = |unit: &str| unit.rsplit('/').next().and_then(|number| number.parse::<u64>().ok());
        let own = &self.juju().event.unit;
        let is_first = self.juju().units.iter().all(|unit| number(unit) >= number(own));
        if is_first || on_bucket {
            return true;
        }
        self.blocked(format!(
            "storage fs is for a single unit: juju remove-unit {own}, or let storage_config name a bucket for all units"
        ));
        false
    }

    /// The daemon's file as the options want it.
    pub(super) fn rendered(&mut self) -> Result<Rendered, String> {
        let juju = self.juju();
        let around = Surroundings {
            interfaces: self.machine().interfaces.clone(),
            metrics: !juju.observers.is_empty(),
        };
        let rendered = daemon::render(&juju.options, &around);
        if let Err(problem) = &rendered {
            self.blocked(problem.clone());
        }
        if let Some(location) = juju.options.location.as_ref().filter(|location| !is_host(location)) {
            self.blocked(format!(
                "location is an IP address or a DNS name, not `{location}`: juju config aar location="
            ));
        }
        if let Err(problem) = &juju.observed {
            self.blocked(format!("the observer cannot be told about the registry: {problem}"));
        }
        rendered
    }

    /// Plans the daemon's file; answers whether there is one to run with.
    pub(super) fn config(&mut self, rendered: Option<&Rendered>) -> bool {
        let (machine, run) = (self.machine(), &self.facts.run);
        let there = machine.config.is_some();
        let Some(rendered) = rendered else { return there };
        if machine.config.as_ref() == Some(&rendered.text) {
            return true;
        }
        let hash = Digest::of(rendered.text.expose().as_bytes());
        let retries =
            matches!(self.juju().event.kind, Kind::ConfigChanged | Kind::Start | Kind::UpgradeCharm);
        let refused = [run.config.as_ref(), machine.applied.refused.as_ref().filter(|_| !retries)];
        if let Some((_, reason)) = refused.into_iter().flatten().find(|(other, _)| *other == hash) {
            self.blocked(if there {
                format!(
                    "the registry goes on with the configuration before, as it cannot use this one: {reason}"
                )
            } else {
                reason.clone()
            });
            return there;
        }
        if machine.base_is_owned {
            self.steps.push(Step::Render(rendered.text.clone()));
        }
        there
    }

    /// Whether images are where they were. Juju's storage lies over what the machine's disk has in the same place.
    pub(super) fn data_place(&mut self, rendered: Option<&Rendered>, remember: &mut Memory) -> bool {
        if rendered.is_some_and(|rendered| rendered.storage != Kept::Data) {
            return true;
        }
        if self.juju().event.kind == Kind::DataDetaching {
            self.found.push(Status::Waiting("for the storage data to be detached".into()));
            return false;
        }
        let now = if self.machine().data_is_mounted { DataPlace::Storage } else { DataPlace::Disk };
        let unit = &self.juju().event.unit;
        let problem = match (self.juju().memory.data, now) {
            (Some(DataPlace::Disk), DataPlace::Storage) => {
                "the storage data lies over the images that are on the machine's disk: juju detach-storage data/<number>"
                    .to_owned()
            }
            (Some(DataPlace::Storage), DataPlace::Disk) => {
                format!("the storage data with the images is gone: juju attach-storage {unit} data/<number>")
            }
            _ => {
                if self.machine().summary.as_ref().is_some_and(Result::is_ok) {
                    remember.data = Some(now);
                }
                return true;
            }
        };
        self.blocked(problem);
        false
    }
}
