//! Kills the daemon at random moments and checks that nothing that it answered is lost, and nothing else half there.

use std::process::ExitCode;
use std::time::Duration;

use aar_tests::crash::{Plan, run};
use clap::Parser;

/// Kill the registry at random moments under load, restart it, and check it against what it has answered.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Times that the registry is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u32,

    /// Decides what is done in which order; when the kill falls is not the seed's alone. By default another one each time.
    #[arg(long)]
    seed: Option<u64>,

    /// Longest time between a start and the kill.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    seconds_a_round: f64,

    /// Store on S3, on a server that is started for that, instead of on disk.
    #[arg(long)]
    s3: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let longest = Duration::from_secs_f64(options.seconds_a_round);
    println!("seed {seed}");
    // What was violated has been said where it was found.
    let plan = Plan { rounds: options.rounds, seed, longest, on_s3: options.s3 };
    let Ok(tally) = std::panic::catch_unwind(|| run(&plan)) else {
        eprintln!("a promise was broken under --seed {seed}");
        return ExitCode::FAILURE;
    };
    println!("{tally}");
    ExitCode::SUCCESS
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("it is not from 0.01 to 3600".into()) }
}
