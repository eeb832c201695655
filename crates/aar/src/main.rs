//! The registry's command line.

mod cli;
mod commands;
mod connect;
mod error;
mod exit;
mod logging;
mod output;
mod progress;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Command};
use crate::error::Error;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = runtime(&cli.command).map_err(Error::Start).and_then(|it| it.block_on(commands::run(cli)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.is_broken_pipe() => ExitCode::SUCCESS, // who reads has seen enough
        Err(e) => {
            eprintln!("{}", e.report());
            ExitCode::from(e.exit() as u8)
        }
    }
}

/// Images are worth a second thread. To start one takes longer than anything else does.
fn runtime(command: &Command) -> io::Result<Runtime> {
    let mut runtime = match command {
        Command::Application(_) | Command::Sync(_) => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    runtime.worker_threads(2).enable_all().build()
}
