//! Facts as they are on a unit that works, and what steps make of them where nothing fails.

use aar_charm::daemon::{self, Applied, Running, Service, Settings, Summary, Trusted};
use aar_charm::event::{Event, Kind, Proxies};
use aar_charm::facts::{Facts, Juju, Machine, Run};
use aar_charm::files::Owner;
use aar_charm::memory::{Attached, Memory};
use aar_charm::options::Options;
use aar_charm::plan::{Plan, Step, hash, plan};
use aar_charm::relation::{Certificate, Relation, Told};
use aar_charm::workload::{Notes, Source, Version};
use aar_config::Secret;
use aar_model::{Digest, Role};
use serde_json::{Value, json};

/// The outer form of a certificate.
pub(crate) fn certificate(name: &str) -> Certificate {
    use base64::Engine as _;
    let mut der = vec![0x30, u8::try_from(name.len()).unwrap()];
    der.extend(name.as_bytes());
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    Certificate::read_all(&text).unwrap().remove(0)
}

/// A version of the program files.
pub(crate) fn version(name: &str) -> Version {
    Version {
        content: Digest::of(name.as_bytes()),
        look: Digest::of(name.as_bytes()),
        resource: false,
        files: vec!["usr/local/bin/aard".into()],
    }
}

pub(crate) fn source(name: &str) -> Source {
    Source { root: "/charm/workload".into(), version: version(name) }
}

pub(crate) fn options(settings: &Value) -> Options {
    Options::read(settings.as_object().unwrap())
}

pub(crate) fn relation(id: &str, units: &[(&str, Told)]) -> Relation {
    Relation {
        id: id.into(),
        role: if id.starts_with("client") { Role::Client } else { Role::Publisher },
        address: "10.0.0.5".into(),
        units: units.iter().map(|(name, told)| ((*name).to_owned(), told.clone())).collect(),
    }
}

pub(crate) fn brings(names: &[&str]) -> Told {
    Told::Certificates(names.iter().map(|name| certificate(name)).collect())
}

/// A unit on a machine as it comes, as its first hook finds it.
pub(crate) fn fresh() -> Facts {
    let juju = Juju {
        event: Event {
            kind: Kind::Install,
            unit: "aar/0".into(),
            charm_dir: "/charm".into(),
            model: "prod".into(),
            model_uuid: "5bd9".into(),
            proxies: Proxies::default(),
        },
        options: options(&json!({"port": 3000})),
        units: vec!["aar/0".into()],
        memory: Memory::default(),
        remembered: Memory::default(),
        relations: Vec::new(),
        observers: Vec::new(),
        observed: Ok(None),
    };
    let machine = Machine {
        notes: Notes::default(),
        can_go_back: false,
        source: Some(source("one")),
        resource_problem: None,
        owner: None,
        base_is_owned: false,
        attached: Ok(false),
        interfaces: [("eth0".to_owned(), "10.0.0.5".to_owned()), ("eth1".to_owned(), "fd00::5".to_owned())]
            .into(),
        config: None,
        has_previous_config: false,
        applied: Applied::default(),
        settings: Settings::default(),
        service: Service { active: "inactive".into(), enabled: String::new() },
        summary: None,
        certificate: None,
        trusted: Ok(Vec::new()),
        revoked: Vec::new(),
        data_is_mounted: false,
    };
    Facts { juju, machine, run: Run::default() }
}

/// A unit that serves.
pub(crate) fn serving() -> Facts {
    let mut facts = fresh();
    facts.juju.options = options(&json!({"port": 3000, "ua_token": "C1"}));
    settle(&mut facts);
    next(&mut facts, Kind::ConfigChanged);
    facts
}

/// The next event comes.
pub(crate) fn next(facts: &mut Facts, kind: Kind) {
    facts.juju.event.kind = kind;
    facts.run = Run::default();
}

/// Plans and carries out until nothing is left to do; answers all plans.
pub(crate) fn settle(facts: &mut Facts) -> Vec<Plan> {
    let mut plans = Vec::new();
    while plans.len() < 30 {
        let next = plan(facts);
        plans.push(next.clone());
        if next.steps.is_empty() {
            return plans;
        }
        for step in &next.steps {
            assert!(apply(step, facts), "{step}");
        }
    }
    panic!("it does not come to an end: {:#?}", &plans[25..]);
}

/// What was planned, in order, and the status in the end.
pub(crate) fn told(plans: &[Plan]) -> String {
    let steps = plans.iter().flat_map(|plan| &plan.steps).map(|step| format!("{step}\n"));
    steps.collect::<String>() + &plans.last().unwrap().status.to_string()
}

/// The same, of facts of which only that is of interest.
pub(crate) fn outcome(mut facts: Facts) -> String {
    told(&settle(&mut facts))
}

/// What a step makes of the facts, where it succeeds.
pub(crate) fn apply(step: &Step, facts: &mut Facts) -> bool {
    let (machine, run, memory) = (&mut facts.machine, &mut facts.run, &mut facts.juju.memory);
    match step {
        Step::Install => {
            run.installed = true;
            machine.can_go_back = machine.notes.installed.is_some();
            machine.notes.pending = machine.source.as_ref().map(|source| source.version.clone());
        }
        Step::NoteLook => {
            machine.notes.installed = machine.source.as_ref().map(|source| source.version.clone());
        }
        Step::Prepare => {
            machine.owner = Some(Owner { uid: 999, gid: 999 });
            machine.base_is_owned = true;
        }
        Step::Accept => {
            machine.can_go_back = false;
            machine.notes.refused = None;
            machine.notes.installed = machine.notes.pending.take().or(machine.notes.installed.take());
        }
        Step::RollBack(reason) => {
            run.service = None;
            let refused = machine.notes.pending.take().unwrap();
            machine.notes.refused = Some((refused.content, reason.clone()));
            machine.can_go_back = false;
        }
        Step::Uninstall => machine.notes = Notes::default(),
        Step::Attach { token, .. } => {
            machine.attached = Ok(true);
            memory.attached = Some(Attached::With(Digest::of(token.expose().as_bytes())));
        }
        Step::Render(text) => {
            machine.has_previous_config = machine.config.is_some();
            machine.config = Some(text.clone());
        }
        Step::RestoreConfig(reason) => {
            run.service = None;
            let refused = Digest::of(machine.config.as_ref().unwrap().expose().as_bytes());
            run.config = Some((refused, reason.clone()));
            machine.applied.refused.clone_from(&run.config);
            // The test knows what was there before.
            machine.has_previous_config = false;
        }
        Step::Settle(settings) => machine.settings.clone_from(settings),
        Step::Start | Step::Restart | Step::Reload(_) => {
            run.started = true;
            up(machine);
        }
        Step::Stop => {
            machine.service = Service { active: "inactive".into(), enabled: "disabled".into() };
            machine.summary = None;
        }
        Step::Trust { source, certificate, role, name } => {
            let trusted = machine.trusted.as_mut().unwrap();
            match trusted.iter_mut().find(|known| known.fingerprint == certificate.fingerprint) {
                Some(known) => known.sources.push(source.clone()),
                None => trusted.push(Trusted {
                    fingerprint: certificate.fingerprint,
                    role: *role,
                    name: name.clone(),
                    sources: vec![source.clone()],
                }),
            }
        }
        Step::Distrust { source, fingerprint } => {
            let trusted = machine.trusted.as_mut().unwrap();
            trusted.iter_mut().filter(|known| known.fingerprint == *fingerprint).for_each(|known| {
                known.sources.retain(|other| other != source);
            });
            trusted.retain(|known| !known.sources.is_empty());
        }
        Step::OpenPort(port) => memory.port = Some(*port),
        Step::ClosePort(port) => memory.port = memory.port.filter(|open| open != port),
        Step::Publish { relation, data } => {
            memory.published.insert(relation.clone(), hash(data));
        }
        Step::ShowVersion(version) => memory.version = Some(version.clone()),
        Step::Remember(all) => {
            facts.juju.memory = all.clone();
            facts.juju.remembered = all.clone();
        }
    }
    true
}

fn up(machine: &mut Machine) {
    let text = machine.config.as_ref().map(Secret::expose).unwrap().to_owned();
    let Running { address, .. } = daemon::read(&text);
    machine.service = Service { active: "active".into(), enabled: "enabled".into() };
    machine.summary = Some(Ok(Summary {
        version: "1.2.3".into(),
        state: "ready".into(),
        address,
        storage: "/var/lib/aar/data".into(),
        applications: 12,
        bytes: 40 << 30,
    }));
    machine.certificate = Some(certificate("server"));
    let files = machine.notes.pending.as_ref().or(machine.notes.installed.as_ref());
    machine.applied = Applied {
        workload: files.map(|version| version.content),
        config: Some(Digest::of(text.as_bytes())),
        restarting: Some(daemon::restarting_part(&text)),
        settings: Some(machine.settings.hash()),
        refused: machine.applied.refused.clone(),
    };
    machine.has_previous_config = false;
}
