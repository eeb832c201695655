//! The unit agent: which hook is next, how it is run, and what its end means.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::actions::{self, ActionAnswers};
use super::context::{Context, Hook, Outcome, RelationHook, Run};
use super::relations::{Told, application};
use super::state::{Pending, Resolved, State, Status};

/// How long the agent waits for output once a hook has ended, at most and while there is none: what the hook has started
/// may hold on to it.
const OUTPUT_LIMIT: Duration = Duration::from_secs(3);
const OUTPUT_PAUSE: Duration = Duration::from_millis(300);

/// Bytes that the state of a unit may have.
const STATE_QUOTA: usize = 2 << 20;

/// What an agent does next.
pub(super) enum Operation {
    Run(Hook),
    /// Count a failed hook as done.
    Skip(Hook),
    /// Put the files of a newer charm in place, then run the hook.
    Upgrade(Hook),
}

impl State {
    /// The next operation of a unit, if there is one.
    pub(super) fn next_operation(&mut self, name: &str) -> Option<Operation> {
        if self.unit(name).agent.dead {
            return None;
        }
        self.enter_scopes(name);
        let (unit, of) = (self.unit(name), self.application_of(name));
        let agent = &unit.agent;
        let outdated = unit.charm_version != of.charm_version;
        let action = agent.actions.front().map(|id| Operation::Run(Hook::Action(*id)));
        match &agent.pending {
            Some(Pending { hook, failed: true }) => {
                if outdated && of.force_upgrade {
                    return Some(Operation::Upgrade(hook.clone()));
                }
                return match agent.resolved {
                    Some(Resolved::Retry) => Some(Operation::Run(hook.clone())),
                    Some(Resolved::Skip) => Some(Operation::Skip(hook.clone())),
                    None => action,
                };
            }
            Some(Pending { hook: Hook::Install, .. }) if unit.dying => {}
            Some(Pending { hook, .. }) => return Some(Operation::Run(hook.clone())),
            None => {}
        }
        if agent.rebooted && agent.started && !unit.dying {
            return Some(Operation::Run(Hook::Start));
        }
        let run = |hook| Some(Operation::Run(hook));
        if !unit.dying && agent.installed {
            let created =
                agent.relations.iter().find(|(id, told)| !told.created && !self.relations[id].dying);
            if let Some((id, _)) = created {
                return run(Hook::Relation {
                    kind: RelationHook::Created,
                    id: *id,
                    unit: None,
                    departing: None,
                });
            }
            let leader = self.is_leader(name);
            if leader && agent.leader != Some(true) {
                return run(Hook::LeaderElected);
            }
            if !leader && agent.leader.is_none() && self.version == super::JujuVersion::V3_6 {
                return run(Hook::LeaderSettingsChanged);
            }
        }
        if action.is_some() {
            return action;
        }
        if let Some((id, storage)) = unit.storage.iter().find(|(_, storage)| storage.attached == unit.dying) {
            let hook = if storage.attached { Hook::StorageDetaching } else { Hook::StorageAttached };
            // What was never attached needs no detaching.
            if !unit.dying || agent.installed {
                return run(hook(id.clone()));
            }
        }
        if unit.dying {
            return Some(Operation::Run(
                self.next_relation_hook(name).unwrap_or(if agent.started && !agent.stopped {
                    Hook::Stop
                } else {
                    Hook::Remove
                }),
            ));
        }
        if !agent.installed {
            return run(Hook::Install);
        }
        if outdated {
            return Some(Operation::Upgrade(Hook::UpgradeCharm));
        }
        if agent.config_seen.as_ref() != Some(&self.config_of(name)) {
            return run(Hook::ConfigChanged);
        }
        let relation = self.next_relation_hook(name).map(Operation::Run);
        relation.or_else(|| agent.update_status.then_some(Operation::Run(Hook::UpdateStatus)))
    }

    fn next_relation_hook(&self, name: &str) -> Option<Hook> {
        let unit = self.unit(name);
        // Peers come last.
        let (mut relations, peers): (Vec<_>, Vec<_>) =
            unit.agent.relations.iter().partition(|(id, _)| !self.relations[id].is_peer());
        relations.extend(peers);
        relations
            .into_iter()
            .filter(|(_, told)| !told.broken)
            .find_map(|(id, told)| self.hook_of(name, *id, told))
    }

    fn hook_of(&self, name: &str, id: u32, told: &Told) -> Option<Hook> {
        let relation = &self.relations[&id];
        let hook =
            |kind, unit: Option<&String>| Hook::Relation { kind, id, unit: unit.cloned(), departing: None };
        if let Some(joined) = &told.joined {
            return Some(hook(RelationHook::Changed, Some(joined)));
        }
        let dying = self.unit(name).dying;
        let gone = dying || relation.dying || relation.suspended;
        let members = if gone { BTreeMap::new() } else { relation.members(name) };
        let remote = relation.remote(application(name));
        if let Some(unit) = told.members.keys().find(|unit| !members.contains_key(*unit)) {
            let local = dying || self.application_of(name).dying;
            let departing = Some(if local { name.to_owned() } else { remote.seen(unit) });
            return Some(Hook::Relation {
                kind: RelationHook::Departed,
                id,
                unit: Some(unit.clone()),
                departing,
            });
        }
        if gone {
            return (told.created && !relation.is_peer()).then(|| hook(RelationHook::Broken, None));
        }
        let own_bag = relation.is_peer() && self.is_leader(name);
        if remote.bag.version != told.application_version && !own_bag {
            return Some(hook(RelationHook::Changed, None));
        }
        let new = members.keys().find(|unit| !told.members.contains_key(*unit));
        if let Some(unit) = new {
            return Some(hook(RelationHook::Joined, Some(unit)));
        }
        let changed = members.iter().find(|(unit, version)| told.members.get(*unit) != Some(version));
        changed.map(|(unit, _)| hook(RelationHook::Changed, Some(unit)))
    }

    /// What a hook that is done changes for the agent.
    fn done(&mut self, name: &str, hook: &Hook, seen: &Seen) {
        let config = seen.config.clone();
        let unit = self.unit_mut(name);
        let agent = &mut unit.agent;
        agent.pending = None;
        let queue = |hook| Some(Pending { hook, failed: false });
        match hook {
            Hook::Install => agent.installed = true,
            Hook::LeaderElected => agent.leader = Some(true),
            Hook::LeaderSettingsChanged => agent.leader = Some(false),
            Hook::ConfigChanged => {
                agent.config_seen = Some(config);
                if !agent.started {
                    agent.pending = queue(Hook::Start);
                }
            }
            Hook::Start => {
                (agent.started, agent.rebooted) = (true, false);
                if !unit.spoke {
                    unit.workload = Status::new("unknown", "");
                }
            }
            Hook::UpgradeCharm => agent.pending = queue(Hook::ConfigChanged),
            Hook::UpdateStatus => agent.update_status = false,
            Hook::Stop => agent.stopped = true,
            Hook::Remove => {
                agent.dead = true;
                unit.workload = Status::new("terminated", "");
            }
            Hook::StorageAttached(id) => unit.storage.get_mut(id).unwrap().attached = true,
            Hook::StorageDetaching(id) => {
                let storage = unit.storage.remove(id).unwrap();
                if let Some(machine) = &unit.booted {
                    machine.detach_disk(&storage.location);
                }
            }
            Hook::Relation { kind, id, unit: remote, .. } => {
                let told = agent.relations.entry(*id).or_default();
                match (kind, remote) {
                    (RelationHook::Created, _) => told.created = true,
                    (RelationHook::Joined, Some(remote)) => {
                        told.members.insert(remote.clone(), seen.version);
                        told.joined = Some(remote.clone());
                    }
                    (RelationHook::Changed, Some(remote)) => {
                        told.members.insert(remote.clone(), seen.version);
                        told.joined = None;
                    }
                    (RelationHook::Changed, None) => told.application_version = seen.version,
                    (RelationHook::Departed, Some(remote)) => drop(told.members.remove(remote)),
                    _ => {
                        told.broken = true;
                        self.leave(name, *id);
                    }
                }
            }
            Hook::Action(_) => {}
        }
        if *hook == Hook::Remove {
            let known: Vec<u32> = self.relations.keys().copied().collect();
            for id in known {
                self.leave(name, id);
            }
        }
    }

    fn leave(&mut self, name: &str, id: u32) {
        let Some(relation) =
            self.relations.get_mut(&id).filter(|relation| relation.involves(application(name)))
        else {
            return;
        };
        if let Some(member) = relation.own_mut(application(name)).units.get_mut(name) {
            member.in_scope = false;
        }
    }

    /// Carries out what a hook has asked for while it ran.
    fn commit(&mut self, name: &str, context: &Context) -> Result<(), String> {
        let total: usize = context.state.iter().map(|(key, value)| key.len() + value.len()).sum();
        if total > STATE_QUOTA {
            return Err(format!(
                "cannot commit: the state of the unit is {total} bytes, more than {STATE_QUOTA}"
            ));
        }
        for ((id, of_application), changes) in &context.relation_changes {
            let Some(relation) = self.relations.get_mut(id) else { continue };
            let side = relation.own_mut(application(name));
            if *of_application {
                side.bag.change(changes);
            } else if let Some(member) = side.units.get_mut(name) {
                member.bag.change(changes);
            }
        }
        let unit = self.unit_mut(name);
        unit.ports.clone_from(&context.ports);
        unit.state.clone_from(&context.state);
        unit.agent.rebooted |= context.reboot;
        for storage in &context.new_storage {
            self.add_storage(name, storage);
        }
        Ok(())
    }

    /// What the agent says about the workload before hooks that take long.
    fn announce(&mut self, name: &str, hook: &Hook) {
        let unit = self.unit_mut(name);
        let message = match hook {
            Hook::Install if !unit.spoke => "installing charm software",
            Hook::Stop => "stopping charm software",
            Hook::Remove => "cleaning up prior to charm deletion",
            _ => return,
        };
        unit.workload = Status::new("maintenance", message);
    }

    fn upgrade(&mut self, name: &str) {
        let of = self.application_of(name);
        let (charm, version) = (Arc::clone(of.charm.as_ref().unwrap()), of.charm_version);
        let unit = self.unit_mut(name);
        charm.install(Some(&unit.charm), &unit.agent_directory(name).join("charm"));
        (unit.charm, unit.charm_version) = (charm, version);
    }
}

/// What was so when a hook began, for things that change while it runs count as not seen.
struct Seen {
    config: String,
    version: u64,
}

/// Carries out an operation of a unit.
pub(super) fn carry_out(state: &Mutex<State>, name: &str, operation: Operation, path: &str) {
    let hook = match operation {
        Operation::Skip(hook) => {
            let mut state = state.lock().unwrap();
            state.unit_mut(name).agent.resolved = None;
            let seen = seen(&state, name, &hook);
            state.done(name, &hook, &seen);
            return;
        }
        Operation::Upgrade(hook) => {
            state.lock().unwrap().upgrade(name);
            hook
        }
        Operation::Run(hook) => hook,
    };
    let (mut command, seen) = {
        let mut state = state.lock().unwrap();
        if !matches!(hook, Hook::Action(_)) {
            state.unit_mut(name).agent.resolved = None;
        }
        if hook == Hook::ConfigChanged {
            state.refresh_addresses(name);
        }
        state.announce(name, &hook);
        let seen = seen(&state, name, &hook);
        (prepare(&mut state, name, &hook, path), seen)
    };
    let ending = match &mut command {
        Ok(Some(command)) => run(state, name, command),
        Ok(None) => Ending::default(),
        Err(error) => Ending { failed: Some(error.clone()), ..Ending::default() },
    };
    let skipped = matches!(command, Ok(None));
    finish(&mut state.lock().unwrap(), name, &hook, ending, skipped, &seen);
}

fn seen(state: &State, name: &str, hook: &Hook) -> Seen {
    let version = match hook {
        Hook::Relation { id, unit: Some(unit), .. } => state.relations[id]
            .remote(application(name))
            .units
            .get(unit)
            .map_or(0, |member| member.bag.version),
        Hook::Relation { id, unit: None, .. } => state.relations[id].remote(application(name)).bag.version,
        _ => 0,
    };
    Seen { config: state.config_of(name), version }
}

/// Makes the context of a run and the command that starts it; none where the charm has no program for it.
fn prepare(state: &mut State, name: &str, hook: &Hook, path: &str) -> Result<Option<Command>, String> {
    let hook_name = state.hook_name(name, hook);
    let id = format!("{name}-{hook_name}-{}", uuid::Uuid::new_v4().simple());
    let environment = state.environment(name, hook, &id, path);
    let action = match hook {
        Hook::Action(id) => Some((state.actions[id].parameters.clone(), ActionAnswers::default())),
        _ => None,
    };
    let settings = state.application_of(name).all_settings(&state.unit(name).charm);
    let under = (Arc::clone(&state.under))(&hook_name);
    let unit = state.unit_mut(name);
    let charm = unit.agent_directory(name).join("charm");
    unit.runs.push(Run {
        name: hook_name.clone(),
        environment: environment.clone(),
        calls: Vec::new(),
        outcome: Outcome::Skipped,
        elapsed: Duration::ZERO,
    });
    unit.context = Some(Context {
        id,
        hook: hook.clone(),
        name: hook_name.clone(),
        group: None,
        calls: Vec::new(),
        settings,
        relation_changes: BTreeMap::new(),
        ports: unit.ports.clone(),
        state: unit.state.clone(),
        new_storage: Vec::new(),
        reboot: false,
        action,
    });
    if !charm.join("metadata.yaml").is_file() {
        return Err("charm missing from disk".into());
    }
    let folder = if matches!(hook, Hook::Action(_)) { "actions" } else { "hooks" };
    let program =
        [charm.join("dispatch"), charm.join(folder).join(&hook_name)].into_iter().find(|path| path.exists());
    let Some(program) = program else {
        return match hook {
            Hook::Action(_) => Err(format!("action not implemented on unit {name:?}")),
            _ => Ok(None),
        };
    };
    let mut command = if let Some(machine) = &unit.booted {
        let mut command = machine.enter();
        let (charm, program) = (unit.inside(&charm), unit.inside(&program));
        command.args(["/usr/bin/env", "--chdir"]).arg(charm).args(under).arg(program);
        command
    } else {
        let mut command = Command::new(program);
        command.current_dir(charm);
        command
    };
    command.env_clear().envs(environment).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Some(command))
}

/// How a program ended.
#[derive(Default)]
struct Ending {
    /// The agent could not start it.
    failed: Option<String>,
    status: Option<ExitStatus>,
    output: BTreeMap<&'static str, Vec<u8>>,
    elapsed: Duration,
}

fn run(state: &Mutex<State>, name: &str, command: &mut Command) -> Ending {
    let begun = Instant::now();
    let mut child = {
        // Held until the context knows the process, for its first call may come before the next line.
        let mut state = state.lock().unwrap();
        match command.spawn() {
            Ok(child) => {
                let context = state.unit_mut(name).context.as_mut().unwrap();
                context.group = i32::try_from(child.id()).ok();
                child
            }
            Err(error) => {
                let failed = Some(format!("cannot run {}: {error}", command.get_program().display()));
                return Ending { failed, ..Ending::default() };
            }
        }
    };
    let streams =
        [("stdout", reader(child.stdout.take().unwrap())), ("stderr", reader(child.stderr.take().unwrap()))];
    let status = child.wait().unwrap();
    let ended = Instant::now();
    let output = streams.map(|(stream, lines)| {
        let mut bytes = Vec::new();
        while let Ok(line) = lines.recv_timeout(OUTPUT_PAUSE) {
            bytes.extend(line);
            if ended.elapsed() > OUTPUT_LIMIT {
                break;
            }
        }
        (stream, bytes)
    });
    Ending { failed: None, status: Some(status), output: output.into(), elapsed: ended.duration_since(begun) }
}

fn reader(stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (lines, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            // Read on when nobody listens any more, so that what still writes is not ended by it.
            match stream.read_until(b'\n', &mut line) {
                Ok(read) if read > 0 => drop(lines.send(line)),
                _ => return,
            }
        }
    });
    receiver
}

fn finish(state: &mut State, name: &str, hook: &Hook, ending: Ending, skipped: bool, seen: &Seen) {
    let mut context = state.unit_mut(name).context.take().unwrap();
    for (stream, bytes) in &ending.output {
        let level = if *stream == "stdout" { "DEBUG" } else { "WARNING" };
        for line in String::from_utf8_lossy(bytes).lines() {
            state.say(level, &format!("unit.{name}.{}", context.name), line);
        }
    }
    let code = ending.status.map_or(Some(0), |status| status.code());
    let signal = ending.status.and_then(|status| status.signal());
    let outcome = match (ending.failed, code) {
        (Some(error), _) => Outcome::Failed(error),
        _ if skipped => Outcome::Skipped,
        (None, Some(0)) => state.commit(name, &context).map_or_else(Outcome::Failed, |()| Outcome::Done),
        (None, Some(code)) => Outcome::Failed(format!("exit status {code}")),
        (None, None) if matches!(signal, Some(9 | 15)) => Outcome::Killed,
        (None, None) => Outcome::Failed(format!("signal {}", signal.unwrap_or_default())),
    };
    if let Hook::Action(id) = hook {
        state.unit_mut(name).agent.actions.pop_front();
        let (_, answers) = context.action.take().unwrap();
        let mut result = actions::result(&state.actions[id], answers, code, &ending.output);
        if let (Outcome::Failed(error), Some(0)) = (&outcome, code) {
            (result.status, result.message) = ("failed".into(), error.clone());
        }
        state.actions.get_mut(id).unwrap().result = Some(result);
    } else {
        match &outcome {
            Outcome::Done | Outcome::Skipped => state.done(name, hook, seen),
            Outcome::Failed(error) => {
                state.say(
                    "ERROR",
                    "juju.worker.uniter.operation",
                    &format!("hook {:?} failed: {error}", context.name),
                );
                state.unit_mut(name).agent.pending = Some(Pending { hook: hook.clone(), failed: true });
            }
            Outcome::Killed => {
                state.unit_mut(name).agent.rebooted |= context.reboot;
                state.unit_mut(name).agent.pending = Some(Pending { hook: hook.clone(), failed: false });
            }
        }
    }
    let run = state.unit_mut(name).runs.last_mut().unwrap();
    (run.calls, run.outcome, run.elapsed) = (context.calls, outcome, ending.elapsed);
}

/// Kills a hook and all that it has started.
pub(super) fn kill(group: Option<i32>) {
    if let Some(group) = group.and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
