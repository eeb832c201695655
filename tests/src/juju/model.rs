//! The operator's side: `juju`'s commands as methods.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::JujuVersion;
use super::actions::{self, Action, ActionResult};
use super::charm::{Charm, Endpoint, Role, yaml};
use super::context::{Outcome, Run, ToolCall, Verdict};
use super::relations::{Relation, Side};
use super::server::{Rule, Server, link_tools};
use super::state::{Agent, Application, LogLine, Pending, Resolved, State, Status, Unit, agent_directory};
use super::unit::carry_out;
use crate::binary;
use crate::machine::{Machine, Network};

/// Operations after which a model that is not idle is taken for one that never will be.
const RESTLESS: usize = 5000;

/// A model of Juju's, with its controller and the agents of its units.
pub struct Model {
    pub(super) state: Arc<Mutex<State>>,
    rule: Arc<Mutex<Rule>>,
    servers: BTreeMap<String, Server>,
    tool: PathBuf,
    path: String,
    /// Of the machines, where units have some of their own.
    network: Option<Network>,
    // Last, so that it goes when nothing listens in it any more.
    machines: TempDir,
}

/// Options of `juju deploy`.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The application's name; by default the charm's.
    pub name: Option<String>,
    /// `-n`
    pub units: u32,
    /// `--config key=value`
    pub config: Vec<String>,
    /// `--storage`
    pub storage: Vec<String>,
    /// `--resource name=path`
    pub resources: BTreeMap<String, PathBuf>,
    /// `--trust`
    pub trust: bool,
}

impl Default for Deploy {
    fn default() -> Self {
        let (config, storage, resources) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { name: None, units: 1, config, storage, resources, trust: false }
    }
}

impl Model {
    /// An empty model.
    pub fn new(version: JujuVersion) -> Self {
        let state = State {
            version,
            uuid: uuid::Uuid::new_v4().to_string(),
            applications: BTreeMap::new(),
            units: BTreeMap::new(),
            relations: BTreeMap::new(),
            next_relation: 0,
            actions: BTreeMap::new(),
            next_action: 1,
            next_machine: 0,
            next_storage: 0,
            model: BTreeMap::new(),
            log: Vec::new(),
            under: Arc::new(|_| Vec::new()),
        };
        let rule: Rule = Arc::new(|_| Verdict::Proceed);
        Self {
            state: Arc::new(Mutex::new(state)),
            rule: Arc::new(Mutex::new(rule)),
            servers: BTreeMap::new(),
            tool: binary("juju-hook-tool"),
            network: None,
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            // Short, for addresses of Unix sockets may not be long.
            machines: TempDir::with_prefix("juju").unwrap(),
        }
    }

    /// An empty model whose units have machines of their own, with systemd, to do with as they like; see
    /// [`machine`](crate::machine). Needs root.
    pub fn on_machines(version: JujuVersion) -> Self {
        let mut model = Self::new(version);
        model.network = Some(Network::new());
        model
    }

    /// `juju deploy CHARM`, of a directory or an archive.
    pub fn deploy(&mut self, charm: &Path) -> Result<(), String> {
        self.deploy_with(charm, Deploy::default())
    }

    /// `juju deploy CHARM` with options.
    pub fn deploy_with(&mut self, charm: &Path, options: Deploy) -> Result<(), String> {
        let version = self.lock().version;
        let charm = Arc::new(Charm::read(charm, version)?);
        let name = options.name.unwrap_or_else(|| charm.name.clone());
        if self.lock().applications.contains_key(&name) {
            return Err(format!("cannot add application {name:?}: application already exists"));
        }
        let settings = parse_settings(&charm, &options.config)?;
        if let Some(unknown) = options.storage.iter().find(|storage| !charm.storage.contains_key(*storage)) {
            return Err(format!("charm {:?} has no store called {unknown:?}", charm.name));
        }
        check_resources(&charm, &options.resources)?;
        let required = charm.storage.iter().filter(|(_, storage)| {
            let range = storage.get("multiple").and_then(|it| it.get("range"));
            // One of each is provided unless the charm says that none will do.
            !range
                .is_some_and(|range| range.as_str().is_some_and(|range| range.starts_with('0')) || range == 0)
        });
        let storage: BTreeSet<_> = required.map(|(name, _)| name.clone()).chain(options.storage).collect();
        {
            let mut state = self.lock();
            for endpoint in charm.endpoints.values().filter(|endpoint| endpoint.role == Role::Peers) {
                let sides = vec![Side::new(&name, endpoint, None)];
                add_relation(&mut state, sides);
            }
            let (resources, trust) = (options.resources, options.trust);
            let it = Application { settings, trust, resources, storage, ..Application::new(Some(charm)) };
            state.applications.insert(name.clone(), it);
        }
        for _ in 0..options.units {
            self.new_unit(&name);
        }
        self.settle();
        Ok(())
    }

    /// `juju add-unit`
    pub fn add_unit(&mut self, application: &str) -> Result<(), String> {
        self.living(application)?;
        self.new_unit(application);
        self.settle();
        Ok(())
    }

    fn new_unit(&mut self, of: &str) {
        let mut state = self.lock();
        let machine = state.next_machine;
        state.next_machine += 1;
        let it = state.applications.get_mut(of).unwrap();
        let (charm, charm_version, storage) =
            (Arc::clone(it.charm.as_ref().unwrap()), it.charm_version, it.storage.clone());
        let name = format!("{of}/{}", it.next_unit);
        it.next_unit += 1;
        let directory = self.machines.path().join(machine.to_string());
        let host = u8::try_from(machine + 10).unwrap();
        let booted = self
            .network
            .as_ref()
            .map(|network| Arc::new(Machine::boot(&directory, &format!("juju-{machine}"), network, host)));
        let root = booted.as_ref().map_or(directory, |machine| machine.root());
        charm.install(None, &agent_directory(&root, &name).join("charm"));
        link_tools(&root, &name, &self.tool, &state);
        let unit = Unit {
            machine,
            // Each machine has an address of its own.
            address: match &self.network {
                Some(network) => network.address(host).to_string(),
                None => format!("127.0.0.{host}"),
            },
            networks: BTreeMap::new(),
            workload: Status::new("waiting", "waiting for machine"),
            spoke: false,
            ports: BTreeMap::new(),
            state: BTreeMap::new(),
            storage: BTreeMap::new(),
            charm,
            charm_version,
            dying: false,
            agent: Agent::default(),
            context: None,
            runs: Vec::new(),
            root,
            booted,
        };
        let socket = unit.agent_directory(&name).join("agent.socket");
        state.units.insert(name.clone(), unit);
        for storage in storage {
            state.add_storage(&name, &storage);
        }
        drop(state);
        let server = Server::start(&self.state, &self.rule, &name, socket);
        self.servers.insert(name, server);
    }

    /// `juju config APPLICATION key=value …`; a value `@FILE` is read from there.
    pub fn config(&mut self, application: &str, settings: &[&str]) -> Result<(), String> {
        let charm = self.charm_of(application)?;
        let settings: Vec<_> = settings.iter().map(|&it| it.to_owned()).collect();
        let settings = parse_settings(&charm, &settings)?;
        self.set(application, settings);
        Ok(())
    }

    /// `juju config APPLICATION --file FILE`: YAML with the settings below the application's name.
    pub fn config_file(&mut self, application: &str, file: &Path) -> Result<(), String> {
        let charm = self.charm_of(application)?;
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let all = yaml(&text).map_err(|error| format!("cannot parse settings data: {error}"))?;
        let settings = all.get(application).and_then(Value::as_object);
        let settings = settings.ok_or_else(|| format!("no settings found for {application:?}"))?;
        let settings: Result<Map<_, _>, _> = settings
            .iter()
            .map(|(name, value)| charm.check_option(name, value.clone()).map(|value| (name.clone(), value)))
            .collect();
        self.set(application, settings?);
        Ok(())
    }

    /// `juju config APPLICATION --reset key`
    pub fn reset(&mut self, application: &str, key: &str) -> Result<(), String> {
        self.living(application)?;
        self.lock().applications.get_mut(application).unwrap().settings.remove(key);
        self.settle();
        Ok(())
    }

    fn set(&mut self, application: &str, settings: Map<String, Value>) {
        self.lock().applications.get_mut(application).unwrap().settings.extend(settings);
        self.settle();
    }

    /// `juju model-config key=value`, such as `juju-http-proxy`.
    pub fn model_config(&mut self, key: &str, value: &str) {
        self.lock().model.insert(key.into(), value.into());
    }

    /// `juju integrate A[:endpoint] B[:endpoint]`; answers the relation's number.
    pub fn relate(&mut self, one: &str, other: &str) -> Result<u32, String> {
        let ends = (self.endpoints(one)?, self.endpoints(other)?);
        let explicit = one.contains(':') || other.contains(':');
        let mut matching = Vec::new();
        for own in &ends.0 {
            for remote in &ends.1 {
                let fit = own.interface == remote.interface && own.role == remote.role.counterpart();
                if fit
                    && own.role != Role::Peers
                    && (explicit || own.name != "juju-info" && remote.name != "juju-info")
                {
                    matching.push((own.clone(), remote.clone()));
                }
            }
        }
        let [(own, remote)] = matching.as_slice() else {
            return Err(if matching.is_empty() {
                "no relations found".into()
            } else {
                format!("ambiguous relation: {one:?} {other:?} could refer to several endpoints")
            });
        };
        let name = |end: &str| end.split(':').next().unwrap_or_default().to_owned();
        let sides = vec![Side::new(&name(one), own, None), Side::new(&name(other), remote, None)];
        let id = self.connect(sides)?;
        self.settle();
        Ok(id)
    }

    fn endpoints(&self, end: &str) -> Result<Vec<Endpoint>, String> {
        let (of, endpoint) = end.split_once(':').map_or((end, None), |(of, endpoint)| (of, Some(endpoint)));
        let charm = self.charm_of(of)?;
        let all = charm.endpoints.values().filter(|it| endpoint.is_none_or(|name| it.name == name));
        let all: Vec<_> = all.cloned().collect();
        match endpoint {
            Some(name) if all.is_empty() => Err(format!("application {of:?} has no {name:?} relation")),
            _ => Ok(all),
        }
    }

    /// Adds a relation where limits allow for it.
    pub(super) fn connect(&self, sides: Vec<Side>) -> Result<u32, String> {
        let mut state = self.lock();
        let ends = |sides: &[Side]| -> Vec<String> {
            let mut ends: Vec<_> =
                sides.iter().map(|it| format!("{}:{}", it.application, it.endpoint.name)).collect();
            ends.sort();
            ends
        };
        if state.relations.values().any(|relation| !relation.dying && ends(&relation.sides) == ends(&sides)) {
            return Err(format!("cannot add relation {:?}: relation already exists", ends(&sides).join(" ")));
        }
        for side in &sides {
            let (of, endpoint) = (&side.application, &side.endpoint);
            let count = state.relations.values().filter(|relation| {
                relation.sides.iter().any(|it| it.application == *of && it.endpoint.name == endpoint.name)
            });
            if let Some(limit) = endpoint.limit
                && count.count() >= limit
            {
                return Err(format!(
                    "establishing a new relation for {of}:{} would exceed its maximum relation limit of {limit}",
                    endpoint.name
                ));
            }
        }
        Ok(add_relation(&mut state, sides))
    }

    /// `juju remove-relation`, by the number that [`Model::relate`] answered.
    pub fn remove_relation(&mut self, id: u32) -> Result<(), String> {
        self.lock().relations.get_mut(&id).ok_or_else(|| format!("relation {id} not found"))?.dying = true;
        self.settle();
        Ok(())
    }

    /// `juju suspend-relation` and `juju resume-relation`.
    pub fn suspend_relation(&mut self, id: u32, suspended: bool) -> Result<(), String> {
        {
            let mut state = self.lock();
            let relation = state.relations.get_mut(&id).ok_or_else(|| format!("relation {id} not found"))?;
            relation.suspended = suspended;
            if !suspended {
                // What was broken begins anew.
                for unit in state.units.values_mut() {
                    unit.agent.relations.retain(|known, told| *known != id || !told.broken);
                }
            }
        }
        self.settle();
        Ok(())
    }

    /// `juju run UNIT ACTION key=value …`: values are read as YAML, and dots in keys nest.
    pub fn run(&mut self, unit: &str, action: &str, parameters: &[&str]) -> Result<ActionResult, String> {
        let mut found = json!({});
        for parameter in parameters {
            let (key, value) = parameter
                .split_once('=')
                .ok_or_else(|| format!("argument {parameter:?} must be of the form key...=value"))?;
            let value = yaml(value)?;
            let mut place = &mut found;
            for key in key.split('.') {
                place = place
                    .as_object_mut()
                    .ok_or_else(|| format!("argument {parameter:?}: conflicting keys"))?
                    .entry(key)
                    .or_insert_with(|| json!({}));
            }
            *place = value;
        }
        self.run_with(unit, action, found)
    }

    /// `juju run UNIT ACTION --params FILE`
    pub fn run_with(&mut self, unit: &str, action: &str, parameters: Value) -> Result<ActionResult, String> {
        let id = {
            let mut state = self.lock();
            let known = state.units.get(unit).filter(|it| !it.agent.dead);
            let known = known.ok_or_else(|| format!("unit {unit:?} not found"))?;
            let schema = known.charm.actions.get(action);
            let schema = schema.ok_or_else(|| format!("action {action:?} not defined on unit {unit:?}"))?;
            let parameters = actions::parameters(schema, parameters)?;
            let id = state.next_action;
            state.next_action += 1;
            let name = action.to_owned();
            state.actions.insert(id, Action { name, parameters, log: Vec::new(), result: None });
            state.unit_mut(unit).agent.actions.push_back(id);
            id
        };
        self.settle();
        let result = self.lock().actions[&id].result.clone();
        result.ok_or_else(|| format!("timed out waiting for results from unit {unit:?}"))
    }

    /// `juju refresh APPLICATION --path CHARM`
    pub fn refresh(&mut self, application: &str, charm: &Path) -> Result<(), String> {
        self.refresh_with(application, charm, false)
    }

    /// `juju refresh APPLICATION --path CHARM --force-units`: also where a hook has failed.
    pub fn refresh_forced(&mut self, application: &str, charm: &Path) -> Result<(), String> {
        self.refresh_with(application, charm, true)
    }

    fn refresh_with(&mut self, application: &str, charm: &Path, force: bool) -> Result<(), String> {
        let before = self.charm_of(application)?;
        let charm = Charm::read(charm, self.lock().version)?;
        if charm.name != before.name {
            return Err(format!("cannot refresh {:?} with {:?}", before.name, charm.name));
        }
        {
            let mut state = self.lock();
            let lost = state.relations.values().flat_map(|relation| &relation.sides).find(|side| {
                side.application == application && !charm.endpoints.contains_key(&side.endpoint.name)
            });
            if let Some(side) = lost {
                return Err(format!(
                    "cannot upgrade application {application:?}: would break relation {application}:{}",
                    side.endpoint.name
                ));
            }
            let it = state.applications.get_mut(application).unwrap();
            it.settings.retain(|name, value| charm.check_option(name, value.clone()).is_ok());
            it.charm = Some(Arc::new(charm));
            it.charm_version += 1;
            it.force_upgrade = force;
        }
        self.settle();
        Ok(())
    }

    /// `juju attach-resource APPLICATION name=FILE`
    pub fn attach_resource(&mut self, application: &str, name: &str, file: &Path) -> Result<(), String> {
        let resources = BTreeMap::from([(name.to_owned(), file.to_owned())]);
        let charm = self.charm_of(application)?;
        check_resources(&charm, &resources)?;
        {
            let mut state = self.lock();
            let it = state.applications.get_mut(application).unwrap();
            it.resources.extend(resources);
            it.charm_version += 1;
        }
        self.settle();
        Ok(())
    }

    /// `juju remove-unit`
    pub fn remove_unit(&mut self, unit: &str) -> Result<(), String> {
        self.lock().units.get_mut(unit).ok_or_else(|| format!("unit {unit:?} not found"))?.dying = true;
        self.settle();
        Ok(())
    }

    /// `juju remove-application`
    pub fn remove_application(&mut self, name: &str) -> Result<(), String> {
        self.living(name)?;
        {
            let mut state = self.lock();
            state.applications.get_mut(name).unwrap().dying = true;
            for relation in state.relations.values_mut().filter(|relation| relation.involves(name)) {
                relation.dying = true;
            }
            for unit in state.living_units(name) {
                state.unit_mut(&unit).dying = true;
            }
        }
        self.settle();
        Ok(())
    }

    /// `juju resolved UNIT`: runs the failed hook again.
    pub fn resolved(&mut self, unit: &str) -> Result<(), String> {
        self.resolve(unit, Resolved::Retry)
    }

    /// `juju resolved --no-retry UNIT`: counts the failed hook as done.
    pub fn resolved_no_retry(&mut self, unit: &str) -> Result<(), String> {
        self.resolve(unit, Resolved::Skip)
    }

    /// Lets the time pass until the agent retries the failed hook by itself.
    pub fn retry(&mut self, unit: &str) -> Result<(), String> {
        let by_itself =
            self.lock().model.get("automatically-retry-hooks").is_none_or(|value| value != "false");
        if by_itself {
            self.resolve(unit, Resolved::Retry)
        } else {
            Err("the model does not retry hooks".into())
        }
    }

    fn resolve(&mut self, name: &str, how: Resolved) -> Result<(), String> {
        {
            let mut state = self.lock();
            let unit = state.units.get_mut(name).ok_or_else(|| format!("unit {name:?} not found"))?;
            if !matches!(unit.agent.pending, Some(Pending { failed: true, .. })) {
                return Err(format!("unit {name:?} is not in an error state"));
            }
            unit.agent.resolved = Some(how);
        }
        self.settle();
        Ok(())
    }

    /// Lets the time pass until the agent, if it is idle, runs `update-status`.
    pub fn update_status(&mut self, unit: &str) {
        self.lock().unit_mut(unit).agent.update_status = true;
        self.settle();
    }

    /// The machine of a unit has been restarted.
    pub fn reboot(&mut self, unit: &str) {
        let booted = self.lock().unit(unit).booted.clone();
        if let Some(machine) = booted {
            self.servers.remove(unit);
            machine.reboot();
            let socket = {
                let mut state = self.lock();
                let it = state.unit_mut(unit);
                it.root = machine.root();
                it.agent_directory(unit).join("agent.socket")
            };
            fs::remove_file(&socket).unwrap();
            self.servers.insert(unit.into(), Server::start(&self.state, &self.rule, unit, socket));
        }
        self.lock().unit_mut(unit).agent.rebooted = true;
        self.settle();
    }

    /// Gives a unit's machine another address.
    pub fn set_address(&mut self, unit: &str, address: &str) {
        self.lock().unit_mut(unit).address = address.into();
        self.settle();
    }

    /// Gives an endpoint of a unit addresses of its own: to bind to, and to be reached at.
    pub fn set_network(&mut self, unit: &str, endpoint: &str, bind: &str, ingress: &str) {
        self.lock().unit_mut(unit).networks.insert(endpoint.into(), (bind.into(), ingress.into()));
        self.settle();
    }

    /// Where hooks find programs, besides the hook tools: by default as on any machine.
    pub fn set_path(&mut self, path: &str) {
        self.path = path.into();
    }

    /// Asked at each call of a hook tool what to do with it.
    pub fn on_tool_call(&self, rule: impl Fn(&ToolCall) -> Verdict + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Asked before each run of a hook or an action on a [machine](Self::on_machines), by its name: by what program, with
    /// arguments, it is to be run, such as one that traces it. None for as it is.
    pub fn run_under(&self, under: impl Fn(&str) -> Vec<String> + Send + Sync + 'static) {
        self.lock().under = Arc::new(under);
    }

    /// `juju status --format json`, its parts that charms have to do with.
    pub fn status(&self) -> Value {
        let state = self.lock();
        let show = |status: &Status| json!({"current": status.current, "message": status.message});
        let mut applications = Map::new();
        for (name, it) in state.applications.iter().filter(|(_, it)| it.charm.is_some()) {
            let units = state.living_units(name).into_iter().map(|unit| {
                let it = state.unit(&unit);
                let ports: BTreeSet<_> = it.ports.values().flatten().map(ToString::to_string).collect();
                let error = matches!(it.agent.pending, Some(Pending { failed: true, .. }));
                let shown = json!({
                    "workload-status": show(&it.status()),
                    "juju-status": {"current": if error { "error" } else { "idle" }},
                    "leader": state.is_leader(&unit),
                    "machine": it.machine.to_string(),
                    "open-ports": ports,
                    "public-address": it.address,
                });
                (unit, shown)
            });
            let shown = json!({
                "charm": it.charm.as_ref().unwrap().name,
                "application-status": show(&state.application_status(name)),
                "version": it.version,
                "units": units.collect::<Map<_, _>>(),
            });
            applications.insert(name.clone(), shown);
        }
        json!({"applications": applications})
    }

    /// The status of a unit: its workload's, or `error` where a hook has failed.
    pub fn unit_status(&self, unit: &str) -> Status {
        self.lock().unit(unit).status()
    }

    /// Open ports of a unit, such as `3000/tcp`.
    pub fn open_ports(&self, unit: &str) -> Vec<String> {
        let state = self.lock();
        let ports: BTreeSet<_> = state.unit(unit).ports.values().flatten().collect();
        ports.into_iter().map(ToString::to_string).collect()
    }

    /// All runs of hooks and actions of a unit, also one that is gone, in order.
    pub fn runs(&self, unit: &str) -> Vec<Run> {
        self.lock().unit(unit).runs.clone()
    }

    /// The labels of all runs of a unit that came to an end, in order; see [`Run::label`].
    pub fn history(&self, unit: &str) -> Vec<String> {
        self.runs(unit).iter().filter(|run| run.outcome != Outcome::Skipped).map(Run::label).collect()
    }

    /// `juju debug-log`
    pub fn log(&self) -> Vec<LogLine> {
        self.lock().log.clone()
    }

    /// The root of the files of a unit's machine.
    pub fn root(&self, unit: &str) -> PathBuf {
        self.lock().unit(unit).root.clone()
    }

    /// The machine of a unit of a model [on machines](Self::on_machines).
    pub fn machine(&self, unit: &str) -> Arc<Machine> {
        self.lock().unit(unit).booted.clone().unwrap()
    }

    /// The network of a model [on machines](Self::on_machines).
    pub fn network(&self) -> &Network {
        self.network.as_ref().unwrap()
    }

    /// The charm's directory on a unit's machine.
    pub fn charm_directory(&self, unit: &str) -> PathBuf {
        self.lock().unit(unit).agent_directory(unit).join("charm")
    }

    /// Lets the agents work until none has anything to do.
    pub(super) fn settle(&self) {
        for _ in 0..RESTLESS {
            let mut idle = true;
            let units: Vec<_> = self.lock().units.keys().cloned().collect();
            for unit in units {
                let operation = {
                    let mut state = self.lock();
                    state.elect();
                    state.next_operation(&unit)
                };
                if let Some(operation) = operation {
                    idle = false;
                    carry_out(&self.state, &unit, operation, &self.path);
                }
            }
            self.lock().clean_up();
            if idle {
                return;
            }
        }
        panic!("the model does not come to rest after {RESTLESS} rounds: {:#?}", self.status());
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn living(&self, name: &str) -> Result<(), String> {
        let state = self.lock();
        let living = state.applications.get(name).is_some_and(|it| !it.dying);
        if living { Ok(()) } else { Err(format!("application {name:?} not found")) }
    }

    pub(super) fn charm_of(&self, name: &str) -> Result<Arc<Charm>, String> {
        self.living(name)?;
        let charm = self.lock().applications[name].charm.clone();
        charm.ok_or_else(|| format!("application {name:?} has no charm here"))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // Threads that answer tools may hold on to the state for a moment longer than machines are to run.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for unit in state.units.values_mut() {
            unit.booted = None;
        }
    }
}

fn add_relation(state: &mut State, sides: Vec<Side>) -> u32 {
    let id = state.next_relation;
    state.next_relation += 1;
    state.relations.insert(id, Relation { sides, dying: false, suspended: false });
    id
}

fn check_resources(charm: &Charm, given: &BTreeMap<String, PathBuf>) -> Result<(), String> {
    match given.keys().find(|name| !charm.resources.contains_key(*name)) {
        Some(unknown) => Err(format!("unrecognized resource {unknown:?}")),
        None => Ok(()),
    }
}

fn parse_settings(charm: &Charm, given: &[String]) -> Result<Map<String, Value>, String> {
    let parse = |setting: &String| {
        let (key, value) =
            setting.split_once('=').ok_or_else(|| format!("expected \"key=value\", got {setting:?}"))?;
        let value = match value.strip_prefix('@') {
            Some(file) => {
                fs::read_to_string(file).map_err(|error| format!("cannot read option from file: {error}"))?
            }
            None => value.to_owned(),
        };
        Ok((key.to_owned(), charm.parse_option(key, &value)?))
    };
    given.iter().map(parse).collect()
}

impl Application {
    pub(super) fn new(charm: Option<Arc<Charm>>) -> Self {
        Self {
            charm,
            charm_version: 0,
            force_upgrade: false,
            settings: Map::new(),
            trust: false,
            resources: BTreeMap::new(),
            storage: BTreeSet::new(),
            leader: None,
            leader_settings: BTreeMap::new(),
            next_unit: 0,
            status: None,
            version: String::new(),
            dying: false,
        }
    }
}

impl State {
    /// What the leader has set, or else the worst of the units' statuses.
    pub(super) fn application_status(&self, name: &str) -> Status {
        const WORST_LAST: [&str; 7] =
            ["unknown", "terminated", "active", "waiting", "maintenance", "blocked", "error"];
        let units = self.living_units(name);
        let units = units.iter().map(|unit| self.unit(unit).status());
        let worst = units.max_by_key(|status| WORST_LAST.iter().position(|word| *word == status.current));
        self.applications[name].status.clone().or(worst).unwrap_or_else(|| Status::new("unknown", ""))
    }
}
