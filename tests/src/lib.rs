//! Harnesses of the end-to-end tests: the daemon as a process, certificates of every kind, and a plain HTTPS client that
//! can misbehave. Nothing here uses the registry's own client or TLS code: what is tested is talked to from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness that cannot go on ends its test")]

mod ams;
pub mod ams_server;
mod certificates;
pub mod crash;
mod daemon;
mod edge;
mod https;
pub mod juju;
pub mod machine;
mod ops;
mod package;
mod relay;
pub mod s3;
mod signers;
mod syncer;
mod tus;

pub use ams::pack_ams;
pub use certificates::{Person, PersonBuilder};
pub use daemon::{Daemon, DaemonBuilder, binary, unit_environment};
pub use edge::{Edge, Object};
pub use https::{Connection, Response};
pub use ops::ops_python;
pub use package::{pack_charm, pack_command};
pub use relay::{Cut, Relay};
pub use signers::{Signer, ToSign};
pub use syncer::Syncer;
pub use tus::TusClient;
