//! A relay between a client and the daemon that cuts connections.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

/// Passes on what comes, as it comes. Its address stays while the daemon's may change.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    cuts: Mutex<VecDeque<Cut>>,
    sent: AtomicU64,
    received: AtomicU64,
    connections: Mutex<Vec<Weak<TcpStream>>>,
    stopped: AtomicBool,
}

/// When a connection is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Once the client has sent so many bytes.
    Sent(u64),
    /// Once the client has received so many bytes.
    Received(u64),
    /// Before what the daemon answers reaches the client, once that has sent so many bytes.
    Answered(u64),
}

impl Relay {
    /// A relay to `target`, on a free port.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            cuts: Mutex::default(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            connections: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || client.map(|client| shared.serve(client)));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it leads to another address.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Cuts the connections that carry enough, one each; all others are left alone.
    pub fn cut(&self, cuts: impl IntoIterator<Item = Cut>) {
        self.shared.cuts.lock().unwrap().extend(cuts);
    }

    /// Cuts all connections that there are.
    pub fn cut_all(&self) {
        let connections = std::mem::take(&mut *self.shared.connections.lock().unwrap());
        for connection in connections.iter().filter_map(Weak::upgrade) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Leaves all connections alone from now on.
    pub fn cut_no_more(&self) {
        self.shared.cuts.lock().unwrap().clear();
    }

    /// Cuts that are still to come.
    pub fn cuts_left(&self) -> usize {
        self.shared.cuts.lock().unwrap().len()
    }

    /// Bytes that clients have sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Bytes that clients have received so far.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) {
        let target = *self.target.lock().unwrap();
        let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(10)) else { return };
        // Closed with the last of these. Who sends on after a mere shutdown would not be told, but wait for ever.
        let (client, server) = (Arc::new(client), Arc::new(server));
        self.connections.lock().unwrap().push(Arc::downgrade(&client));
        let sent = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| self.carry(&client, &server, &sent, true));
            self.carry(&server, &client, &sent, false);
        });
    }

    /// Carries bytes one way, where it `is_client` to the daemon, until an end closes or the connection is cut.
    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream, sent: &AtomicU64, is_client: bool) {
        let mut buffer = vec![0; 16 << 10];
        let mut received = 0;
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let mut pass = read;
            let mut cut = false;
            {
                let mut cuts = self.cuts.lock().unwrap();
                match (is_client, cuts.front().copied()) {
                    (true, Some(Cut::Sent(limit))) => {
                        let left = limit.saturating_sub(sent.load(Ordering::Relaxed));
                        if left < read as u64 {
                            (pass, cut) = (usize::try_from(left).unwrap(), true);
                        }
                    }
                    (false, Some(Cut::Received(limit))) if received + read as u64 > limit => {
                        (pass, cut) = (usize::try_from(limit.saturating_sub(received)).unwrap(), true);
                    }
                    (false, Some(Cut::Answered(after))) if sent.load(Ordering::Relaxed) >= after => {
                        (pass, cut) = (0, true);
                    }
                    _ => {}
                }
                if cut {
                    cuts.pop_front();
                }
            }
            if is_client {
                sent.fetch_add(pass as u64, Ordering::Relaxed);
                self.sent.fetch_add(pass as u64, Ordering::Relaxed);
            } else {
                received += pass as u64;
                self.received.fetch_add(pass as u64, Ordering::Relaxed);
            }
            if to.write_all(&buffer[..pass]).is_err() || cut {
                break;
            }
        }
        for end in [from, to] {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}
