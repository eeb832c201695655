//! The servers that are measured, each set up as its makers advise for this work.

mod aard;
mod daemon;
pub(crate) mod docker_registry;
pub(crate) mod nginx;
mod server;

pub(crate) use aard::{Aard, application_name, pull_tiny};
pub(crate) use daemon::Daemon;
pub(crate) use docker_registry::DockerRegistry;
pub(crate) use nginx::Nginx;
pub(crate) use server::{Registry, Server, ServerKind};
