//! Relations: which there are, who takes part, and their data.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::context::is_unit;
use super::super::relations::{Data, application, overlay};
use super::arguments::Arguments;
use super::stored::values;
use super::{Call, Output, Result, failed, usage};

/// The relation that `-r` names, or the hook's own.
pub(super) fn given(call: &Call, arguments: &Arguments) -> Result<Option<u32>> {
    let Some((name, value)) = arguments.option("relation") else { return Ok(call.context().hook.relation()) };
    let number = value.rsplit(':').next().unwrap_or_default();
    let known = match number.parse() {
        Err(_) => Err("invalid relation id"),
        Ok(id) if call.state.unit(call.unit).agent.relations.contains_key(&id) => Ok(id),
        Ok(_) => Err("relation not found"),
    };
    known.map(Some).or_else(|why| usage(format!("invalid value {value:?} for option {name}: {why}")))
}

fn needed(call: &Call, arguments: &Arguments) -> Result<u32> {
    given(call, arguments)?.map_or_else(|| usage("no relation id specified"), Ok)
}

pub(super) fn ids(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let own = call.context().hook.relation();
    let own = own.map(|id| call.state.relations[&id].own(application(call.unit)).endpoint.name.clone());
    let Some(endpoint) = arguments.at_most(1)?.first().cloned().or(own) else {
        return usage("no endpoint name specified");
    };
    let broken = broken(call);
    let relations = call.state.unit(call.unit).agent.relations.iter();
    let mut found: Vec<_> = relations
        .filter(|(id, told)| !told.broken && Some(**id) != broken)
        .filter(|(id, _)| call.state.relations[id].own(application(call.unit)).endpoint.name == endpoint)
        .map(|(id, _)| format!("{endpoint}:{id}"))
        .collect();
    found.sort();
    Ok(Output::Value(json!(found)))
}

/// The relation that is broken by the hook that runs.
fn broken(call: &Call) -> Option<u32> {
    use super::super::context::{Hook, RelationHook};
    match &call.context().hook {
        Hook::Relation { kind: RelationHook::Broken, id, .. } => Some(*id),
        _ => None,
    }
}

pub(super) fn list(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    arguments.at_most(0)?;
    let id = needed(call, arguments)?;
    let relation = &call.state.relations[&id];
    let remote = relation.remote(application(call.unit));
    if arguments.flag("app") {
        return Ok(Output::Value(remote.seen_as.as_str().into()));
    }
    // Who has been told to have joined, and who is joining.
    let context = call.context();
    let joining = context.remote_unit().filter(|_| context.hook.relation() == Some(id) && !departs(call));
    let told = &call.state.unit(call.unit).agent.relations[&id].members;
    let members = told.keys().map(String::as_str).chain(joining);
    let gone = context.remote_unit().filter(|_| context.hook.relation() == Some(id) && departs(call));
    let mut found: Vec<_> =
        members.filter(|unit| Some(*unit) != gone).map(|unit| remote.seen(unit)).collect();
    found.sort();
    found.dedup();
    Ok(Output::Value(json!(found)))
}

fn departs(call: &Call) -> bool {
    use super::super::context::{Hook, RelationHook};
    matches!(&call.context().hook, Hook::Relation { kind: RelationHook::Departed, .. })
}

pub(super) fn model(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    arguments.at_most(0)?;
    let id = needed(call, arguments)?;
    let remote = call.state.relations[&id].remote(application(call.unit));
    // An application of another model carries that in its name.
    let uuid = remote.seen_as.strip_prefix("remote-").unwrap_or(&call.state.uuid);
    Ok(Output::Value(json!({"uuid": uuid})))
}

pub(super) fn get(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let id = needed(call, arguments)?;
    let rest = arguments.at_most(2)?;
    let key = rest.first().map(String::as_str).filter(|key| !["", "-"].contains(key));
    let mut of_application = arguments.flag("app");
    let hook_is_here = call.context().hook.relation() == Some(id);
    let relation = &call.state.relations[&id];
    let remote = relation.remote(application(call.unit));
    let of = match rest.get(1) {
        Some(name) => name.clone(),
        None => match call.context().remote_unit().filter(|_| hook_is_here) {
            Some(unit) if !of_application => remote.seen(unit),
            _ if hook_is_here => {
                of_application = true;
                remote.seen_as.clone()
            }
            _ => return usage("no unit or application specified"),
        },
    };
    if of_application {
        let name = if is_unit(&of) { application(&of).to_owned() } else { of };
        return Ok(Output::Value(pick(key, &application_data(call, id, &name)?)));
    }
    if !is_unit(&of) {
        let known = of == remote.seen_as || of == application(call.unit);
        return usage(if known {
            format!("expected unit name, got application name {of:?}")
        } else {
            format!("invalid unit name {of:?}")
        });
    }
    Ok(Output::Value(pick(key, &unit_data(call, id, &of)?)))
}

fn pick(key: Option<&str>, data: &Data) -> Value {
    match key {
        Some(key) => data.get(key).map_or(Value::Null, |value| value.as_str().into()),
        None => json!(data),
    }
}

fn unit_data(call: &Call, id: u32, name: &str) -> Result<Data> {
    let relation = &call.state.relations[&id];
    let own = relation.own(application(call.unit));
    if name == call.unit {
        let mut data = own.units.get(name).map(|member| member.bag.data.clone()).unwrap_or_default();
        overlay(&mut data, call.context().relation_changes.get(&(id, false)).into_iter().flatten());
        return Ok(data);
    }
    let remote = relation.remote(application(call.unit));
    match remote.own_name(name).and_then(|unit| remote.units.get(&unit)) {
        Some(member) => Ok(member.bag.data.clone()),
        None => failed(format!(
            "cannot read settings for unit {name:?} in relation {:?}: unit {name:?}: settings not found",
            relation.key()
        )),
    }
}

fn application_data(call: &Call, id: u32, name: &str) -> Result<Data> {
    let relation = &call.state.relations[&id];
    if name == application(call.unit) {
        if !call.state.is_leader(call.unit) && !relation.is_peer() {
            return failed("permission denied");
        }
        let mut data = relation.own(name).bag.data.clone();
        overlay(&mut data, call.context().relation_changes.get(&(id, true)).into_iter().flatten());
        return Ok(data);
    }
    let remote = relation.remote(application(call.unit));
    if name == remote.seen_as {
        Ok(remote.bag.data.clone())
    } else {
        failed(format!(
            "cannot read settings for application {name:?} in relation {:?}: settings not found",
            relation.key()
        ))
    }
}

pub(super) fn set(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let id = needed(call, arguments)?;
    let given = values(call, arguments)?;
    let of_application = arguments.flag("app");
    if of_application && !call.state.is_leader(call.unit) {
        return failed("cannot write relation settings");
    }
    let changes = call.context_mut().relation_changes.entry((id, of_application)).or_default();
    changes
        .extend(given.into_iter().map(|(key, value)| (key, Some(value).filter(|value| !value.is_empty()))));
    Ok(Output::Nothing)
}

/// The settings of the leader live with the application.
pub(super) fn leader_get(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let key = arguments.at_most(1)?.first().map(String::as_str).filter(|key| *key != "-");
    Ok(Output::Value(pick(key, &call.state.application_of(call.unit).leader_settings)))
}

pub(super) fn leader_set(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let given = values(call, arguments)?;
    if !call.state.is_leader(call.unit) {
        return failed("cannot write leadership settings: cannot write settings: not the leader");
    }
    let changes: BTreeMap<_, _> =
        given.into_iter().map(|(key, value)| (key, Some(value).filter(|value| !value.is_empty()))).collect();
    let name = application(call.unit);
    overlay(&mut call.state.applications.get_mut(name).unwrap().leader_settings, &changes);
    Ok(Output::Nothing)
}
