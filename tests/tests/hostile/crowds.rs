//! Many at once.

use std::net::TcpStream;

use aar_tests::{Connection, Daemon};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{IMAGE, assert_unharmed_within};

/// Connections of each kind.
const EACH: usize = 1100;

/// What all of them may cost together, in KiB.
const MEMORY: u64 = 400 << 10;

#[test]
fn thousands_of_silent_connections_do_not_stop_a_pull() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    let image = vec![7; 3_000_000];
    assert_eq!(daemon.push(&publisher, IMAGE, &image).status, 202);

    let mut sockets = Vec::new();
    let mut connections = Vec::new();
    for n in 0..EACH {
        // One that says nothing, one in the middle of its handshake, one that is silent after it.
        sockets.push(TcpStream::connect(daemon.address()).unwrap());
        let mut half = TcpStream::connect(daemon.address()).unwrap();
        std::io::Write::write_all(&mut half, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).unwrap();
        sockets.push(half);
        let person = Some(&client).filter(|_| n % 2 == 0);
        connections.push(Connection::tls_stream(daemon.address(), person).unwrap());
        if n % 250 == 0 {
            assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game/1", b"").body, image);
        }
    }
    let begun = std::time::Instant::now();
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game/1", b"").body, image);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let used = daemon.status("VmHWM");
    println!("{} connections, VmHWM {used} KiB", sockets.len() + connections.len());
    assert_unharmed_within(&daemon, MEMORY);
}
