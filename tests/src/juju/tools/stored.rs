//! State that the controller keeps for a unit, and secrets, of which there are none.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::charm::yaml;
use super::arguments::{Arguments, pairs};
use super::{Call, Output, Result, failed, usage};

const LONGEST_KEY: usize = 256;
const LONGEST_VALUE: usize = 64 << 10;

pub(super) fn get(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let key = arguments.at_most(1)?.first();
    let state = &call.context().state;
    Ok(Output::Value(match key.map(String::as_str).filter(|key| *key != "-") {
        None => {
            let smart = arguments.option("format").is_none_or(|(_, format)| format != "json");
            if state.is_empty() && !smart { Value::Null } else { serde_json::to_value(state).unwrap() }
        }
        Some(key) => match state.get(key) {
            Some(value) => value.as_str().into(),
            None if arguments.flag("strict") => return failed(format!("{key:?} not found")),
            None => "".into(),
        },
    }))
}

pub(super) fn set(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let given = values(call, arguments)?;
    for (key, value) in &given {
        if key.len() > LONGEST_KEY {
            return failed(format!("max allowed key length ({LONGEST_KEY}) exceeded"));
        }
        if value.len() > LONGEST_VALUE {
            return failed(format!("max allowed value length ({LONGEST_VALUE}) exceeded"));
        }
    }
    call.context_mut().state.extend(given);
    Ok(Output::Nothing)
}

pub(super) fn delete(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let Some(key) = arguments.at_most(1)?.first() else { return usage("no key specified") };
    call.context_mut().state.remove(key);
    Ok(Output::Nothing)
}

/// What arguments and `--file` say together.
pub(super) fn values(call: &Call, arguments: &Arguments) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    if let Some((_, file)) = arguments.option("file") {
        let content = yaml(&call.file(file)?).or_else(failed)?;
        for (key, value) in content.as_object().into_iter().flatten() {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                Value::Object(_) | Value::Array(_) => {
                    return failed(format!("cannot unmarshal the value of {key:?} into a string"));
                }
                other => other.to_string(),
            };
            found.insert(key.clone(), text);
        }
    }
    found.extend(pairs(&arguments.rest)?);
    Ok(found)
}

pub(super) fn secret(_: &mut Call, arguments: &Arguments) -> Result<Output> {
    match (arguments.at_most(2)?.first(), arguments.option("label")) {
        (None, None) => usage("require either a secret URI or label"),
        (Some(uri), _) => failed(format!("secret {uri:?} not found")),
        (None, Some((_, label))) => failed(format!("consumer label {label:?} not found")),
    }
}
