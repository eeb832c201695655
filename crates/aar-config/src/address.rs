use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::value::FromText;

const DEFAULT_PORT: u16 = 3000;

/// Where something listens: a host and a port. Written as `10.0.0.5:3000`, `[::1]:3000` or `registry.example:3000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddr {
    host: String,
    port: u16,
}

impl ListenAddr {
    /// An IP address, without brackets, or the name of a host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 stands for any that is free.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Default for ListenAddr {
    fn default() -> Self {
        Self { host: Ipv4Addr::UNSPECIFIED.to_string(), port: DEFAULT_PORT }
    }
}

impl FromText for ListenAddr {
    const EXPECTED: &'static str = "an address with a port, such as `10.0.0.5:3000`, `\"[::1]:3000\"` (in quotes) or `registry.example:3000`";

    fn from_text(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':')?;
        // `parse` would take a sign.
        let port = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok())??;
        is_host_name(host).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(host)) => write!(f, "[{host}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // What ends in a number is an IPv4 address that went wrong.
    let ends_in_number =
        || name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(is_label) && !ends_in_number()
}
