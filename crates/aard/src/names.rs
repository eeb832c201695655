//! The names under which this machine may be reached, for the server's certificate.

use std::net::IpAddr;

use aar_config::ListenAddr;

/// Host name, loopback, the configured address, and the addresses of all interfaces.
pub(crate) fn of_this_machine(listen: &ListenAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(rustix::system::uname().nodename().to_str().ok().map(str::to_owned));
    let host = listen.host();
    if !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        names.push(host.to_owned());
    }
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => {
            let reachable = interfaces.iter().filter(|interface| !interface.is_link_local());
            names.extend(reachable.map(|interface| interface.ip().to_string()));
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot list the machine's addresses; the new certificate does not name them"
        ),
    }
    names.sort();
    names.dedup();
    names
}
