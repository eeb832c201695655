//! Actions: the check of their parameters, and what comes of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What `juju run` tells of an action that has run.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionResult {
    /// `completed`, `failed` or `aborted`.
    pub status: String,
    /// Why it failed; empty where it did not.
    pub message: String,
    /// What the action set, `return-code`, and `stdout` and `stderr` where they are not empty.
    pub results: Map<String, Value>,
    /// What the action logged with `action-log`.
    pub log: Vec<String>,
}

/// An action on its way.
#[derive(Clone)]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) parameters: Value,
    pub(super) log: Vec<String>,
    pub(super) result: Option<ActionResult>,
}

/// What an action has said through its tools while it runs.
#[derive(Default)]
pub(super) struct ActionAnswers {
    pub(super) results: Map<String, Value>,
    pub(super) failed: Option<String>,
}

/// Refuses what Juju refuses when it reads the charm.
pub(super) fn check_action(name: &str, schema: &Value) -> Result<(), String> {
    if let Some(key) = forbidden(schema) {
        return Err(format!("schema key {key:?} not compatible with this version of juju"));
    }
    jsonschema::draft4::options()
        .build(schema)
        .map(drop)
        .map_err(|error| format!("invalid params schema for action schema {name}: {error}"))
}

fn forbidden(value: &Value) -> Option<&'static str> {
    match value {
        Value::Object(map) => ["$schema", "$ref"]
            .into_iter()
            .find(|key| map.contains_key(*key))
            .or_else(|| map.values().find_map(forbidden)),
        Value::Array(list) => list.iter().find_map(forbidden),
        _ => None,
    }
}

/// Validates parameters, and only then fills defaults in.
pub(super) fn parameters(schema: &Value, given: Value) -> Result<Value, String> {
    let validator = jsonschema::draft4::options().build(schema).map_err(|error| error.to_string())?;
    let errors: Vec<_> = validator
        .iter_errors(&given)
        .map(|error| {
            let path = error.instance_path().to_string().replace('/', ".");
            format!("(root){path} : {error}")
        })
        .collect();
    if !errors.is_empty() {
        return Err(format!("validation failed: {}", errors.join("; ")));
    }
    let mut given = given;
    fill_defaults(schema, &mut given);
    Ok(given)
}

fn fill_defaults(schema: &Value, given: &mut Value) {
    let (Some(properties), Some(given)) =
        (schema.get("properties").and_then(Value::as_object), given.as_object_mut())
    else {
        return;
    };
    for (name, property) in properties {
        if let Some(default) = property.get("default") {
            given.entry(name).or_insert_with(|| default.clone());
        } else if property.get("properties").is_some() {
            let mut inner = given.get(name).cloned().unwrap_or_else(|| Value::Object(Map::new()));
            fill_defaults(property, &mut inner);
            if given.contains_key(name) || inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                given.insert(name.clone(), inner);
            }
        }
    }
}

/// What the agent reports once the program has ended.
pub(super) fn result(
    action: &Action,
    answers: ActionAnswers,
    exit: Option<i32>,
    output: &BTreeMap<&'static str, Vec<u8>>,
) -> ActionResult {
    let Some(code) = exit else {
        let (status, message) = ("failed".to_owned(), "action terminated".to_owned());
        return ActionResult { status, message, results: Map::new(), log: action.log.clone() };
    };
    let mut results = answers.results;
    results.insert("return-code".into(), code.into());
    for (stream, bytes) in output.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let text = String::from_utf8(bytes.clone()).unwrap_or_else(|_| {
            results.insert(format!("{stream}-encoding"), "base64".into());
            openssl::base64::encode_block(bytes)
        });
        results.insert((*stream).to_owned(), text.into());
    }
    let failed = if code == 0 { answers.failed } else { Some(format!("exit status {code}")) };
    let status = if failed.is_some() { "failed" } else { "completed" }.to_owned();
    ActionResult { status, message: failed.unwrap_or_default(), results, log: action.log.clone() }
}
