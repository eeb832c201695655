//! Changes of what is there: fields of an application, and whether a version is published.

use aar_model::wire::Application;
use aar_model::{AppName, Digest, Version, VersionFields, is_registry_owned};
use serde_json::{Map, Value};

use super::core::{Registry, now};
use super::document::{change_fields, encode};
use super::error::RegistryError;
use super::event::Action;
use super::view::{Viewer, no_application, no_version};
use crate::RecordKey;

/// Fields that AMS lets one change with an application although they belong to its versions. Versions are immutable here:
/// these are kept with the application.
const VERSION_LIKE: &[&str] = &[
    "services",
    "watchdog",
    "boot_activity",
    "required_permissions",
    "video_encoder",
    "manifest_version",
    "features",
    "hooks",
    "bootstrap",
];

impl Registry {
    /// A tag for what a viewer sees of an application; it changes whenever that does.
    pub fn tag(application: &Application) -> String {
        let mut tag = Digest::of(&encode(application)).to_string();
        tag.truncate(32);
        tag
    }

    /// Changes fields of an application. With `precondition`, only where it accepts the tag of what publishers see now.
    pub async fn change_application(
        &self,
        name: &AppName,
        changes: &Map<String, Value>,
        precondition: Option<&(dyn Fn(&str) -> bool + Send + Sync)>,
    ) -> Result<(), RegistryError> {
        check_changes(changes)?;
        let _commits = self.committing().await?;
        let _application = self.applications.lock(name).await;
        let documents = self.documents(name)?;
        let before = documents.view(name, Viewer::Publisher).ok_or_else(|| no_application(name))?;
        if precondition.is_some_and(|accepts| !accepts(&Self::tag(&before))) {
            return Err(RegistryError::PreconditionFailed(name.clone()));
        }
        let mut application = documents.settled().ok_or_else(|| no_application(name))?;
        let invalid = |error: aar_model::InvalidField| RegistryError::Invalid(error.to_string());
        if !change_fields(&mut application.fields, changes).map_err(invalid)? {
            return Ok(());
        }
        application.updated_at = now();
        let key = RecordKey::application(name.clone());
        match self.write(key.clone(), &application).await {
            Ok(change) => {
                self.show(vec![change])?;
                self.tell(Action::ApplicationUpdated, Some(name), None, documents.is_for_clients());
                Ok(())
            }
            Err(error) => {
                self.put_back(&key, documents.application.as_ref().map(encode)).await;
                Err(error.into())
            }
        }
    }

    /// Publishes or withdraws a version.
    pub async fn set_published(
        &self,
        name: &AppName,
        version: Version,
        published: bool,
    ) -> Result<(), RegistryError> {
        let _commits = self.committing().await?;
        let _application = self.applications.lock(name).await;
        let documents = self.documents(name)?;
        if !documents.exists() {
            return Err(no_application(name));
        }
        let before = documents.versions.get(&version).ok_or_else(|| no_version(name, version))?;
        if before.published == published {
            return Ok(());
        }
        let mut after = before.clone();
        after.published = published;
        after.updated_at = now();
        let key = RecordKey::version(name.clone(), version);
        match self.write(key.clone(), &after).await {
            Ok(change) => {
                self.show(vec![change])?;
                let action = if published { Action::VersionPublished } else { Action::VersionWithdrawn };
                self.tell(action, Some(name), Some(version), true);
                Ok(())
            }
            Err(error) => {
                self.put_back(&key, Some(encode(before))).await;
                Err(error.into())
            }
        }
    }
}

fn check_changes(changes: &Map<String, Value>) -> Result<(), RegistryError> {
    if let Some((owned, _)) = changes.iter().find(|(name, value)| is_registry_owned(name) && !value.is_null())
    {
        return Err(RegistryError::Invalid(format!(
            "`{owned}` is set by the registry and cannot be changed"
        )));
    }
    let version_like = changes
        .iter()
        .filter(|(name, _)| VERSION_LIKE.contains(&name.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()));
    VersionFields::parse(&version_like.collect())
        .map(drop)
        .map_err(|error| RegistryError::Invalid(error.to_string().replacen("version", "application", 1)))
}
