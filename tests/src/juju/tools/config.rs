//! `config-get`.

use serde_json::Value;

use super::arguments::Arguments;
use super::{Call, Output, Result, usage};

pub(super) fn get(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let settings = &call.context().settings;
    Ok(Output::Value(match arguments.at_most(1)? {
        [key, ..] if arguments.flag("all") => {
            return usage(format!("cannot use argument --all together with key {key:?}"));
        }
        [key, ..] => settings.get(key).cloned().unwrap_or_default(),
        [] if arguments.flag("all") => Value::Object(settings.clone()),
        [] => settings
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }))
}
