//! The registry's daemon.

mod activity;
mod administration;
mod base_dir;
mod check;
mod cli;
mod connection;
mod daemon;
mod heads;
mod housekeeping;
mod listeners;
mod logging;
mod metrics;
mod names;
mod other_storage;
mod shutdown;
mod storage;
mod streams;

use std::process::ExitCode;

use aar_config::ConfigError;
use clap::Parser;

use crate::cli::ConfigPath;

/// `EX_USAGE` of sysexits(3): the configuration is wrong. systemd does not start the daemon again then.
const EXIT_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    if let Some(path) = &arguments.check_config {
        return match ConfigPath::new(&arguments).load() {
            Ok(_) => {
                println!("{}: the configuration is valid", path.display());
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error.into(), EXIT_CONFIGURATION),
        };
    }
    match daemon::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ConfigError>() => fail(&error, EXIT_CONFIGURATION),
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &anyhow::Error, status: u8) -> ExitCode {
    eprintln!("aard: {error:#}");
    ExitCode::from(status)
}
