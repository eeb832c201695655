use std::collections::BTreeMap;

use aar_model::{Digest, Fingerprint};

use super::juju::Juju;
use super::machine::Machine;

/// Everything that a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What Juju says.
    pub juju: Juju,
    /// What the machine says.
    pub machine: Machine,
    /// What this run has done, or failed to do.
    pub run: Run,
}

/// What this run has done, or failed to do. What has failed is not tried again in the same run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// The program files were put in place.
    pub installed: bool,
    /// Why installing failed.
    pub install: Option<String>,
    /// Why attaching failed.
    pub attach: Option<String>,
    /// The daemon's file that is not to be used, and why.
    pub config: Option<(Digest, String)>,
    /// The daemon was started.
    pub started: bool,
    /// Why the daemon did not start, restart or reload.
    pub service: Option<String>,
    /// The certificates that the registry did not take, with the relation's source, and why.
    pub trust: BTreeMap<(String, Fingerprint), String>,
    /// Why something else failed that is tried again with the next event.
    pub other: Vec<String>,
}
