//! A short form of what `make crash` does at length.

use std::time::Duration;

use aar_tests::crash::{Plan, run};

#[test]
fn a_killed_daemon_keeps_in_the_bucket_what_it_answered_and_leaves_nothing_half_done() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let tally = run(&Plan { rounds: 5, seed, longest: Duration::from_millis(1500), on_s3: true });
    assert!(tally.answered > 20, "there was next to nothing to check: {tally}");
}
