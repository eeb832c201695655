//! The registry's command line.

mod cli;
mod commands;
mod connect;
mod error;
mod exit;
mod logging;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match commands::run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.is_broken_pipe() => ExitCode::SUCCESS, // who reads has seen enough
        Err(e) => {
            eprintln!("{}", e.report());
            ExitCode::from(e.exit() as u8)
        }
    }
}
