//! What it costs a registry to have many clients while nothing happens.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use aar_tests::{Connection, Daemon, Person};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::{image, push};

const LISTENERS: usize = 500;
const POLLERS: u32 = 500;
const INTERVAL: Duration = Duration::from_secs(10);
const LIST: &str = "/1.0/applications?recursion=1&limit=-1";

const TIME: Duration = Duration::from_secs(60);

/// What the daemon may have of a core.
const SHARE: f64 = 0.05;

#[test]
#[ignore = "it measures an optimised build: `make test-idle`"]
fn a_thousand_clients_with_nothing_to_do_take_next_to_nothing() {
    let daemon = Daemon::builder().log_level("info").environment_of_unit().start();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("client"));
    for version in 0..200 {
        push(&daemon, &publisher, &format!("game{}/{version}/x86_64", version % 20), &image(1), &Value::Null);
    }
    let list = daemon.request(&client, "GET", LIST, b"");
    let tag = list.header("etag").unwrap().to_owned();
    let is_over = Arc::new(AtomicBool::new(false));
    listen(&daemon, &client, &is_over);
    let polls = Arc::new(AtomicU32::new(0));
    let pollers: Vec<_> = (0..POLLERS)
        .map(|poller| {
            let (address, client, tag) = (daemon.address(), client.clone(), tag.clone());
            let (is_over, polls) = (Arc::clone(&is_over), Arc::clone(&polls));
            std::thread::spawn(move || {
                // They have begun at different times.
                std::thread::sleep(INTERVAL * poller / POLLERS);
                let mut connection = Connection::tls(address, Some(&client));
                while !is_over.load(SeqCst) {
                    let answer = connection.request("GET", LIST, &[("if-none-match", tag.as_str())], b"");
                    assert_eq!((answer.status, answer.body.len()), (304, 0));
                    polls.fetch_add(1, SeqCst);
                    std::thread::sleep(INTERVAL);
                }
            })
        })
        .collect();
    // All have connected then.
    std::thread::sleep(INTERVAL);
    let (begun, cpu) = (Instant::now(), cpu_time(daemon.pid()));
    std::thread::sleep(TIME);
    let share = cpu_time(daemon.pid()).saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let (polled, memory) = (polls.load(SeqCst), daemon.status("VmHWM") / 1024);
    println!("{polled} polls, {:.1} % of a core, {memory} MiB", share * 100.0);
    is_over.store(true, SeqCst);
    for poller in pollers {
        poller.join().unwrap();
    }
    assert!(polled > 6 * POLLERS, "{polled} polls");
    assert!(share < SHARE, "{:.1} % of a core", share * 100.0);
    assert!(memory < 100, "{memory} MiB");
}

/// Many listen, and go on to do so in the background.
fn listen(daemon: &Daemon, client: &Person, is_over: &Arc<AtomicBool>) {
    let listening = Arc::new(Barrier::new(LISTENERS + 1));
    for _ in 0..LISTENERS {
        let stream = Connection::tls_stream(daemon.address(), Some(client)).unwrap();
        let (listening, is_over) = (Arc::clone(&listening), Arc::clone(is_over));
        std::thread::spawn(move || {
            let request = "wss://registry/1.0/events?type=lifecycle".into_client_request().unwrap();
            let (mut socket, _) = tungstenite::client(request, stream).unwrap();
            listening.wait();
            while !is_over.load(SeqCst) {
                // Reading answers pings.
                let message = socket.read();
                let is_idle = matches!(message, Ok(Message::Ping(_)));
                assert!(is_idle || is_over.load(SeqCst), "{message:?}");
            }
        });
    }
    listening.wait();
}

/// What a process has had of processors.
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
