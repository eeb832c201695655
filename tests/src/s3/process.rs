//! Programs that end with the test, however it ends, and ports for them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command};
use std::sync::{LazyLock, Mutex, mpsc};

/// A program that the kernel kills when the test process goes away. To be started with [`spawn`].
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts a program from a thread that lives as long as the test process: the kernel's notion of a parent is the thread
/// that forked, and threads of tests end before what they have started may be done with.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, child) = mpsc::channel();
    SPAWNER.lock().unwrap().send((command, answer)).unwrap();
    child.recv().unwrap()
}

/// A listener on a port of loopback that was not given out before. The port lies below the kernel's range for outgoing
/// connections, so that nobody is given it by chance while a server that is stopped leaves it.
pub(super) fn free_listener() -> TcpListener {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap();
    let given = given.get_or_insert_default();
    loop {
        let port = fastrand::u16(10_000..32_000);
        // A port that was given out must not be tried, even for a moment: its owner may be about to listen.
        if given.insert(port)
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        {
            return listener;
        }
    }
}

/// The port of a [`free_listener`], for a program that listens by itself.
pub(super) fn free_port() -> u16 {
    free_listener().local_addr().unwrap().port()
}
