//! From facts to plan to effects, until nothing is left to do.

use crate::command::CommandError;
use crate::effects::carry_out;
use crate::event::{Event, Kind};
use crate::facts::{Asked, Facts, Juju, Machine, Run};
use crate::plan::{Step, plan};
use crate::status::{Status, chain};
use crate::tools;

/// More plans than any event takes. One that never ends would be a bug, which an operator has to see.
const MOST_PLANS: usize = 40;

/// The event was not dealt with.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// One of Juju's tools failed.
    #[error(transparent)]
    Tool(#[from] CommandError),
    /// The plans do not come to an end.
    #[error("there is still something to do after {MOST_PLANS} plans, which is a mistake in the charm")]
    Endless,
}

/// Brings the unit to where Juju wants it; answers what its status is then.
///
/// # Errors
/// Where the agent does not answer, or the charm is wrong. What fails on the machine is told in the unit's status.
pub fn reconcile(event: Event) -> Result<Status, ReconcileError> {
    let is_action = matches!(event.kind, Kind::Action(_));
    let run = Run::default();
    // Both sides take long to answer: the machine does so while Juju is asked.
    let asked = Asked::of_the_machine(&event, &run);
    let juju = Juju::gather(event)?;
    let machine = match asked.and_then(|asked| Machine::gather(&juju, asked, None)) {
        Ok(machine) => machine,
        Err(error) => return tell(Status::Blocked(chain(&error))),
    };
    let mut facts = Facts { juju, machine, run };
    for _ in 0..MOST_PLANS {
        let plan = plan(&facts);
        if !is_action {
            // The agent logs it at debug level. Of an action, it would be part of the results.
            print!("{plan}");
        }
        // Where the machine fails, the next event tries again.
        if plan.steps.is_empty() || !facts.run.other.is_empty() {
            return tell(plan.status);
        }
        for step in &plan.steps {
            if !carry_out(step, &mut facts)? {
                break;
            }
        }
        if plan.steps.iter().any(Step::touches_machine) {
            let asked = Asked::of_the_machine(&facts.juju.event, &facts.run);
            let seen = asked.and_then(|asked| Machine::gather(&facts.juju, asked, Some(&facts.machine)));
            facts.machine = match seen {
                Ok(machine) => machine,
                Err(error) => return tell(Status::Blocked(chain(&error))),
            };
        }
    }
    Err(ReconcileError::Endless)
}

fn tell(status: Status) -> Result<Status, ReconcileError> {
    tools::status_set(&status)?;
    Ok(status)
}
