//! Storage and resources.

use std::fs;

use serde_json::{Value, json};

use super::super::context::Hook;
use super::super::relations::application;
use super::arguments::Arguments;
use super::{Call, Output, Result, failed, usage};

pub(super) fn get(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let key = arguments.at_most(1)?.first();
    let own = match &call.context().hook {
        Hook::StorageAttached(id) | Hook::StorageDetaching(id) => Some(id.clone()),
        _ => None,
    };
    let Some(id) = arguments.option("s").map(|(_, id)| id.to_owned()).or(own) else {
        return usage("no storage instance specified");
    };
    let Some(storage) = call.state.unit(call.unit).storage.get(&id) else {
        return failed(format!("storage {id:?} not found"));
    };
    let found = json!({"kind": "filesystem", "location": storage.location});
    match key {
        None => Ok(Output::Value(found)),
        Some(key) => match found.get(key) {
            Some(value) => Ok(Output::Value(value.clone())),
            None => failed(format!("invalid storage attribute {key:?}")),
        },
    }
}

pub(super) fn list(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let name = arguments.at_most(1)?.first();
    let ids = call.state.unit(call.unit).storage.keys();
    let ids = ids.filter(|id| name.is_none_or(|name| application(id) == name));
    Ok(Output::Value(ids.map(|id| Value::from(id.as_str())).collect()))
}

pub(super) fn add(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    if arguments.rest.is_empty() {
        return usage("storage add requires a storage directive");
    }
    let mut added = Vec::new();
    for argument in &arguments.rest {
        let (name, count) = argument.split_once('=').unwrap_or((argument, "1"));
        let Ok(count) = count.parse() else { return usage(format!("cannot parse count {count:?}")) };
        if !call.state.unit(call.unit).charm.storage.contains_key(name) {
            return failed(format!("charm storage {name:?} not found"));
        }
        added.extend(std::iter::repeat_n(name.to_owned(), count));
    }
    call.context_mut().new_storage.extend(added);
    Ok(Output::Nothing)
}

pub(super) fn resource(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let Some(name) = arguments.at_most(1)?.first() else { return usage("missing required resource name") };
    let unit = call.state.unit(call.unit);
    let file = unit.charm.resources.get(name);
    let source = call.state.application_of(call.unit).resources.get(name);
    let (Some(file), Some(source)) = (file, source) else {
        return failed(format!("could not download resource: resource {name:?} not found"));
    };
    let target = unit.agent_directory(call.unit).join("resources").join(name).join(file);
    let copied = fs::create_dir_all(target.parent().unwrap()).and_then(|()| fs::copy(source, &target));
    match copied {
        // Without a line's end.
        Ok(_) => Ok(Output::Text(unit.inside(&target).display().to_string())),
        Err(error) => failed(format!("could not download resource: {error}")),
    }
}
