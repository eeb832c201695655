//! What the Canonical Observability Stack is told: a metrics job, alert rules and dashboards, in the shape of the interface
//! `cos_agent`.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::command::{Ran, run};
use crate::daemon::METRICS_PORT;
use crate::event::Event;
use crate::files::FileError;
use crate::status::chain;

/// What stands in a rule for the labels that tell one application's series from others'.
const TOPOLOGY: &str = "%%juju_topology%%";

/// What the unit tells an observer.
///
/// # Errors
/// Where the charm's files cannot be read, or not be packed.
pub fn config(event: &Event) -> Result<String, String> {
    let folder = event.charm_dir.join("cos");
    let mut groups = Vec::new();
    for path in files(&folder.join("prometheus_alert_rules")).map_err(|error| chain(&error))? {
        groups.extend(alert_groups(event, &path)?);
    }
    let mut dashboards = Vec::new();
    for path in files(&folder.join("grafana_dashboards")).map_err(|error| chain(&error))? {
        // Packed as Python's lzma does it, of which observers know no other.
        let packed = run("xz", &["--stdout".as_ref(), path.as_os_str()], &[], None).and_then(Ran::ok);
        dashboards.push(STANDARD.encode(packed.map_err(|error| chain(&error))?.into_stdout()));
    }
    let config = json!({
        "metrics_alert_rules": if groups.is_empty() { json!({}) } else { json!({"groups": groups}) },
        "log_alert_rules": {},
        "dashboards": dashboards,
        "metrics_scrape_jobs": [{
            "job_name": format!("{}_0_default", event.application()),
            "metrics_path": "/metrics",
            "static_configs": [{"targets": [format!("localhost:{METRICS_PORT}")]}],
        }],
        "log_slots": [],
    });
    Ok(config.to_string())
}

/// The groups of rules in a file, for this application's series only.
fn alert_groups(event: &Event, path: &Path) -> Result<Vec<Value>, String> {
    let labels = [
        ("juju_model", event.model.as_str()),
        ("juju_model_uuid", &event.model_uuid),
        ("juju_application", event.application()),
    ];
    let topology = labels.map(|(name, value)| format!("{name}=\"{value}\"")).join(", ");
    let text = fs::read_to_string(path).map_err(|error| chain(&FileError::new("read", path)(error)))?;
    let rules: Map<String, Value> = aar_config::from_yaml(&text, path).map_err(|error| chain(&error))?;
    let mut groups = rules.get("groups").and_then(Value::as_array).cloned().unwrap_or_default();
    for group in &mut groups {
        for rule in group.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(Value::String(expression)) = rule.get_mut("expr") {
                *expression = expression.replace(TOPOLOGY, &topology);
            }
            for (name, value) in labels {
                rule["labels"][name] = value.into();
            }
            rule["labels"]["juju_charm"] = "aar".into();
        }
    }
    Ok(groups)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::new("read", folder))?,
    };
    let mut found: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.sort();
    Ok(found)
}
