//! The daemon's command line.

use std::io::ErrorKind;
use std::path::PathBuf;

use aar_config::{Config, ConfigError};
use clap::Parser;

use crate::storage;

/// The daemon of the Anbox Application Registry.
///
/// SIGHUP reloads the configuration, the trust store and the server's certificate; SIGTERM stops once what runs is done,
/// within 30 seconds. Exit status: 0 stopped, 1 failed, 64 the configuration is wrong.
#[derive(Debug, Parser)]
#[command(name = "aard", version)]
pub(crate) struct Arguments {
    /// Directory of everything that the daemon keeps
    #[arg(long, value_name = "DIR", env = "AAR_BASE_DIR", default_value = "/var/lib/aar")]
    pub(crate) base_dir: PathBuf,

    /// Configuration file [default: config.yaml in the base directory, which may be missing]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Check a configuration file and exit
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) check_config: Option<PathBuf>,
}

/// Where the configuration is read from.
pub(crate) struct ConfigPath {
    path: PathBuf,
    /// Nobody named it: where there is no such file, the defaults serve.
    is_default: bool,
}

impl ConfigPath {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        match arguments.check_config.as_ref().or(arguments.config.as_ref()) {
            Some(path) => Self { path: path.clone(), is_default: false },
            None => Self { path: arguments.base_dir.join("config.yaml"), is_default: true },
        }
    }

    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let config = match Config::load(&self.path) {
            Err(ConfigError::Read { source, .. })
                if self.is_default && source.kind() == ErrorKind::NotFound =>
            {
                Config::default()
            }
            loaded => loaded?,
        };
        storage::check(&config, &self.path)?;
        Ok(config)
    }
}
