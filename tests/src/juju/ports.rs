//! Ranges of ports that a unit opens.

use std::fmt;

/// A range of ports; for ICMP there are none, and both are -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortRange {
    protocol: Protocol,
    first: i32,
    last: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Icmp,
    Tcp,
    Udp,
}

impl PortRange {
    /// Reads `80`, `80/udp`, `80-90/tcp` or `icmp`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("icmp") {
            return Ok(Self { protocol: Protocol::Icmp, first: -1, last: -1 });
        }
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => {
                return Err(format!("invalid protocol {protocol:?}, expected \"tcp\", \"udp\", or \"icmp\""));
            }
        };
        let port = |text: &str| text.parse().map_err(|_| format!("invalid port {text:?}"));
        let (first, last): (i32, i32) = match ports.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(ports)?, port(ports)?),
        };
        if (0..=65535).contains(&first) && (first..=65535).contains(&last) {
            Ok(Self { protocol, first, last })
        } else {
            Err(format!("invalid port range {}", Self { protocol, first, last }))
        }
    }

    pub(super) fn conflicts(&self, other: &Self) -> bool {
        self != other
            && self.protocol == other.protocol
            && self.first <= other.last
            && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Icmp => return formatter.write_str("icmp"),
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        if self.first == self.last {
            write!(formatter, "{}/{protocol}", self.first)
        } else {
            write!(formatter, "{}-{}/{protocol}", self.first, self.last)
        }
    }
}
