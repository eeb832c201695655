//! A hook that runs: what it is, what it has read, and what it has changed but not yet committed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use super::actions::ActionAnswers;
use super::ports::PortRange;
use super::relations::application;

/// What the agent runs the charm for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Install,
    Start,
    ConfigChanged,
    UpgradeCharm,
    LeaderElected,
    LeaderSettingsChanged,
    UpdateStatus,
    Stop,
    Remove,
    StorageAttached(String),
    StorageDetaching(String),
    Relation {
        kind: RelationHook,
        id: u32,
        /// By its own name; none for an event of the application.
        unit: Option<String>,
        /// By the name that the hook is told.
        departing: Option<String>,
    },
    Action(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelationHook {
    Created,
    Joined,
    Changed,
    Departed,
    Broken,
}

impl RelationHook {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Joined => "joined",
            Self::Changed => "changed",
            Self::Departed => "departed",
            Self::Broken => "broken",
        }
    }
}

impl Hook {
    pub(super) fn relation(&self) -> Option<u32> {
        if let Self::Relation { id, .. } = self { Some(*id) } else { None }
    }

    /// The name of hooks that are the same for every charm.
    pub(super) fn plain_name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Install => "install",
            Self::Start => "start",
            Self::ConfigChanged => "config-changed",
            Self::UpgradeCharm => "upgrade-charm",
            Self::LeaderElected => "leader-elected",
            Self::LeaderSettingsChanged => "leader-settings-changed",
            Self::UpdateStatus => "update-status",
            Self::Stop => "stop",
            Self::Remove => "remove",
            _ => return None,
        })
    }
}

/// A call of a hook tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Whose hook it is, such as `aar/0`.
    pub unit: String,
    /// The hook or the action, such as `config-changed`.
    pub hook: String,
    /// Which call of this run of the hook it is, from 1.
    pub number: usize,
    /// The tool's name.
    pub tool: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What the tool answered; nothing as long as it has not, or where the hook was killed before.
    pub answer: Option<Answer>,
}

/// What a hook tool answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Exit status.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// What to do at a call of a hook tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Carry it out and answer.
    Proceed,
    /// Kill the hook and all that it has started, and do not carry the call out.
    KillBefore,
    /// Carry the call out, and kill the hook before it is answered.
    KillAfter,
    /// Do not carry the call out; let the tool fail with exit status 1.
    Fail,
}

/// What a run of a hook or an action came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit status 0, and what it did is committed.
    Done,
    /// The charm has no program for it.
    Skipped,
    /// Another exit status, or it could not be started or committed.
    Failed(String),
    /// Ended by SIGKILL or SIGTERM; queued again, where it was not an action.
    Killed,
}

/// One run of a hook or an action.
#[derive(Clone, Debug)]
pub struct Run {
    /// The hook or the action, such as `client-relation-changed`.
    pub name: String,
    /// What the program found in its environment.
    pub environment: BTreeMap<String, String>,
    /// Its calls of hook tools, in order.
    pub calls: Vec<ToolCall>,
    /// How it ended.
    pub outcome: Outcome,
    /// From its start to its end.
    pub elapsed: Duration,
}

impl Run {
    /// A variable of the environment; empty where it is not set.
    pub fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }

    /// The run in a word, with what tells one run of the hook from another: the remote unit, or the application where
    /// the event is the application's.
    pub fn label(&self) -> String {
        let remote = self.variable("JUJU_REMOTE_UNIT");
        let remote = if remote.is_empty() { self.variable("JUJU_REMOTE_APP") } else { remote };
        if remote.is_empty() { self.name.clone() } else { format!("{} {remote}", self.name) }
    }
}

/// Changes of a bag; no value removes the key.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// The context of a running hook.
pub(super) struct Context {
    pub(super) id: String,
    pub(super) hook: Hook,
    pub(super) name: String,
    /// The process group to kill.
    pub(super) group: Option<i32>,
    pub(super) calls: Vec<ToolCall>,
    /// The settings as they were when the hook began.
    pub(super) settings: Map<String, Value>,
    /// By relation and whether it is the application's bag.
    pub(super) relation_changes: BTreeMap<(u32, bool), Changes>,
    pub(super) ports: BTreeMap<String, BTreeSet<PortRange>>,
    pub(super) state: BTreeMap<String, String>,
    pub(super) new_storage: Vec<String>,
    pub(super) reboot: bool,
    pub(super) action: Option<(Value, ActionAnswers)>,
}

impl Context {
    /// The remote unit of a relation hook, by its own name.
    pub(super) fn remote_unit(&self) -> Option<&str> {
        if let Hook::Relation { unit, .. } = &self.hook { unit.as_deref() } else { None }
    }
}

/// Whether a name is a unit's.
pub(super) fn is_unit(name: &str) -> bool {
    let number = super::relations::number(name);
    !application(name).is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}
