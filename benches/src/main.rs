//! Measures the registry against nginx and docker-registry: the same work over mutual TLS on loopback, in one run.

mod bench;
mod curl;
mod image;
mod keys;
mod load;
mod machine;
mod process;
mod report;
mod scenarios;
mod servers;
mod storage;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    bench::Bench,
    machine::{Bystanders, Machine},
    report::Report,
    scenarios::Scenario,
    servers::ServerKind,
};

/// Measure the registry against nginx and docker-registry.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Runs of each measurement; the figures are their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Measure this scenario only; may be given several times.
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,

    /// Servers to measure.
    #[arg(long, value_delimiter = ',', default_value = "aard,nginx,docker-registry,ops")]
    servers: Vec<ServerKind>,

    /// One run of a small amount of work: shows that everything works, its figures mean little.
    #[arg(long, conflicts_with = "runs")]
    quick: bool,

    /// Directory for the servers' data; a temporary directory is made in it.
    #[arg(long, value_name = "PATH", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,

    /// File for the figures as JSON.
    #[arg(long, value_name = "PATH", default_value = "target/bench.json")]
    json: PathBuf,

    /// The daemon; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    aard: Option<PathBuf>,

    /// The command line; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    aar: Option<PathBuf>,

    /// Fail where a bar is missed.
    #[arg(long)]
    strict: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // Dropping the measurement stops its servers and removes its directory.
    tokio::select! {
        outcome = measure(options) => outcome,
        _ = terminate.recv() => Ok(ExitCode::from(143)),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = hang_up.recv() => Ok(ExitCode::from(129)),
    }
}

async fn measure(options: Options) -> Result<ExitCode> {
    let beside = std::env::current_exe()?.parent().context("this program has no directory")?.to_owned();
    let aard = options.aard.unwrap_or_else(|| beside.join("aard"));
    let aar = options.aar.unwrap_or_else(|| beside.join("aar"));
    let runs = if options.quick { 1 } else { options.runs };

    let machine = Machine::inspect(&options.dir, &options.servers, &aard)?;
    println!("{machine}\n");
    let bench = Bench::new(&options.dir, options.servers, aard, aar, runs, options.quick)?;
    let bystanders = Bystanders::watch()?;
    let mut report = Report::new(machine, runs, options.quick);
    for scenario in Scenario::chosen(&options.only) {
        eprintln!("{scenario} …");
        scenario.run(&bench, &mut report).await.with_context(|| format!("cannot measure {scenario}"))?;
    }
    report.note(format!("other programs took {:.0} % of the CPU meanwhile", bystanders.percent()?));

    println!("{report}");
    report.write_json(&options.json)?;
    println!("figures: {}", options.json.display());
    Ok(if options.strict && report.misses() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
