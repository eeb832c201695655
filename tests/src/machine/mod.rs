//! Machines for the units of a model: systemd itself, in namespaces, on an overlay of this machine's files. What a charm
//! does there, it does to a machine as any: users, services with their sandboxes, mounts, ports. This machine stays as it
//! is, and what was done can be looked at.
//!
//! Ubuntu Pro's client is a stand-in, for it would ask Canonical.

mod files;
mod holder;
#[expect(clippy::module_inception, reason = "it is the name of what is there")]
mod machine;
mod network;
mod pro;

pub use files::{FileState, Files};
pub use machine::Machine;
pub use network::Network;
pub use pro::{Pro, ProCall};
