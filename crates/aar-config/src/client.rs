//! The command line's own configuration.

use std::path::{Path, PathBuf};

use aar_model::Fingerprint;
use serde::Deserialize;
use url::Url;

use crate::ConfigError;
use crate::document::Document;
use crate::value::{FromText, Value};

/// What the command line uses where neither options nor the environment say otherwise. Everything may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientConfig {
    /// The registry, an https URL.
    pub registry: Option<Url>,
    /// The fingerprint of the registry's certificate.
    pub fingerprint: Option<Fingerprint>,
    /// The file of the client's certificate. A path that is not absolute is taken from the directory of the configuration.
    pub cert: Option<PathBuf>,
    /// The file of its private key, likewise.
    pub key: Option<PathBuf>,
}

impl ClientConfig {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::read(&Document::load(path)?)
    }

    /// Reads `text`; errors name `path` as the file, and paths in it are taken from its directory.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::read(&Document::new(text, path)?)
    }

    fn read(document: &Document) -> Result<Self, ConfigError> {
        let raw: RawClientConfig = document.read()?;
        let directory = document.path().parent().unwrap_or(Path::new(""));
        let file = |value: Option<Value<PathBuf>>| value.map(|path| directory.join(path.0));
        Ok(Self {
            registry: raw.registry.map(|url| url.0),
            fingerprint: raw.fingerprint.map(|fingerprint| fingerprint.0),
            cert: file(raw.cert),
            key: file(raw.key),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "keys such as `registry:`, one a line")]
struct RawClientConfig {
    registry: Option<Value<Url>>,
    fingerprint: Option<Value<Fingerprint>>,
    cert: Option<Value<PathBuf>>,
    key: Option<Value<PathBuf>>,
}

impl FromText for Url {
    const EXPECTED: &'static str = "an address such as `https://registry.example:3000`";

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host())
    }
}

impl FromText for Fingerprint {
    const EXPECTED: &'static str = "the SHA-256 of the registry's certificate, 64 hex digits";

    fn from_text(text: &str) -> Option<Self> {
        // With colons is how other programs print it.
        text.replace(':', "").parse().ok()
    }
}

impl FromText for PathBuf {
    const EXPECTED: &'static str = "the path of a file";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }
}
