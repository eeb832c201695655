use super::step::{Plan, Step};
use crate::daemon;
use crate::event::Kind;
use crate::facts::{Facts, Juju, Machine};
use crate::status::Status;

/// Computes the plan.
pub fn plan(facts: &Facts) -> Plan {
    let mut planner = Planner { facts, steps: Vec::new(), found: Vec::new() };
    if matches!(facts.juju.event.kind, Kind::Stop | Kind::Remove) {
        planner.leave();
    } else {
        planner.stay();
    }
    let status = Status::worst(planner.found).unwrap_or_else(|| Status::Maintenance("starting".into()));
    Plan { steps: planner.steps, status }
}

/// A plan that is being made.
pub(super) struct Planner<'a> {
    pub(super) facts: &'a Facts,
    pub(super) steps: Vec<Step>,
    /// Everything that there is to say of the unit.
    pub(super) found: Vec<Status>,
}

impl<'a> Planner<'a> {
    pub(super) fn juju(&self) -> &'a Juju {
        &self.facts.juju
    }

    pub(super) fn machine(&self) -> &'a Machine {
        &self.facts.machine
    }

    pub(super) fn blocked(&mut self, text: impl Into<String>) {
        self.found.push(Status::Blocked(text.into()));
    }

    /// The unit goes; the data stays on the machine.
    fn leave(&mut self) {
        self.found.push(Status::Maintenance(format!("stopped; the data stays in {}", daemon::BASE_DIR)));
        self.other_failures();
        self.stop();
        let has_files = self.machine().notes.installed.is_some() || self.machine().notes.pending.is_some();
        if self.juju().event.kind == Kind::Remove && has_files && self.has_no_steps() {
            self.steps.push(Step::Uninstall);
        }
    }

    /// The unit is to serve.
    fn stay(&mut self) {
        self.other_failures();
        let mut remember = self.juju().memory.clone();
        let installed = self.program_files();
        let attached = self.pro(&mut remember);
        let rendered = self.rendered();
        let alone = self.is_alone(rendered.as_ref().ok());
        let is_placed = self.config(rendered.as_ref().ok());
        let in_place = self.data_place(rendered.as_ref().ok(), &mut remember);
        let serve = installed && attached && alone && in_place && is_placed;
        // The rest is about a machine on which all that comes before is done.
        if self.has_no_steps() {
            let is_up = self.service(serve);
            if self.has_no_steps() && installed {
                self.trust();
            }
            if self.has_no_steps() {
                self.announce(is_up, rendered.as_ref().ok(), &mut remember);
            }
        }
        if self.has_no_steps() && remember != self.juju().remembered {
            self.steps.push(Step::Remember(remember));
        }
    }

    pub(super) fn has_no_steps(&self) -> bool {
        self.steps.is_empty()
    }

    fn other_failures(&mut self) {
        for problem in &self.facts.run.other {
            self.found.push(Status::Blocked(problem.clone()));
        }
    }
}
