//! What Juju's agent runs for every event and action.

use std::process::ExitCode;

use aar_charm::actions;
use aar_charm::event::{Event, Kind};
use aar_charm::workload::Place;
use aar_charm::{pro, reconcile};

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dispatch: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> anyhow::Result<()> {
    let event = Event::read(&std::env::vars().collect())?;
    // A run that was killed may have left a secret.
    pro::forget()?;
    if let Kind::Action(name) = &event.kind {
        let name = name.clone();
        return Ok(actions::run(&name, event)?);
    }
    actions::finish_restore()?;
    Place::default().tidy()?;
    reconcile::reconcile(event)?;
    Ok(())
}
