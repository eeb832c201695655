//! `action-get`, `action-set`, `action-fail`, `action-log`.

use serde_json::{Map, Value};

use super::super::actions::ActionAnswers;
use super::super::context::Hook;
use super::arguments::Arguments;
use super::{Call, Output, Result, failed, usage};

/// Keys of results that are the agent's own.
const RESERVED: [&str; 4] = ["stdout", "stdout-encoding", "stderr", "stderr-encoding"];

fn running<'a>(call: &'a mut Call) -> Result<&'a mut (Value, ActionAnswers)> {
    call.context_mut().action.as_mut().map_or_else(|| failed("not running an action"), Ok)
}

pub(super) fn get(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let path = arguments.at_most(1)?;
    let (parameters, _) = running(call)?;
    let mut keys = path.iter().flat_map(|path| path.split('.'));
    let value = keys.try_fold(&*parameters, |value, key| value.get(key));
    Ok(Output::Value(value.cloned().unwrap_or_default()))
}

pub(super) fn set(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let mut found = Vec::new();
    for argument in &arguments.rest {
        let Some((path, value)) = argument.split_once('=') else {
            return usage(format!("argument {argument:?} must be of the form key...=value"));
        };
        let path: Vec<_> = path.split('.').collect();
        for key in &path {
            if RESERVED.contains(key) {
                return usage(format!("cannot set reserved action key {key:?}"));
            }
            if !valid(key) {
                return usage(format!(
                    "key {key:?} must start and end with lowercase alphanumeric, and contain only lowercase alphanumeric and hyphens"
                ));
            }
        }
        found.push((path, value));
    }
    let (_, answers) = running(call)?;
    for (path, value) in found {
        insert(&mut answers.results, &path, value);
    }
    Ok(Output::Nothing)
}

/// Whether a key is `^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$`.
fn valid(key: &str) -> bool {
    key.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
        && !key.is_empty()
        && !key.starts_with('-')
        && !key.ends_with('-')
}

fn insert(results: &mut Map<String, Value>, path: &[&str], value: &str) {
    match path {
        [] => {}
        [key] => drop(results.insert((*key).into(), value.into())),
        [key, rest @ ..] => {
            let inner = results.entry(*key).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            insert(inner.as_object_mut().unwrap(), rest, value);
        }
    }
}

pub(super) fn fail(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let message = arguments.at_most(1)?.first();
    let message =
        message.map_or("action failed without reason given, check action for errors", String::as_str);
    running(call)?.1.failed = Some(message.to_owned());
    Ok(Output::Nothing)
}

pub(super) fn log(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    running(call)?;
    if arguments.rest.is_empty() {
        return usage("no message specified");
    }
    if let Hook::Action(id) = call.context().hook {
        call.state.actions.get_mut(&id).unwrap().log.push(arguments.rest.join(" "));
    }
    Ok(Output::Nothing)
}
