//! The charm `ams`: shows a certificate of its own on its relations with a registry, and its actions talk to the registry
//! under that certificate, pinned by what the relation says.

#![allow(clippy::unwrap_used, reason = "a stand-in that cannot go on fails its hook")]

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use aar_model::Fingerprint;
use aar_tests::{Person, binary};
use openssl::x509::X509;
use serde_json::{Map, Value, json};

const ENDPOINTS: [&str; 2] = ["registry-publisher", "registry-client"];
const CERTIFICATE: &str = "ams.crt";
const KEY: &str = "ams.key";

fn main() -> ExitCode {
    let path = env::var("JUJU_DISPATCH_PATH").unwrap();
    let outcome = match path.strip_prefix("actions/") {
        Some(action) => act(action),
        None => reconcile(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Every event ends in the same place: the certificate is on every relation, and the status says which registries are known.
fn reconcile() -> Result<(), String> {
    if !Path::new(CERTIFICATE).exists() {
        Person::new(Path::new("."), "ams");
    }
    let config = ask(&["config-get", "--format=json"])?;
    let certificate = fs::read_to_string(CERTIFICATE).unwrap();
    let (mut known, mut problem) = (Vec::new(), None);
    for endpoint in ENDPOINTS {
        for relation in relations(endpoint)? {
            let mode = match config["mode"].as_str().unwrap_or_default() {
                "" => endpoint.trim_start_matches("registry-"),
                mode => mode,
            };
            let dialect = config["dialect"].as_str().unwrap_or_default();
            let data = json!({ "certificate": write(dialect, &certificate), "mode": write(dialect, mode) });
            tell(&["relation-set", "-r", &relation, "--file", "-"], &data.to_string())?;
            match Registry::of(&relation) {
                Ok(Some(registry)) => known.push(registry.url),
                Ok(None) => {}
                Err(error) => problem = Some(error),
            }
        }
    }
    let (status, message) = match (problem, known.is_empty()) {
        (Some(problem), _) => ("blocked", problem),
        (None, true) => ("waiting", "no registry yet".to_owned()),
        (None, false) => ("active", known.join(" ")),
    };
    tell(&["status-set", "--", status, &message], "")
}

fn write(dialect: &str, value: &str) -> String {
    match dialect {
        "json" => json!(value).to_string(),
        "escaped" => value.replace('\n', "\\n"),
        _ => value.to_owned(),
    }
}

/// An action that cannot do its work has failed, and its hook has not.
fn act(action: &str) -> Result<(), String> {
    match carry_out(action) {
        Ok(results) => {
            let results: Vec<_> = results.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let mut call = vec!["action-set", "--"];
            call.extend(results.iter().map(String::as_str));
            tell(&call, "")
        }
        Err(error) => tell(&["action-fail", "--", &error], ""),
    }
}

fn carry_out(action: &str) -> Result<Vec<(&'static str, String)>, String> {
    let parameters = ask(&["action-get", "--format=json"])?;
    let text = |key: &str| parameters[key].as_str().unwrap_or_default();
    let endpoints = ENDPOINTS.iter().filter(|endpoint| ["", endpoint].contains(&text("endpoint")));
    let mut registry = None;
    for endpoint in endpoints {
        for relation in relations(endpoint)? {
            registry = registry.or(Registry::of(&relation)?);
        }
    }
    let registry = registry.ok_or("there is no registry yet")?;
    let version = parameters["version"].to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    match action {
        "list" => {
            let listed = registry.aar(&["list", "--format", "json"])?;
            let listed: Value = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
            let names = listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
            Ok(vec![("applications", names.collect::<Vec<_>>().join(" "))])
        }
        "push" => {
            fs::write(path, text("content")).unwrap();
            registry.aar(&["push", text("name"), &version, path, "--architecture", "x86_64"])?;
            Ok(vec![("registry", registry.url)])
        }
        "pull" => {
            registry.aar(&["pull", text("name"), &version, "--output", path])?;
            Ok(vec![("content", fs::read_to_string(path).unwrap()), ("registry", registry.url)])
        }
        _ => Err(format!("there is no action {action}")),
    }
}

/// A registry as it shows itself on a relation.
struct Registry {
    url: String,
    fingerprint: String,
}

impl Registry {
    /// The first unit that says all that is needed.
    fn of(relation: &str) -> Result<Option<Self>, String> {
        let units = ask(&["relation-list", "-r", relation, "--format=json"])?;
        for unit in units.as_array().unwrap() {
            let data = ask(&["relation-get", "-r", relation, "--format=json", "-", unit.as_str().unwrap()])?;
            let data = data.as_object().cloned().unwrap_or_else(Map::new);
            let text = |key: &str| data.get(key).and_then(Value::as_str);
            let (Some(certificate), Some(fingerprint), Some(ip), Some(port)) =
                (text("certificate"), text("fingerprint"), text("ip"), text("port"))
            else {
                continue;
            };
            let shown = X509::from_pem(certificate.as_bytes())
                .map_err(|error| format!("{} shows no certificate: {error}", unit.as_str().unwrap()))?;
            let actual = Fingerprint::of(&shown.to_der().unwrap()).to_string();
            if actual != fingerprint {
                return Err(format!("the fingerprint is {fingerprint}, the certificate's {actual}"));
            }
            let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
            return Ok(Some(Self { url: format!("https://{host}:{port}"), fingerprint: actual }));
        }
        Ok(None)
    }

    /// Runs `aar application` under the certificate that the registry was shown.
    fn aar(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(binary("aar"));
        command.args(["application", "--registry", &self.url, "--fingerprint", &self.fingerprint]);
        command.args(["--cert", CERTIFICATE, "--key", KEY]).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(failure("aar", &output)) }
    }
}

fn relations(endpoint: &str) -> Result<Vec<String>, String> {
    let found = ask(&["relation-ids", "--format=json", endpoint])?;
    Ok(found.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect())
}

/// What a hook tool answers.
fn ask(call: &[&str]) -> Result<Value, String> {
    let output = run(call, "");
    if output.status.success() {
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{call:?}: {error}"))
    } else {
        Err(failure(call[0], &output))
    }
}

/// Has a hook tool do something.
fn tell(call: &[&str], input: &str) -> Result<(), String> {
    let output = run(call, input);
    if output.status.success() { Ok(()) } else { Err(failure(call[0], &output)) }
}

fn run(call: &[&str], input: &str) -> Output {
    let mut command = Command::new(call[0]);
    command.args(&call[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A tool that reads nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn failure(program: &str, output: &Output) -> String {
    format!("{program} ended with {}: {}", output.status, text(&output.stderr).trim())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
