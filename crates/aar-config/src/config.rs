use std::path::Path;

use crate::document::Document;
use crate::value::{FromText, Value};
use crate::{ConfigError, ListenAddr, Secret, Storage};

/// The daemon's configuration. An empty file gives the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The API on the network.
    pub http: Http,
    /// Where images and records are kept.
    pub storage: Storage,
    /// The Ubuntu Pro token.
    pub ua_token: Option<Secret>,
    /// Metrics over plain HTTP; not served where this is absent.
    pub metrics: Option<Metrics>,
    /// What is logged.
    pub log: Log,
}

/// The API on the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Http {
    /// Where it listens: port 3000 of all IPv4 addresses by default.
    pub addr: ListenAddr,
}

/// Metrics over plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Where they are served.
    pub addr: ListenAddr,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// What is less important than this is left out.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// How important a line in the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may fail.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// How a line in the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::read(&Document::load(path)?)
    }

    /// Reads `text`; errors name `path` as the file.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::read(&Document::new(text, path)?)
    }

    fn read(document: &Document) -> Result<Self, ConfigError> {
        let raw: RawConfig = document.read()?;
        Ok(Self {
            http: Http { addr: raw.http.and_then(|http| http.addr).unwrap_or_default().0 },
            storage: raw.storage.unwrap_or_default(),
            ua_token: raw.ua_token.map(|token| token.0),
            metrics: raw.metrics.map(|metrics| Metrics { addr: metrics.addr.0 }),
            log: raw
                .log
                .map(|log| Log {
                    level: log.level.unwrap_or_default().0,
                    format: log.format.unwrap_or_default().0,
                })
                .unwrap_or_default(),
        })
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "keys such as `http:`, one a line"
)]
struct RawConfig {
    http: Option<RawHttp>,
    storage: Option<Storage>,
    ua_token: Option<Value<Secret>>,
    metrics: Option<RawMetrics>,
    log: Option<RawLog>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "the key `addr`, indented")]
struct RawHttp {
    addr: Option<Value<ListenAddr>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "the key `addr`, indented")]
struct RawMetrics {
    addr: Value<ListenAddr>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys `level` and `format`, indented")]
struct RawLog {
    level: Option<Value<LogLevel>>,
    format: Option<Value<LogFormat>>,
}

impl FromText for LogLevel {
    const EXPECTED: &'static str = "one of error, warn, info, debug, trace";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "error" => Some(Self::Error),
            "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            "trace" => Some(Self::Trace),
            _ => None,
        }
    }
}

impl FromText for LogFormat {
    const EXPECTED: &'static str = "one of text, json";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}
