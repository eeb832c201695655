//! What the controller and the agents know: applications, units, relations, actions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::JujuVersion;
use super::actions::Action;
use super::charm::Charm;
use super::context::{Context, Hook, Run};
use super::ports::PortRange;
use super::relations::{Bag, Data, Member, Relation, Told, application};
use crate::machine::Machine;

/// Everything behind one lock.
pub(super) struct State {
    pub(super) version: JujuVersion,
    pub(super) uuid: String,
    pub(super) applications: BTreeMap<String, Application>,
    pub(super) units: BTreeMap<String, Unit>,
    pub(super) relations: BTreeMap<u32, Relation>,
    pub(super) next_relation: u32,
    pub(super) actions: BTreeMap<u32, Action>,
    pub(super) next_action: u32,
    pub(super) next_machine: u32,
    pub(super) next_storage: u32,
    /// Options of the model, such as `juju-http-proxy`.
    pub(super) model: BTreeMap<String, String>,
    pub(super) log: Vec<LogLine>,
    pub(super) under: Under,
}

/// What program, with arguments, a hook is run by; none where it is run as it is.
pub(super) type Under = Arc<dyn Fn(&str) -> Vec<String> + Send + Sync>;

/// A line of the model's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// TRACE, DEBUG, INFO, WARNING or ERROR.
    pub level: String,
    /// Where it comes from, such as `unit.aar/0.install`.
    pub module: String,
    /// What it says.
    pub message: String,
}

pub(super) struct Application {
    /// None where a test speaks for it.
    pub(super) charm: Option<Arc<Charm>>,
    /// Grows with every refresh and attached resource.
    pub(super) charm_version: u32,
    pub(super) force_upgrade: bool,
    pub(super) settings: Map<String, Value>,
    pub(super) trust: bool,
    pub(super) resources: BTreeMap<String, PathBuf>,
    pub(super) storage: BTreeSet<String>,
    pub(super) leader: Option<String>,
    pub(super) leader_settings: Data,
    pub(super) next_unit: u32,
    pub(super) status: Option<Status>,
    pub(super) version: String,
    pub(super) dying: bool,
}

/// A status as `juju status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `active`, `blocked`, `waiting`, `maintenance`, `unknown`, `terminated`, or `error`.
    pub current: String,
    /// The text beside it.
    pub message: String,
    /// More about an error: hook, relation-id, remote-unit.
    pub data: BTreeMap<String, String>,
}

impl Status {
    pub(super) fn new(current: &str, message: &str) -> Self {
        Self { current: current.into(), message: message.into(), data: BTreeMap::new() }
    }
}

pub(super) struct Unit {
    pub(super) machine: u32,
    /// The root of the machine's files, as a path of this machine.
    pub(super) root: PathBuf,
    /// The machine where it is one of its own.
    pub(super) booted: Option<Arc<Machine>>,
    pub(super) address: String,
    /// By binding: address to bind to, address that others reach it at.
    pub(super) networks: BTreeMap<String, (String, String)>,
    pub(super) workload: Status,
    /// Whether the charm has set a status itself.
    pub(super) spoke: bool,
    /// By endpoint; "" stands for all.
    pub(super) ports: BTreeMap<String, BTreeSet<PortRange>>,
    pub(super) state: BTreeMap<String, String>,
    pub(super) storage: BTreeMap<String, Storage>,
    pub(super) charm: Arc<Charm>,
    pub(super) charm_version: u32,
    pub(super) dying: bool,
    pub(super) agent: Agent,
    pub(super) context: Option<Context>,
    pub(super) runs: Vec<Run>,
}

pub(super) struct Storage {
    pub(super) location: PathBuf,
    pub(super) attached: bool,
}

/// What the agent of a unit remembers.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a thing done or not")]
pub(super) struct Agent {
    pub(super) installed: bool,
    pub(super) started: bool,
    pub(super) stopped: bool,
    pub(super) dead: bool,
    pub(super) rebooted: bool,
    pub(super) update_status: bool,
    pub(super) leader: Option<bool>,
    pub(super) config_seen: Option<String>,
    pub(super) pending: Option<Pending>,
    pub(super) resolved: Option<Resolved>,
    pub(super) relations: BTreeMap<u32, Told>,
    pub(super) actions: VecDeque<u32>,
}

/// A hook that comes before anything else.
pub(super) struct Pending {
    pub(super) hook: Hook,
    /// It has failed, and waits to be retried.
    pub(super) failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolved {
    Retry,
    Skip,
}

impl Unit {
    pub(super) fn agent_directory(&self, unit: &str) -> PathBuf {
        agent_directory(&self.root, unit)
    }

    /// A path below the root, as the charm knows it.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        match &self.booted {
            Some(_) => Path::new("/").join(path.strip_prefix(&self.root).unwrap()),
            None => path.to_owned(),
        }
    }

    /// The address that others reach a binding at.
    pub(super) fn ingress(&self, binding: &str) -> &str {
        self.networks.get(binding).map_or(&self.address, |(_, ingress)| ingress)
    }

    pub(super) fn bind(&self, binding: &str) -> &str {
        self.networks.get(binding).map_or(&self.address, |(bind, _)| bind)
    }

    pub(super) fn status(&self) -> Status {
        match &self.agent.pending {
            Some(Pending { failed: true, .. }) => self.error(),
            _ => self.workload.clone(),
        }
    }

    fn error(&self) -> Status {
        let Some(run) = self.runs.iter().rfind(|run| !run.environment.contains_key("JUJU_ACTION_NAME"))
        else {
            return Status::new("error", "");
        };
        let mut status = Status::new("error", &format!("hook failed: {:?}", run.name));
        status.data.insert("hook".into(), run.name.clone());
        for (key, variable) in [("relation-id", "JUJU_RELATION_ID"), ("remote-unit", "JUJU_REMOTE_UNIT")] {
            // The relation is told by its number.
            let value = run.variable(variable).rsplit(':').next().unwrap_or_default();
            if !value.is_empty() {
                status.data.insert(key.into(), value.into());
            }
        }
        status
    }
}

pub(super) fn agent_directory(root: &Path, unit: &str) -> PathBuf {
    root.join(format!("var/lib/juju/agents/unit-{}", unit.replace('/', "-")))
}

pub(super) fn tools_directory(root: &Path, unit: &str) -> PathBuf {
    root.join(format!("var/lib/juju/tools/unit-{}", unit.replace('/', "-")))
}

impl Application {
    /// The settings of a charm, defaults included.
    pub(super) fn all_settings(&self, charm: &Charm) -> Map<String, Value> {
        let options = charm.options.iter();
        options
            .map(|(name, option)| (name.clone(), self.settings.get(name).unwrap_or(&option.default).clone()))
            .collect()
    }
}

impl State {
    pub(super) fn application_of(&self, unit: &str) -> &Application {
        &self.applications[application(unit)]
    }

    pub(super) fn unit(&self, unit: &str) -> &Unit {
        &self.units[unit]
    }

    pub(super) fn unit_mut(&mut self, unit: &str) -> &mut Unit {
        self.units.get_mut(unit).unwrap()
    }

    pub(super) fn is_leader(&self, unit: &str) -> bool {
        self.application_of(unit).leader.as_deref() == Some(unit)
    }

    /// What `config-changed` is about, in one text.
    pub(super) fn config_of(&self, unit: &str) -> String {
        let (application, unit) = (self.application_of(unit), self.unit(unit));
        json!([application.all_settings(&unit.charm), application.trust, unit.address, unit.networks])
            .to_string()
    }

    pub(super) fn living_units(&self, of: &str) -> Vec<String> {
        let units = self.units.iter();
        units
            .filter(|(name, unit)| application(name) == of && !unit.agent.dead)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Gives leadership to the first unit that lives, where nobody has it.
    pub(super) fn elect(&mut self) {
        let units = &self.units;
        let fit = |name: &str| units.get(name).is_some_and(|unit| !unit.dying && !unit.agent.dead);
        for (name, it) in &mut self.applications {
            if !it.leader.as_deref().is_some_and(fit) {
                it.leader = units.keys().find(|unit| application(unit) == name && fit(unit)).cloned();
            }
        }
    }

    /// Lets a unit into the scope of its relations, which writes its address into its bag.
    pub(super) fn enter_scopes(&mut self, name: &str) {
        let Some(unit) = self.units.get_mut(name) else { return };
        if unit.dying || !unit.agent.installed {
            return;
        }
        for (id, relation) in &mut self.relations {
            if !relation.involves(application(name)) || relation.dying || relation.suspended {
                continue;
            }
            unit.agent.relations.entry(*id).or_default();
            let side = relation.own_mut(application(name));
            let member =
                side.units.entry(name.to_owned()).or_insert(Member { bag: Bag::default(), in_scope: false });
            if !member.in_scope {
                member.in_scope = true;
                member.bag.change(&addresses(self.version, unit.ingress(&side.endpoint.name)));
            }
        }
    }

    /// Writes the addresses of a unit anew.
    pub(super) fn refresh_addresses(&mut self, name: &str) {
        let unit = &self.units[name];
        for relation in self.relations.values_mut().filter(|relation| relation.involves(application(name))) {
            let side = relation.own_mut(application(name));
            if let Some(member) = side.units.get_mut(name).filter(|member| member.in_scope) {
                member.bag.change(&addresses(self.version, unit.ingress(&side.endpoint.name)));
            }
        }
    }

    /// Removes relations that nobody takes part in any more, and applications without units.
    pub(super) fn clean_up(&mut self) {
        let units = &self.units;
        self.relations.retain(|id, relation| {
            let told = units.values().any(|unit| {
                !unit.agent.dead && unit.agent.relations.get(id).is_some_and(|told| !told.broken)
            });
            !relation.dying || told
        });
        let relations = &self.relations;
        for unit in self.units.values_mut() {
            unit.agent.relations.retain(|id, _| relations.contains_key(id));
        }
        let units = &self.units;
        self.applications.retain(|name, it| {
            !it.dying || units.iter().any(|(unit, state)| application(unit) == name && !state.agent.dead)
        });
    }

    pub(super) fn say(&mut self, level: &str, module: &str, message: &str) {
        self.log.push(LogLine { level: level.into(), module: module.into(), message: message.into() });
    }

    /// Gives a unit a storage of its charm's `storage` section.
    pub(super) fn add_storage(&mut self, unit: &str, name: &str) {
        let id = format!("{name}/{}", self.next_storage);
        self.next_storage += 1;
        let unit = self.unit_mut(unit);
        let declared = unit.charm.storage.get(name).and_then(|it| it.get("location")).and_then(Value::as_str);
        // Where the charm does not say, Juju has a place of its own.
        let place = declared
            .map_or_else(|| format!("var/lib/juju/storage/{id}"), |path| path.trim_matches('/').into());
        let location = unit.root.join(place);
        fs::create_dir_all(&location).unwrap();
        let location = unit.inside(&location);
        if let Some(machine) = &unit.booted {
            machine.attach_disk(&id.replace('/', "-"), &location);
        }
        unit.storage.insert(id, Storage { location, attached: false });
    }
}

/// The network that is an address and nothing else.
pub(super) fn host_network(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

fn addresses(version: JujuVersion, ingress: &str) -> BTreeMap<String, Option<String>> {
    let mut data = BTreeMap::from([
        ("ingress-address".to_owned(), Some(ingress.to_owned())),
        ("egress-subnets".to_owned(), Some(host_network(ingress))),
    ]);
    if version == JujuVersion::V3_6 {
        data.insert("private-address".into(), Some(ingress.to_owned()));
    }
    data
}
