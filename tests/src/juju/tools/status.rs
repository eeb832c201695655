//! Status, workload version, leadership, log, reboot, goal state.

use serde_json::{Map, Value, json};

use super::super::context::Hook;
use super::super::relations::application;
use super::super::state::Status;
use super::arguments::Arguments;
use super::{Call, Output, Result, failed, usage};

const WORDS: [&str; 4] = ["maintenance", "blocked", "waiting", "active"];

pub(super) fn set(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let [word, rest @ ..] = arguments.rest.as_slice() else {
        return usage("invalid args, require <status> [message]");
    };
    if !WORDS.contains(&word.as_str()) {
        return usage(format!("invalid status {word:?}, expected one of [{}]", WORDS.join(" ")));
    }
    if rest.len() > 1 {
        return usage("invalid args, require <status> [message]");
    }
    let status = Status::new(word, rest.first().map_or("", String::as_str));
    if arguments.flag("application") {
        leader(call)?;
        call.state.applications.get_mut(application(call.unit)).unwrap().status = Some(status);
    } else {
        let unit = call.state.unit_mut(call.unit);
        (unit.workload, unit.spoke) = (status, true);
    }
    Ok(Output::Nothing)
}

fn leader(call: &Call) -> Result<()> {
    if call.state.is_leader(call.unit) { Ok(()) } else { failed("this unit is not the leader") }
}

fn with_data(status: &Status) -> Value {
    json!({"message": status.message, "status": status.current, "status-data": status.data})
}

pub(super) fn get(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    arguments.at_most(0)?;
    if arguments.flag("application") {
        leader(call)?;
        let name = application(call.unit);
        let mut found = with_data(&call.state.application_status(name));
        let units = call.state.living_units(name);
        let units: Map<_, _> = units
            .into_iter()
            .map(|unit| (unit.clone(), with_data(&call.state.unit(&unit).status())))
            .collect();
        found["units"] = units.into();
        return Ok(Output::Value(json!({"application-status": found})));
    }
    let status = &call.state.unit(call.unit).workload;
    if arguments.flag("include-data") {
        return Ok(Output::Value(with_data(status)));
    }
    let smart = arguments.option("format").is_none_or(|(_, format)| format == "smart");
    Ok(Output::Value(if smart { status.current.as_str().into() } else { json!({"status": status.current}) }))
}

pub(super) fn set_version(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let Some(version) = arguments.at_most(1)?.first() else { return usage("no version specified") };
    call.state.applications.get_mut(application(call.unit)).unwrap().version.clone_from(version);
    Ok(Output::Nothing)
}

pub(super) fn is_leader(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    arguments.at_most(0)?;
    Ok(Output::Value(call.state.is_leader(call.unit).into()))
}

pub(super) fn log(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    if arguments.rest.is_empty() {
        return usage("no message specified");
    }
    let module = format!("unit.{}.juju-log", call.unit);
    let asked = arguments.option("log-level").map_or("INFO", |(_, level)| level);
    let asked = if arguments.flag("debug") { "DEBUG" } else { asked }.to_uppercase();
    let level = if ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"].contains(&asked.as_str()) {
        asked
    } else {
        call.state.say("WARNING", &module, &format!("Specified log level of {asked:?} is not valid"));
        "INFO".into()
    };
    let prefix = call.context().hook.relation().map(|id| {
        let endpoint = &call.state.relations[&id].own(application(call.unit)).endpoint.name;
        format!("{endpoint}:{id}: ")
    });
    let message = prefix.unwrap_or_default() + &arguments.rest.join(" ");
    call.state.say(&level, &module, &message);
    Ok(Output::Nothing)
}

pub(super) fn reboot(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    arguments.at_most(0)?;
    if matches!(call.context().hook, Hook::Action(_)) {
        return failed("juju-reboot is not supported when running an action.");
    }
    call.context_mut().reboot = true;
    Ok(Output::Nothing)
}

pub(super) fn goal_state(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    arguments.at_most(0)?;
    let state = &*call.state;
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let entry = |status: &str| json!({"status": status, "since": since});
    let name = application(call.unit);
    let of_unit = |unit: &str| {
        state
            .units
            .get(unit)
            .map_or("active".into(), |it| if it.dying { "dying".into() } else { it.workload.current.clone() })
    };
    let units: Map<_, _> =
        state.living_units(name).into_iter().map(|unit| (unit.clone(), entry(&of_unit(&unit)))).collect();
    let mut relations = Map::new();
    for relation in state.relations.values().filter(|relation| relation.involves(name)) {
        let (own, remote) = (relation.own(name), relation.remote(name));
        let ends = relations.entry(&own.endpoint.name).or_insert_with(|| json!({}));
        if !relation.is_peer() {
            ends[&remote.seen_as] = entry(if relation.dying { "dying" } else { "joined" });
        }
        for unit in relation.members(call.unit).keys() {
            ends[remote.seen(unit)] = entry(&of_unit(unit));
        }
    }
    Ok(Output::Value(json!({"units": units, "relations": relations})))
}
