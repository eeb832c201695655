//! TLS for the registry: acceptor, connector, peer identity, self-signed certificates.
