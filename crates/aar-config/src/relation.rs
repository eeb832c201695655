//! What the registry's charm tells whoever is related with it.

use std::net::Ipv6Addr;
use std::path::Path;

use aar_model::Fingerprint;
use serde::Deserialize;
use url::Url;

use crate::ConfigError;
use crate::document::Document;
use crate::value::{FromText, Value};

/// How the registry is reached that a relation is with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationData {
    /// Its address.
    pub registry: Url,
    /// The fingerprint of its certificate, where that is told.
    pub fingerprint: Option<Fingerprint>,
    /// Its certificate, where that is told.
    pub certificate: Option<String>,
}

impl RelationData {
    /// Reads the file at `path`: a mapping in YAML or JSON, as Juju's `relation-get` prints it. Further keys are passed
    /// over, for Juju and other charms add theirs.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::read(&Document::load(path)?)
    }

    /// Reads `text`; errors name `path` as the file.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::read(&Document::new(text, path)?)
    }

    fn read(document: &Document) -> Result<Self, ConfigError> {
        let raw: RawRelationData = document.read()?;
        let missing = |key: &str| ConfigError::Invalid {
            path: document.path().to_owned(),
            position: None,
            key: None,
            problem: format!("the key `{key}` is missing; the registry's charm tells it once it serves"),
        };
        let Host(host) = raw.ip.ok_or_else(|| missing("ip"))?.0;
        let Port(port) = raw.port.ok_or_else(|| missing("port"))?.0;
        let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host };
        let registry = Url::parse(&format!("https://{host}:{port}")).map_err(|_| missing("ip"))?;
        Ok(Self {
            registry,
            fingerprint: raw.fingerprint.map(|it| it.0),
            certificate: raw.certificate.map(|it| it.0.0),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "keys such as `fingerprint:`, one a line")]
struct RawRelationData {
    certificate: Option<Value<Pem>>,
    fingerprint: Option<Value<Fingerprint>>,
    ip: Option<Value<Host>>,
    port: Option<Value<Port>>,
}

struct Pem(String);

impl FromText for Pem {
    const EXPECTED: &'static str = "a certificate";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

struct Host(String);

impl FromText for Host {
    const EXPECTED: &'static str = "an IP address or the name of a host";

    fn from_text(text: &str) -> Option<Self> {
        let bare = text.trim_matches(['[', ']']);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_host = bare.parse::<Ipv6Addr>().is_ok() || (!bare.is_empty() && bare.chars().all(is_name));
        is_host.then(|| Self(bare.to_owned()))
    }
}

struct Port(u16);

impl FromText for Port {
    const EXPECTED: &'static str = "a port from 1 to 65535";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|port| *port > 0).map(Self)
    }
}
