use aar_model::Role;

use crate::command::CommandError;
use crate::cos;
use crate::event::Event;
use crate::memory::Memory;
use crate::options::Options;
use crate::relation::{self, Relation};
use crate::tools;

/// What Juju says. It does not change while a hook runs, but for what the hook itself changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Juju {
    /// What happened.
    pub event: Event,
    /// What operators want.
    pub options: Options,
    /// The application's units that stay, this one too.
    pub units: Vec<String>,
    /// What is remembered, once this hook has succeeded.
    pub memory: Memory,
    /// What was remembered when it began.
    pub remembered: Memory,
    /// The relations that bring certificates.
    pub relations: Vec<Relation>,
    /// The relations of observers, and what they are to be told, or why that is not known.
    pub observers: Vec<String>,
    /// What observers are told.
    pub observed: Result<Option<String>, String>,
}

impl Juju {
    /// Asks the agent. Each question costs it some 50 ms, so none is asked in vain.
    pub fn gather(event: Event) -> Result<Self, CommandError> {
        let (config, goal, state) = (tools::config()?, tools::goal_state()?, tools::state()?);
        let endpoints =
            [Role::Client, Role::Publisher].map(|role| (role, tools::relation_ids(role.as_str())));
        let options = Options::read(&config.answer()?);
        let goal = goal.answer()?;
        let memory = Memory::read(&state.answer()?.unwrap_or_default());
        let mut relations = Vec::new();
        for (role, ids) in endpoints {
            relations.extend(relations_of(role, &ids?.answer()?, &options)?);
        }
        // An observer is on the same machine, so that its relation is never one of another model.
        let observers = match goal.relations.get(OBSERVER) {
            Some(_) => tools::relation_ids(OBSERVER)?.answer()?,
            None => Vec::new(),
        };
        let observed = if observers.is_empty() { Ok(None) } else { cos::config(&event).map(Some) };
        let units = goal.units.into_iter().filter(|(_, goal)| goal.status != "dying").map(|(unit, _)| unit);
        Ok(Self {
            units: units.collect(),
            remembered: memory.clone(),
            event,
            options,
            memory,
            relations,
            observers,
            observed,
        })
    }
}

const OBSERVER: &str = "cos-agent";

fn relations_of(role: Role, ids: &[String], options: &Options) -> Result<Vec<Relation>, CommandError> {
    let mut found = Vec::new();
    // One address for all relations of an endpoint in this model.
    let mut local = None;
    for id in ids {
        let names = tools::relation_list(id)?;
        let address = if options.location.is_some() || names.is_empty() {
            String::new()
        } else if names[0].starts_with("remote-") {
            // Those of another model may have to come another way.
            tools::ingress_address(role.as_str(), Some(id))?
        } else {
            match &local {
                Some(address) => String::clone(address),
                None => local.insert(tools::ingress_address(role.as_str(), None)?).clone(),
            }
        };
        let mut units = Vec::new();
        for name in names {
            let told = relation::read(&tools::relation_get(id, &name)?, role);
            units.push((name, told));
        }
        found.push(Relation { id: id.clone(), role, address, units });
    }
    Ok(found)
}
