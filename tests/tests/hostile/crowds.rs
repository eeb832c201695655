//! Many at once.

use std::io::Write;
use std::net::TcpStream;
use std::thread::scope;
use std::time::Instant;

use aar_tests::{Connection, Daemon};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{IMAGE, assert_unharmed_within};

/// Connections of each kind.
const EACH: usize = 1100;

/// What all of them may cost together, in KiB.
const MEMORY: u64 = 256 << 10;

#[test]
fn thousands_of_silent_connections_do_not_stop_a_pull() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    let image = vec![7; 3_000_000];
    assert_eq!(daemon.push(&publisher, IMAGE, &image).status, 202);

    // All of them together before the first is given up.
    let begun = Instant::now();
    let held = scope(|scope| {
        let silent = scope.spawn(|| several(|_| TcpStream::connect(daemon.address()).unwrap()));
        let in_handshake = scope.spawn(|| {
            several(|_| {
                let mut socket = TcpStream::connect(daemon.address()).unwrap();
                socket.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).unwrap();
                socket
            })
        });
        let idle = scope.spawn(|| {
            several(|n| {
                let person = Some(&client).filter(|_| n % 2 == 0);
                Connection::tls_stream(daemon.address(), person).unwrap()
            })
        });
        (silent.join().unwrap(), in_handshake.join().unwrap(), idle.join().unwrap())
    });
    let connected = begun.elapsed();
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let begun = Instant::now();
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game/1", b"").body, image);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    println!("{open} files open after {connected:?}, VmHWM {} KiB", daemon.status("VmHWM"));
    assert!(open > 3 * EACH, "{open} after {connected:?}");
    drop(held);
    assert_unharmed_within(&daemon, MEMORY);
}

fn several<C>(connect: impl Fn(usize) -> C) -> Vec<C> {
    (0..EACH).map(connect).collect()
}
