//! The daemon's file, out of the charm's options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aar_config::{Config, ConfigError, Secret, Storage};
use aar_model::Digest;
use serde::Serialize;

use super::places::{CONFIG, DATA};
use crate::options::Options;
use crate::status::chain;

/// Where metrics are served for an observer on the same machine.
pub const METRICS_PORT: u16 = 9464;

/// What stands above this line in the daemon's file is `storage_config`, at its own line numbers.
const DIVISION: &str =
    "# From here on: what the other options of the charm say. Change them by `juju config`.\n";

/// A daemon's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The file's text.
    pub text: Secret,
    /// Where the daemon listens.
    pub address: String,
    /// Where images are kept.
    pub storage: Kept,
}

/// Where images are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In [`DATA`].
    Data,
    /// In another directory of the machine.
    Directory(PathBuf),
    /// In a bucket.
    Bucket,
}

/// What of the daemon's file does not come from the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The network interfaces with their addresses.
    pub interfaces: BTreeMap<String, String>,
    /// Whether somebody wants metrics.
    pub metrics: bool,
}

/// Writes the daemon's file as the options want it.
///
/// # Errors
/// What has to be mended, naming the option.
pub fn render(options: &Options, around: &Surroundings) -> Result<Rendered, String> {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Generated<'a> {
        http: Address<'a>,
        log: Log<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metrics: Option<Address<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ua_token: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Address<'a> {
        addr: &'a str,
    }
    #[derive(Serialize)]
    struct Log<'a> {
        level: &'a str,
    }

    let port = options
        .port
        .as_ref()
        .map_err(|given| format!("port is 1 to 65535, not {given}: juju config aar port=3000"))?;
    let host = match &options.public_interface {
        None => "0.0.0.0",
        Some(name) => around.interfaces.get(name).ok_or_else(|| {
            let known: Vec<_> = around.interfaces.keys().map(String::as_str).collect();
            format!("public_interface: there is no `{name}` with an address here, only {}", known.join(", "))
        })?,
    };
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let storage_config = options.storage_config.as_ref().map(Secret::expose).unwrap_or_default();
    let storage = read_storage(storage_config)?;
    let metrics = format!("127.0.0.1:{METRICS_PORT}");
    let generated = aar_config::to_yaml(&Generated {
        http: Address { addr: &address },
        log: Log { level: &options.log_level },
        metrics: around.metrics.then_some(Address { addr: &metrics }),
        ua_token: options.ua_token.as_ref().map(Secret::expose),
    })
    .map_err(|error| chain(&error))?;
    let end = if storage_config.is_empty() { "" } else { "\n" };
    let text = format!("{storage_config}{end}{DIVISION}{generated}");
    // Whatever is wrong now is in what was generated: a mistake in an option.
    Config::parse(&text, Path::new("the options")).map_err(|error| match error {
        ConfigError::Invalid { key: Some(key), problem, .. } if key == "log.level" => {
            format!("log_level: {problem}")
        }
        other => chain(&other),
    })?;
    Ok(Rendered { text: text.into(), address, storage })
}

/// Reads `storage_config`, so that its mistakes are told with its own lines.
fn read_storage(text: &str) -> Result<Kept, String> {
    const OPTION: &str = "storage_config";
    let path = Path::new(OPTION);
    let placeholders = aar_config::placeholders(text);
    if !placeholders.is_empty() {
        let all: Vec<_> = placeholders.iter().map(|(key, text)| format!("{key} `{text}`")).collect();
        return Err(format!(
            "{OPTION} still has placeholders, put the real values there: {}",
            all.join(", ")
        ));
    }
    if text.trim_start().starts_with('{') {
        return Err(format!("{OPTION}: write one key a line, without braces around"));
    }
    let keys: serde_json::Map<String, serde_json::Value> =
        aar_config::from_yaml(text, path).map_err(|error| chain(&error))?;
    if let Some(other) = keys.keys().find(|key| *key != "storage") {
        let shown: String =
            other.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).take(32).collect();
        return Err(format!("{OPTION} has the one key `storage:`, and all else below it, not `{shown}`"));
    }
    Ok(Config::parse(text, path).map_err(|error| chain(&error))?.storage.into())
}

impl From<Storage> for Kept {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::Fs { root_directory: Some(root) } if root != Path::new(DATA) => Self::Directory(root),
            Storage::Fs { .. } => Self::Data,
            Storage::S3(_) => Self::Bucket,
        }
    }
}

/// What a daemon's file that is in place says. One that somebody has spoilt says what an empty one does.
pub fn read(text: &str) -> Running {
    let config = Config::parse(text, Path::new(CONFIG)).unwrap_or_default();
    Running { address: config.http.addr.to_string(), storage: config.storage.into() }
}

/// What a daemon's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Where the daemon listens.
    pub address: String,
    /// Where images are kept.
    pub storage: Kept,
}

/// What of a daemon's file only a restart brings into effect.
pub fn restarting_part(text: &str) -> Digest {
    Digest::of(text.split(DIVISION).next().unwrap_or_default().as_bytes())
}
