use std::fmt;

use aar_config::Secret;
use aar_model::{Digest, Fingerprint, Role};

use crate::daemon::Settings;
use crate::memory::Memory;
use crate::relation::Certificate;
use crate::status::Status;
use crate::tools::Data;

/// What is to be done, and how the unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is to be done, in this order. Where one fails, the rest waits for the next plan.
    pub steps: Vec<Step>,
    /// How the unit is.
    pub status: Status,
}

/// One thing to do. Each is safe to be done twice, and to be cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Put the program files in place.
    Install,
    /// Note that other-looking program files are the same.
    NoteLook,
    /// Make the daemon's user and directories.
    Prepare,
    /// What was put in place works.
    Accept,
    /// Put the version before in place again.
    RollBack(String),
    /// Remove the program files.
    Uninstall,
    /// Attach the machine to Ubuntu Pro.
    Attach {
        /// With what.
        token: Secret,
        /// Whether it has to be detached first.
        again: bool,
    },
    /// Check the daemon's file, and put it in place.
    Render(Secret),
    /// Put the daemon's file before in place again.
    RestoreConfig(String),
    /// Change what is around the service.
    Settle(Settings),
    /// Start the daemon.
    Start,
    /// Restart the daemon.
    Restart,
    /// Let the daemon read its file again; it then listens there.
    Reload(String),
    /// Stop the daemon.
    Stop,
    /// Trust a certificate.
    Trust {
        /// Who brings it.
        source: String,
        /// What it may do.
        role: Role,
        /// A name for people: the unit that brings it.
        name: String,
        /// The certificate.
        certificate: Certificate,
    },
    /// Trust a certificate no more for the sake of this source.
    Distrust {
        /// Who brought it.
        source: String,
        /// Its fingerprint.
        fingerprint: Fingerprint,
    },
    /// Open the port.
    OpenPort(u16),
    /// Close the port.
    ClosePort(u16),
    /// Tell a relation.
    Publish {
        /// The relation.
        relation: String,
        /// What it is told.
        data: Data,
    },
    /// Show the version of the registry.
    ShowVersion(String),
    /// Remember this.
    Remember(Memory),
}

impl Step {
    /// Whether the machine is other than before once this is done.
    pub fn touches_machine(&self) -> bool {
        !matches!(
            self,
            Self::OpenPort(_)
                | Self::ClosePort(_)
                | Self::Publish { .. }
                | Self::ShowVersion(_)
                | Self::Remember(_)
        )
    }
}

/// What stands for relation data that was told.
pub fn hash(data: &Data) -> Digest {
    Digest::of(format!("{data:?}").as_bytes())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "plan: {step}")?;
        }
        writeln!(f, "plan: {}", self.status)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install => f.write_str("install the program files"),
            Self::NoteLook => f.write_str("note that the program files are the same"),
            Self::Prepare => f.write_str("make the user and its directories"),
            Self::Accept => f.write_str("keep the new version"),
            Self::RollBack(reason) => write!(f, "go back to the version before: {reason}"),
            Self::Uninstall => f.write_str("remove the program files"),
            Self::Attach { again: false, .. } => f.write_str("attach the machine to Ubuntu Pro"),
            Self::Attach { again: true, .. } => f.write_str("attach the machine to Ubuntu Pro anew"),
            Self::Render(_) => f.write_str("check and write the daemon's file"),
            Self::RestoreConfig(reason) => write!(f, "go back to the daemon's file before: {reason}"),
            Self::Settle(_) => f.write_str("write what is around the service"),
            Self::Start => f.write_str("start the daemon"),
            Self::Restart => f.write_str("restart the daemon"),
            Self::Reload(address) => write!(f, "reload the daemon, which then listens on {address}"),
            Self::Stop => f.write_str("stop the daemon"),
            Self::Trust { source, role, name, certificate } => {
                write!(f, "trust {} of {name} as {role} for {source}", certificate.fingerprint)
            }
            Self::Distrust { source, fingerprint } => write!(f, "trust {fingerprint} no more for {source}"),
            Self::OpenPort(port) => write!(f, "open port {port}"),
            Self::ClosePort(port) => write!(f, "close port {port}"),
            Self::Publish { relation, data } => {
                let keys: Vec<_> = data.keys().map(String::as_str).collect();
                write!(f, "tell {relation}: {}", keys.join(", "))
            }
            Self::ShowVersion(version) => write!(f, "show the version {version}"),
            Self::Remember(_) => f.write_str("remember"),
        }
    }
}
