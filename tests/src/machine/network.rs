//! The network that the machines of a model share with this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::holder::Holder;

/// A private network `10.x.y.0/24`; this machine is `.1` in it.
pub struct Network {
    pub(super) bridge: String,
    prefix: [u8; 3],
    offered: Mutex<Vec<Offer>>,
    _holder: Holder,
}

impl Network {
    /// A network that nobody has yet.
    pub fn new() -> Self {
        // Low numbers are what others' private networks have.
        let prefix = [10, fastrand::u8(128..=254), fastrand::u8(1..=254)];
        let bridge = format!("aar-{}-{}", prefix[1], prefix[2]);
        let address = format!("{}/24", Ipv4Addr::new(prefix[0], prefix[1], prefix[2], 1));
        let holder = Holder::start("network.sh", [bridge.as_str(), &address]);
        Self { bridge, prefix, offered: Mutex::default(), _holder: holder }
    }

    /// An address of the network.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.prefix[0], self.prefix[1], self.prefix[2], host)
    }

    /// Lets machines reach what listens on this machine's loopback; answers where.
    pub fn offer(&self, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind((self.address(1), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if let (Ok(from), Ok(to)) = (stream, TcpStream::connect(target)) {
                    relay(&from, &to);
                    relay(&to, &from);
                }
            }
        });
        self.offered.lock().unwrap().push(Offer { address, ended });
        address
    }

    /// Whether an address is of this network.
    pub fn has(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.octets()[..3] == self.prefix)
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

struct Offer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
