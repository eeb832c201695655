//! A short form of what `make crash` does at length.

use std::time::Duration;

use aar_tests::crash::{Plan, run};

#[test]
fn a_killed_daemon_keeps_what_it_answered_and_shows_nothing_half_done() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let tally = run(&Plan { rounds: 8, seed, longest: Duration::from_millis(800), on_s3: false });
    assert!(tally.answered > 50 && tally.pulled > 0, "there was next to nothing to check: {tally}");
}
