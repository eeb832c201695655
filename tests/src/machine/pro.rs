//! The test's side of the stand-in for Ubuntu Pro's client.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::machine::Machine;

/// Directory of the client's own state.
const STATE: &str = "var/lib/ubuntu-advantage/private";

/// Ubuntu Pro's client on a machine, and the contract server that it would ask.
pub struct Pro<'a> {
    machine: &'a Machine,
}

/// A call of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProCall {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The command lines of all processes of the machine at that time.
    pub processes: Vec<String>,
}

impl<'a> Pro<'a> {
    pub(super) fn new(machine: &'a Machine) -> Self {
        Self { machine }
    }

    /// From now on, the server knows these tokens and no others.
    pub fn accept(&self, tokens: &[&str]) {
        self.write("server.json", &json!({ "tokens": tokens }));
    }

    /// From now on, the server cannot be reached.
    pub fn cut_off(&self) {
        self.write("server.json", &json!({ "offline": true }));
    }

    /// Another run of the client holds its lock, or does not any more.
    pub fn hold_lock(&self, held: bool) {
        if held {
            self.write("lock", &json!({"holder": "pro.daemon.attempt_auto_attach", "pid": 1}));
        } else {
            fs::remove_file(self.path("lock")).unwrap();
        }
    }

    /// The token that the machine is attached with.
    pub fn attached(&self) -> Option<String> {
        self.token().map(|token| token["machineToken"].as_str().unwrap().to_owned())
    }

    /// The services that the client has enabled.
    pub fn services(&self) -> Vec<String> {
        let token = self.token().unwrap_or_default();
        let services = token["services"].as_array().into_iter().flatten();
        services.map(|service| service.as_str().unwrap().to_owned()).collect()
    }

    /// All calls that there were.
    pub fn calls(&self) -> Vec<ProCall> {
        let log = fs::read_to_string(self.path("calls.jsonl")).unwrap_or_default();
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let calls = log.lines().map(|line| {
            let call: Value = serde_json::from_str(line).unwrap();
            ProCall { arguments: texts(&call["arguments"]), processes: texts(&call["processes"]) }
        });
        calls.collect()
    }

    fn token(&self) -> Option<Value> {
        let text = fs::read_to_string(self.path("machine-token.json")).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.machine.root().join(STATE).join(name)
    }

    fn write(&self, name: &str, value: &Value) {
        fs::create_dir_all(self.machine.root().join(STATE)).unwrap();
        fs::write(self.path(name), value.to_string()).unwrap();
    }
}
