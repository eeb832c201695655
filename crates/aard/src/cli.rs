//! The daemon's command line.

use std::path::PathBuf;

use clap::Parser;

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

    /// Configuration file [default: config.yaml in the base directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Check a configuration file and exit
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) check_config: Option<PathBuf>,
}
