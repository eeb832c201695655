//! Promises of the TLS layer, kept against itself, against OpenSSL's own client, and against peers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod certificate;
mod handshake;
mod identity;
mod stream;
mod support;
