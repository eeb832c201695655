//! A listening socket of a stand-in: a thread a connection, and a door that can be shut and opened again.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_reuseaddr;

use super::process::free_listener;

/// Listens on a free port of loopback until it is dropped.
pub(super) struct Door {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

struct State {
    listener: TcpListener,
    inside: Mutex<Inside>,
    changed: Condvar,
}

struct Inside {
    mode: Mode,
    connections: Vec<Weak<TcpStream>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Cut,
    Gone,
}

impl Door {
    /// Hands every connection to `serve`, on a thread of its own. What that returns says why the connection ended, which
    /// interests nobody: who breaks it off, does.
    pub(super) fn open(serve: impl Fn(Arc<TcpStream>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        // The kernel keeps a port that was asked for by its number while the socket does not listen. To find a free port first
        // and listen then would fail where a program is started in between: it holds all sockets until it runs.
        let listener = free_listener();
        let address = listener.local_addr().unwrap();
        let inside = Inside { mode: Mode::Open, connections: Vec::new() };
        let state = Arc::new(State { listener, inside: Mutex::new(inside), changed: Condvar::new() });
        let acceptor = std::thread::spawn({
            let (state, serve) = (state.clone(), Arc::new(serve));
            move || {
                while let Some(connection) = state.next() {
                    let serve = serve.clone();
                    std::thread::spawn(move || serve(connection));
                }
            }
        });
        Self { address, state, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections and breaks those that are there, until [`mend`](Self::mend).
    pub(super) fn cut(&self) {
        self.shut(Mode::Cut);
    }

    /// Takes connections again, on the same port.
    pub(super) fn mend(&self) {
        let mut inside = self.state.inside.lock().unwrap();
        if inside.mode == Mode::Cut {
            set_socket_reuseaddr(&self.state.listener, true).unwrap();
            rustix::net::listen(&self.state.listener, 128).unwrap();
            inside.mode = Mode::Open;
            self.state.changed.notify_all();
        }
    }

    fn shut(&self, mode: Mode) {
        let mut inside = self.state.inside.lock().unwrap();
        // Twice would make the kernel take the next connections for ones that have nothing more to say.
        if inside.mode == Mode::Open {
            // Wakes the acceptor, and lets the kernel refuse who comes.
            let _ = rustix::net::shutdown(&self.state.listener, rustix::net::Shutdown::Read);
            // The port stays bound; without this, whoever asks for it by its number would get it all the same.
            let _ = set_socket_reuseaddr(&self.state.listener, false);
        }
        inside.mode = mode;
        for connection in inside.connections.drain(..).filter_map(|connection| connection.upgrade()) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.state.changed.notify_all();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shut(Mode::Gone);
        let _ = self.acceptor.take().unwrap().join();
    }
}

impl State {
    /// The next connection; none once the door is gone.
    fn next(&self) -> Option<Arc<TcpStream>> {
        loop {
            let accepted = self.listener.accept();
            let mut inside = self.inside.lock().unwrap();
            match (inside.mode, accepted) {
                (Mode::Open, Ok((connection, _))) => {
                    let _ = connection.set_nodelay(true);
                    let connection = Arc::new(connection);
                    inside.connections.retain(|connection| connection.strong_count() > 0);
                    inside.connections.push(Arc::downgrade(&connection));
                    return Some(connection);
                }
                // Such as too many open files, or what is left of a door that was shut and opened at once.
                (Mode::Open, Err(_)) => {
                    drop(inside);
                    std::thread::sleep(Duration::from_millis(5));
                }
                (Mode::Cut, _) => {
                    drop(self.changed.wait_while(inside, |inside| inside.mode == Mode::Cut).unwrap());
                }
                (Mode::Gone, _) => return None,
            }
        }
    }
}
