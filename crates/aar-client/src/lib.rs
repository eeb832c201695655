//! A client of the registry's API, over TLS and the daemon's Unix socket.
