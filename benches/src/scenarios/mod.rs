//! What is measured.

mod handshake;
mod hook;
mod pull;
mod push;
mod redirect;
mod rush;
mod scenario;
mod small;
mod start;

pub(crate) use scenario::Scenario;
