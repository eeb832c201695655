//! The rounds: work, kill, damage, restart, check.

use std::fmt;
use std::fs;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use super::check;
use super::history::History;
use super::publisher::{Publisher, SHARED};
use super::trust::Administrator;
use crate::Daemon;
use crate::s3::{IamPolicy, Proxy, S3Server};

const PUBLISHERS: usize = 4;
/// Applications of each publisher.
const OWN_APPS: usize = 2;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Times that the daemon is killed at work.
    pub rounds: u32,
    /// Decides what is done in which order.
    pub seed: u64,
    /// Longest time between a start and the kill.
    pub longest: Duration,
    /// Whether images and records are on S3 instead of on disk.
    pub on_s3: bool,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    /// Times that the daemon was killed at work.
    pub rounds: u32,
    /// Times that it was killed while it started.
    pub killed_at_start: u32,
    /// Restarts without an index.
    pub index_removed: u32,
    /// Restarts with flipped bytes in the index.
    pub index_damaged: u32,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were not.
    pub lost: u64,
    /// Those of them that were found carried out all the same.
    pub carried_out: u64,
    /// Images that were pulled and compared after restarts.
    pub pulled: u64,
}

/// Runs all rounds.
///
/// # Panics
/// The daemon broke a promise.
pub fn run(plan: &Plan) -> Tally {
    let mut rng = Rng::with_seed(plan.seed);
    let server = plan.on_s3.then(S3Server::shared_juicefs);
    let proxy = server.as_ref().map(|server| Proxy::in_front_of(&server.endpoint));
    let mut daemon = Daemon::builder().log_level("info");
    if let (Some(server), Some(proxy)) = (&server, &proxy) {
        let prefix = format!("crash-{:016x}/", rng.u64(..));
        // What is answered is compared: here it comes from the registry itself.
        daemon = daemon.bucket(server, &proxy.endpoint(), &prefix).configuration("    redirect: false\n");
    }
    let mut daemon = daemon.start();
    let client = daemon.client("client");
    let reader = daemon.publisher("reader");
    let mut publishers: Vec<_> = (0..PUBLISHERS)
        .map(|at| {
            let person = daemon.publisher(&format!("publisher-{at}"));
            Publisher::new(person, (0..OWN_APPS).map(|app| format!("own-{at}-{app}")), rng.fork())
        })
        .collect();
    let mut administrator = Administrator::new(daemon.scratch(), rng.fork());
    let mut shared = History::new(None);
    let mut tally = Tally::default();

    while tally.rounds < plan.rounds {
        let life = rng.u64(1..=u64::try_from(plan.longest.as_millis()).unwrap());
        work_until_killed(
            &mut daemon,
            Duration::from_millis(life),
            &mut publishers,
            &mut administrator,
            &shared,
        );
        let restart = restart(&mut daemon, &mut rng, &mut tally);

        let apps = check::shown(&daemon, &reader);
        check::clients_see_what_is_published(&daemon, &client, &apps);
        tally.pulled += check::images_are_whole(&daemon, &reader, &apps);
        let is_known = |name: &String| name == SHARED || publishers.iter().any(|owner| owner.owns(name));
        assert!(apps.keys().all(is_known), "applications that nobody pushed: {apps:?}");
        for publisher in &mut publishers {
            publisher.settle(&apps);
        }
        shared.check(apps.get(SHARED));
        shared = History::new(apps.get(SHARED));
        let others: Vec<_> =
            publishers.iter().map(|publisher| &publisher.person).chain([&client, &reader]).collect();
        administrator.settle(&daemon, &others);
        check::storage_is_exact(&daemon, &apps);
        assert_eq!(check::shown(&daemon, &reader), apps, "the collector changed what is shown");

        tally.rounds += 1;
        tally.count(&publishers, &administrator);
        println!("round {}: killed after {life} ms, {restart}; so far {tally}", tally.rounds);
    }
    if let (Some(server), Some(proxy)) = (&server, &proxy) {
        proxy.assert_permitted(&IamPolicy::of_registry(&server.bucket));
    }
    tally
}

fn work_until_killed(
    daemon: &mut Daemon,
    life: Duration,
    publishers: &mut [Publisher],
    administrator: &mut Administrator,
    shared: &History,
) {
    let killed = AtomicBool::new(false);
    let (address, socket) = (daemon.address(), daemon.socket());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for publisher in publishers {
            threads.push(scope.spawn(|| publisher.work(address, &killed, shared)));
        }
        threads.push(scope.spawn(|| administrator.work(&socket, &killed)));
        thread::sleep(life);
        killed.store(true, Ordering::SeqCst);
        daemon.kill();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
}

/// Starts the daemon again, sometimes on a damaged index, sometimes not at the first attempt. Answers how.
fn restart(daemon: &mut Daemon, rng: &mut Rng, tally: &mut Tally) -> String {
    let mut how = match rng.u8(..10) {
        0 | 1 => {
            fs::remove_dir_all(daemon.base().join("index")).unwrap();
            tally.index_removed += 1;
            "index removed".to_owned()
        }
        2..5 => {
            damage_index(daemon, rng);
            tally.index_damaged += 1;
            "index damaged".to_owned()
        }
        _ => "index left".to_owned(),
    };
    while rng.u8(..4) == 0 {
        daemon.launch();
        thread::sleep(Duration::from_micros(rng.u64(..50_000)));
        daemon.kill();
        tally.killed_at_start += 1;
        how.push_str(", killed at its start");
    }
    daemon.start();
    how
}

/// Flips a byte in a file of the index.
fn damage_index(daemon: &Daemon, rng: &mut Rng) {
    let files = fs::read_dir(daemon.base().join("index")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.metadata().unwrap().len() > 0 && path.is_file()).collect();
    files.sort();
    let Some(path) = rng.choice(&files) else { return };
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let offset = rng.u64(..file.metadata().unwrap().len());
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ rng.u8(1..)], offset).unwrap();
}

impl Tally {
    fn count(&mut self, publishers: &[Publisher], administrator: &Administrator) {
        let sum = |count: fn(&Publisher) -> u64| publishers.iter().map(count).sum::<u64>();
        self.answered = sum(|publisher| publisher.answered) + administrator.answered;
        self.lost = sum(|publisher| publisher.lost) + administrator.lost;
        self.carried_out = sum(|publisher| publisher.carried_out) + administrator.carried_out;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills at work and {} at a start, {} restarts without an index and {} with a damaged one; {} requests \
             answered, {} not, of which {} were carried out; {} images pulled and compared",
            self.rounds,
            self.killed_at_start,
            self.index_removed,
            self.index_damaged,
            self.answered,
            self.lost,
            self.carried_out,
            self.pulled
        )
    }
}
