//! A stand-in for `pro`, the client of Ubuntu Pro, on a machine of the tests: arguments, exit codes, texts and JSON are the
//! real one's (release 34), but a file stands for Canonical's contract server.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, process, thread};

use clap::{Parser, ValueEnum};
use rustix::process::geteuid;
use serde_json::{Value, json};

const STATE: &str = "/var/lib/ubuntu-advantage/private";
const ACCOUNT: &str = "Anbox Tests";

/// How often a lock that is held is tried, and the pause between. The real client pauses for a second.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// What the client enables on Ubuntu where it is not told otherwise.
const DEFAULT_SERVICES: [&str; 2] = ["esm-apps", "esm-infra"];

#[derive(Parser)]
#[command(name = "pro")]
enum Command {
    Attach {
        token: Option<String>,
        #[arg(long)]
        no_auto_enable: bool,
        #[arg(long)]
        attach_config: Option<PathBuf>,
        #[arg(long, default_value = "cli")]
        format: Format,
    },
    Detach {
        #[arg(long)]
        assume_yes: bool,
        #[arg(long, default_value = "cli")]
        format: Format,
    },
    Status {
        /// Only what programs read.
        #[arg(long, value_parser = ["json"], required = true)]
        format: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Cli,
    Json,
}

/// An error as the client knows it: what programs and people are told, and its exit code.
struct Failure {
    code: &'static str,
    message: String,
    exit: u8,
}

fn failure(code: &'static str, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into(), exit: 1 }
}

fn unexpected(error: &io::Error) -> Failure {
    failure("unexpected-error", format!("An unexpected error occurred: {error}"))
}

fn main() -> ExitCode {
    log_call();
    match Command::parse() {
        Command::Attach { token, no_auto_enable, attach_config, format } => {
            // Python's argparse opens the file, so that a missing one is a wrong argument.
            let config = match attach_config.map(|path| fs::read_to_string(&path).map(|text| (path, text))) {
                Some(Err(error)) => {
                    eprintln!("pro: error: argument --attach-config: can't open: {error}");
                    return ExitCode::from(2);
                }
                Some(Ok(config)) => Some(config),
                None => None,
            };
            answer(format, attach(token, config, !no_auto_enable, format))
        }
        Command::Detach { assume_yes, format } => answer(format, detach(assume_yes, format)),
        Command::Status { .. } => {
            println!("{}", status());
            ExitCode::SUCCESS
        }
    }
}

fn attach(
    token: Option<String>,
    config: Option<(PathBuf, String)>,
    auto_enable: bool,
    format: Format,
) -> Result<Vec<String>, Failure> {
    if read("machine-token.json").is_some() {
        let message = format!(
            "This machine is already attached to '{ACCOUNT}'\nTo use a different subscription first run: sudo pro detach."
        );
        return Err(Failure { exit: 2, ..failure("already-attached", message) });
    }
    check_root()?;
    check_lock("pro attach")?;
    let (token, services) = match (token, config) {
        (Some(_), Some(_)) => {
            return Err(failure(
                "attach-token-xor-config",
                "Do not pass the TOKEN arg if you are using --attach-config.\n\
                 Include the token in the attach-config file instead.\n    ",
            ));
        }
        (None, None) if format == Format::Json => {
            let message = "This attach flow does not support --format with value: json";
            return Err(failure("magic-attach-invalid-param", message));
        }
        (None, None) => {
            return Err(failure(
                "magic-attach-service-unavailable",
                "Service unavailable, please try again later.",
            ));
        }
        (Some(token), None) => (token, None),
        (None, Some((path, text))) => parse_config(&path, &text)?,
    };
    let server = read("server.json").unwrap_or_default();
    if server["offline"] == true {
        let message = "Failed to attach machine. See https://ubuntu.com/pro/dashboard";
        return Err(failure("attach-failure", message));
    }
    let known = server["tokens"].as_array().is_some_and(|tokens| tokens.iter().any(|known| *known == *token));
    if !known {
        return Err(failure("attach-invalid-token", "Invalid token. See https://ubuntu.com/pro/dashboard"));
    }
    let services = match services {
        _ if !auto_enable => Vec::new(),
        Some(services) => services,
        None => DEFAULT_SERVICES.map(str::to_owned).into(),
    };
    write("machine-token.json", &json!({"machineToken": token, "services": services}))
        .map_err(|error| unexpected(&error))?;
    if format == Format::Cli {
        println!("This machine is now attached to '{ACCOUNT}'\n");
    }
    Ok(services)
}

/// The token and the services of an attach configuration.
fn parse_config(path: &Path, text: &str) -> Result<(String, Option<Vec<String>>), Failure> {
    let wrong = |error: &str| {
        failure("attach-config-read-error", format!("Error while reading {}:\n{error}", path.display()))
    };
    let wrong_type = |field: &str, expected: &str, got: &str| {
        wrong(&format!(
            "Got value with incorrect type for field {field:?}:\nExpected value with type {expected} but got type: {got}"
        ))
    };
    let value: Value = serde_yaml::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let token = value["token"]
        .as_str()
        .ok_or_else(|| wrong_type("token", "StringDataValue", kind(&value["token"])))?;
    let services = match &value["enable_services"] {
        Value::Null => None,
        Value::Array(list) => {
            let names: Option<Vec<_>> = list.iter().map(|name| name.as_str().map(str::to_owned)).collect();
            Some(names.ok_or_else(|| wrong("Got value with incorrect type for field \"enable_services\""))?)
        }
        other => return Err(wrong_type("enable_services", "list", kind(other))),
    };
    Ok((token.to_owned(), services))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

fn detach(assume_yes: bool, format: Format) -> Result<Vec<String>, Failure> {
    if format == Format::Json && !assume_yes {
        return Err(failure(
            "json-format-require-assume-yes",
            "json formatted response requires --assume-yes flag.",
        ));
    }
    check_root()?;
    let Some(token) = read("machine-token.json") else {
        return Err(failure(
            "unattached",
            "This machine is not attached to an Ubuntu Pro subscription.\nSee https://ubuntu.com/pro",
        ));
    };
    check_lock("pro detach")?;
    if !assume_yes {
        // It asks, and nobody is there to answer.
        return Err(failure("prompt-denied", "Operation cancelled by user"));
    }
    fs::remove_file(Path::new(STATE).join("machine-token.json")).map_err(|error| unexpected(&error))?;
    if format == Format::Cli {
        println!("This machine is now detached.");
    }
    let services = token["services"].as_array().into_iter().flatten();
    Ok(services.filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

fn status() -> Value {
    let token = read("machine-token.json");
    let attached = token.is_some();
    let enabled = token.unwrap_or_default()["services"].clone();
    let services = ["anbox-cloud", "esm-apps", "esm-infra", "livepatch"].map(|name| {
        let on = enabled.as_array().is_some_and(|enabled| enabled.iter().any(|it| it == name));
        let mut service = json!({"name": name, "description": name, "available": "yes"});
        if attached {
            service["entitled"] = "yes".into();
            service["status"] = if on { "enabled" } else { "disabled" }.into();
            service["status_details"] = "".into();
            service["description_override"] = Value::Null;
            service["blocked_by"] = json!([]);
        }
        service
    });
    let date = |text: &str| if attached { Value::from(text) } else { Value::Null };
    let names = if attached { ("aAtests", ACCOUNT, "cAtests", "Ubuntu Pro") } else { ("", "", "", "") };
    json!({
        "_doc": "Content provided in json response is currently considered Experimental and may change",
        "_schema_version": "0.1",
        "account": {"created_at": date("2023-01-01T00:00:00+00:00"), "external_account_ids": [], "id": names.0, "name": names.1},
        "attached": attached,
        "config": {"contract_url": "https://contracts.canonical.com", "data_dir": "/var/lib/ubuntu-advantage"},
        "config_path": "/etc/ubuntu-advantage/uaclient.conf",
        "contract": {"created_at": date("2023-01-01T00:00:00+00:00"), "id": names.2, "name": names.3, "products": [], "tech_support_level": "n/a"},
        "effective": date("2023-01-01T00:00:00+00:00"),
        "environment_vars": [],
        "errors": [],
        "execution_details": "No Ubuntu Pro operations are running",
        "execution_status": "inactive",
        "expires": date("9999-12-31T00:00:00+00:00"),
        "features": {},
        "machine_id": date("f2a5b1c4"),
        "notices": [],
        "result": "success",
        "services": services,
        "simulated": false,
        "version": "34~22.04",
        "warnings": [],
    })
}

/// Tells what came of an operation.
fn answer(format: Format, outcome: Result<Vec<String>, Failure>) -> ExitCode {
    if format == Format::Json {
        let (result, processed) = match &outcome {
            Ok(processed) => ("success", processed.clone()),
            Err(_) => ("failure", Vec::new()),
        };
        let errors: Vec<_> = outcome.as_ref().err().into_iter().map(|failure| {
            json!({"message": failure.message, "message_code": failure.code, "service": null, "type": "system"})
        }).collect();
        println!(
            "{}",
            json!({
                "_schema_version": "0.1", "errors": errors, "failed_services": [], "needs_reboot": false,
                "processed_services": processed, "result": result, "warnings": [],
            })
        );
    }
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => {
            if format == Format::Cli {
                eprintln!("{}", failure.message);
            }
            ExitCode::from(failure.exit)
        }
    }
}

fn check_root() -> Result<(), Failure> {
    if geteuid().is_root() {
        Ok(())
    } else {
        Err(failure("nonroot-user", "This command must be run as root (try using sudo)."))
    }
}

fn check_lock(request: &str) -> Result<(), Failure> {
    for _ in 0..TRIES {
        if read("lock").is_none() {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    let lock = read("lock").unwrap_or_default();
    let holder = lock["holder"].as_str().unwrap_or_default();
    let message =
        format!("Unable to perform: {request}.\nOperation in progress: {holder} (pid:{})", lock["pid"]);
    Err(failure("lock-held-error", message))
}

fn read(name: &str) -> Option<Value> {
    let text = fs::read_to_string(Path::new(STATE).join(name)).ok()?;
    serde_json::from_str(&text).ok()
}

fn write(name: &str, value: &Value) -> io::Result<()> {
    let path = Path::new(STATE).join(name);
    fs::create_dir_all(STATE)?;
    fs::write(&path, value.to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Writes down what everybody on the machine could see.
fn log_call() {
    let processes: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let arguments: Vec<_> = env::args().skip(1).collect();
    let line = json!({"arguments": arguments, "processes": processes, "pid": process::id()});
    let file = fs::create_dir_all(STATE).and_then(|()| {
        OpenOptions::new().create(true).append(true).mode(0o600).open(Path::new(STATE).join("calls.jsonl"))
    });
    // Who is not root may not write there, and is refused later.
    if let Ok(mut file) = file {
        let _ = writeln!(file, "{line}");
    }
}
