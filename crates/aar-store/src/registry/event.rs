//! What has changed, told to whoever wants to follow.

use std::time::SystemTime;

use aar_model::{AppName, Version};
use tokio::sync::broadcast;

use super::core::Registry;
use super::document::Documents;

/// Changes that a follower may be behind; one that falls back further has to look at everything again.
pub(super) const BACKLOG: usize = 1024;

/// A change, told once it is durable and every reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What has happened.
    pub action: Action,
    /// The application that changed; none where it may be any.
    pub application: Option<AppName>,
    /// The version of it that changed, where it is one.
    pub version: Option<Version>,
    /// Whether it concerns clients, who see published versions only.
    pub for_clients: bool,
    /// When it was told.
    pub at: SystemTime,
}

/// What has happened to an application or a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An application came with its first version.
    ApplicationCreated,
    /// Fields of an application changed.
    ApplicationUpdated,
    /// An application went with all its versions.
    ApplicationRemoved,
    /// A version came with its first image.
    VersionAdded,
    /// A version got or lost an image.
    VersionUpdated,
    /// Clients see the version now.
    VersionPublished,
    /// Clients see the version no more.
    VersionWithdrawn,
    /// A version went with its images.
    VersionRemoved,
    /// The index was made anew, after which anything may be different.
    RegistryRebuilt,
}

impl Registry {
    /// Follows the changes from now on.
    pub fn follow(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(super) fn tell(
        &self,
        action: Action,
        application: Option<&AppName>,
        version: Option<Version>,
        for_clients: bool,
    ) {
        let application = application.cloned();
        // Nobody may be following.
        let _ = self.events.send(Event { action, application, version, for_clients, at: SystemTime::now() });
    }
}

impl Documents {
    /// Whether clients see the application.
    pub(super) fn is_for_clients(&self) -> bool {
        self.versions.values().any(|version| version.published)
    }
}
