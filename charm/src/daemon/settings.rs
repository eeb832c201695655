//! What is around the service: proxies, and where it may write.

use std::path::Path;

use aar_config::Secret;
use aar_model::Digest;

use super::render::Kept;
use crate::event::Proxies;
use crate::files::{self, FileError};
use crate::status::one_line;
use crate::workload::STATE;

const DROP_IN: &str = "/etc/systemd/system/aard.service.d/charm.conf";
const ENVIRONMENT: &str = "environment";

/// Files that say what is around the service, each with its text; an empty one is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is added to the unit.
    pub unit: String,
    /// The service's environment. Proxies may have passwords: systemd shows a unit to everybody, this file it does not.
    pub environment: Secret,
}

/// What is around the service: how the daemon reaches the world, and where else than in its own directory it may write.
pub fn settings(proxies: &Proxies, storage: &Kept) -> Settings {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", one_line(&text))
    };
    let variables = proxies.variables().into_iter();
    let environment: Vec<_> = variables.map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
    let environment = environment.concat();
    let mut lines = Vec::new();
    if !environment.is_empty() {
        lines.push(format!("EnvironmentFile={STATE}/{ENVIRONMENT}\n"));
    }
    if let Kept::Directory(root) = storage {
        let path = root.display().to_string().replace('%', "%%");
        lines.push(format!("ReadWritePaths={}\n", quoted(&format!("-{path}"))));
    }
    let unit = if lines.is_empty() { String::new() } else { format!("[Service]\n{}", lines.concat()) };
    Settings { unit, environment: environment.into() }
}

impl Settings {
    /// As they are.
    pub fn load() -> Result<Self, FileError> {
        Ok(Self {
            unit: files::read(Path::new(DROP_IN))?.unwrap_or_default(),
            environment: files::read(&Path::new(STATE).join(ENVIRONMENT))?.unwrap_or_default().into(),
        })
    }

    /// Makes them so.
    pub fn store(&self) -> Result<(), FileError> {
        let put = |path: &Path, text: &str, mode| {
            if text.is_empty() {
                return files::remove(path);
            }
            files::create_dirs(path.parent().unwrap_or(Path::new("/")))?;
            files::write(path, text.as_bytes(), mode, None)
        };
        put(&Path::new(STATE).join(ENVIRONMENT), self.environment.expose(), 0o600)?;
        put(Path::new(DROP_IN), &self.unit, 0o644)
    }

    /// What stands for them.
    pub fn hash(&self) -> Digest {
        Digest::of(format!("{}\n{}", self.unit, self.environment.expose()).as_bytes())
    }
}
