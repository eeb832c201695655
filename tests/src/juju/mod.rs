//! A stand-in for Juju's unit agent and for what of a controller a charm can see: a charm runs on it unchanged, with hook
//! tools as programs on its search path, in the order and with the environment that Juju gives, and a test plays the
//! operator with [`Model`], whose methods are named as `juju`'s commands.
//!
//! Everything is carried out at once: a command returns when no agent has anything left to do, or waits for one that is
//! in error. The time between the retries of a failed hook passes with [`Model::retry`].
//!
//! Not there: secrets (there are none), subordinates, Kubernetes, payloads, credentials.

mod actions;
mod charm;
mod context;
mod environment;
mod model;
mod ports;
mod relations;
mod remote;
mod server;
mod state;
mod tools;
mod unit;

pub use actions::ActionResult;
pub use context::{Answer, Outcome, Run, ToolCall, Verdict};
pub use model::{Deploy, Model};
pub use state::{LogLine, Status};

/// The line of Juju that the stand-in follows where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JujuVersion {
    /// 3.6.28
    V3_6,
    /// 4.0.15
    V4_0,
}
