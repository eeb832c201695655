//! Juju's hook tools: JSON in and out.
//!
//! Each call costs some 50 ms on a real agent, most of which it takes to start: what is asked for anyway is asked side by
//! side, which the agent, that carries out one call after the other, allows. That a tool fails that should not is a bug, or
//! the agent going away: the hook fails, and is run again.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::command::{CommandError, Question, Started, run, spawn};
use crate::status::Status;

type Result<T> = std::result::Result<T, CommandError>;

/// What units tell each other: text by key.
pub type Data = BTreeMap<String, String>;

/// The whole configuration, without what is not set.
pub fn config() -> Result<Question<Map<String, Value>>> {
    ask("config-get", &[])
}

/// What there is, or will be: units with their states, and relations.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct GoalState {
    /// The units of the application, this one too, with their states.
    pub units: BTreeMap<String, Goal>,
    /// The related applications and units by endpoint. Relations that another model made to an offer are not there.
    pub relations: BTreeMap<String, BTreeMap<String, Goal>>,
}

/// How a unit or an application is to be.
#[derive(Debug, serde::Deserialize)]
pub struct Goal {
    /// `dying` where it is about to go.
    pub status: String,
}

/// What Juju wants.
pub fn goal_state() -> Result<Question<GoalState>> {
    ask("goal-state", &[])
}

/// What the unit has remembered, if anything.
pub fn state() -> Result<Question<Option<Data>>> {
    ask("state-get", &[])
}

/// Remembers, once the hook has succeeded.
pub fn state_set(values: &Data) -> Result<()> {
    give("state-set", &["--file", "-"], values)
}

/// The relations of an endpoint, as `client:7`.
pub fn relation_ids(endpoint: &str) -> Result<Question<Vec<String>>> {
    ask("relation-ids", &[endpoint])
}

/// The remote units of a relation.
pub fn relation_list(id: &str) -> Result<Vec<String>> {
    ask("relation-list", &["-r", id])?.answer()
}

/// What a unit tells in a relation; nothing where the unit is not there any more.
pub fn relation_get(id: &str, unit: &str) -> Result<Data> {
    let ran = call("relation-get", &["-r", id, "-", unit])?.wait()?;
    match ran.ok() {
        Ok(ran) => Ok(ran.json::<Option<Data>>()?.unwrap_or_default()),
        Err(CommandError::Failed { code: Some(1), said, .. }) if said.contains("settings not found") => {
            Ok(Data::new())
        }
        Err(error) => Err(error),
    }
}

/// Tells the other side, once the hook has succeeded.
pub fn relation_set(id: &str, values: &Data) -> Result<()> {
    give("relation-set", &["-r", id, "--file", "-"], values)
}

/// The unit's address for those who come from the network of an endpoint, or of a relation.
pub fn ingress_address(endpoint: &str, relation: Option<&str>) -> Result<String> {
    let mut arguments = vec![endpoint, "--ingress-address"];
    arguments.extend(relation.iter().flat_map(|id| ["-r", id]));
    ask("network-get", &arguments)?.answer()
}

/// Sets the unit's status, at once.
pub fn status_set(status: &Status) -> Result<()> {
    tell("status-set", &["--", status.word(), &status.message()])
}

/// Shows the version of what the charm runs, at once.
pub fn application_version_set(version: &str) -> Result<()> {
    tell("application-version-set", &["--", version])
}

/// Opens a TCP port, once the hook has succeeded.
pub fn open_port(port: u16) -> Result<()> {
    tell("open-port", &[&format!("{port}/tcp")])
}

/// Closes a TCP port, once the hook has succeeded.
pub fn close_port(port: u16) -> Result<()> {
    tell("close-port", &[&format!("{port}/tcp")])
}

/// The file of a resource; none where nothing is attached or it cannot be had.
pub fn resource_get(name: &str) -> Result<Option<String>> {
    // It knows no formats.
    let ran = run("resource-get", &[name], &[], None)?;
    Ok(ran.success().then(|| ran.stdout().trim_end().to_owned()))
}

/// An action's parameters.
pub fn action_get<T: DeserializeOwned>() -> Result<T> {
    ask("action-get", &[])?.answer()
}

/// Adds results to an action's, by dotted keys.
pub fn action_set(results: &[(String, String)]) -> Result<()> {
    let arguments: Vec<_> = results.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if arguments.is_empty() {
        return Ok(());
    }
    tell("action-set", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Says that an action has failed.
pub fn action_fail(message: &str) -> Result<()> {
    tell("action-fail", &["--", message])
}

fn ask<T>(tool: &str, arguments: &[&str]) -> Result<Question<T>> {
    call(tool, arguments).map(Started::asks)
}

fn tell(tool: &str, arguments: &[&str]) -> Result<()> {
    run(tool, arguments, &[], None)?.ok().map(drop)
}

/// Through standard input, where white space stays and length does not matter.
fn give(tool: &str, arguments: &[&str], values: &Data) -> Result<()> {
    // JSON is YAML.
    let file: Value = values.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect();
    run(tool, arguments, &[], Some(file.to_string().as_bytes()))?.ok().map(drop)
}

fn call(tool: &str, arguments: &[&str]) -> Result<Started> {
    let arguments: Vec<_> = ["--format=json"].iter().chain(arguments).collect();
    spawn(tool, &arguments, &[], None)
}
