//! Deleting: a version, one image of it, or a whole application.

use aar_model::wire::Image;
use aar_model::{AppName, Architecture, Digest, Version};

use super::core::{Registry, now};
use super::document::{ApplicationDocument, VersionDocument, decode, encode};
use super::error::RegistryError;
use super::event::Action;
use super::view::{no_application, no_version};
use crate::{Change, RecordKey, Result, Scope};

impl Registry {
    /// Deletes an application with all its versions, and the images that nothing else holds.
    pub async fn delete_application(&self, name: &AppName) -> Result<(), RegistryError> {
        let images = {
            let _commits = self.committing().await?;
            let _application = self.applications.lock(name).await;
            let documents = self.documents(name)?;
            if !documents.exists() {
                return Err(no_application(name));
            }
            let mut application = documents.settled().ok_or_else(|| no_application(name))?;
            application.deleted = true;
            let key = RecordKey::application(name.clone());
            match self.write(key.clone(), &application).await {
                Ok(change) => {
                    self.show(vec![change])?;
                    self.tell(Action::ApplicationRemoved, Some(name), None, documents.is_for_clients());
                }
                Err(error) => {
                    self.put_back(&key, documents.application.as_ref().map(encode)).await;
                    return Err(error.into());
                }
            }
            if let Err(error) = self.finish_deletion(name).await {
                tracing::warn!(
                    application = %name,
                    error = &error as &dyn std::error::Error,
                    "the application is deleted, but its records are still there; the collector will try again"
                );
            }
            documents.versions.into_values().flat_map(|version| version.images).collect::<Vec<_>>()
        };
        self.remove_unused(&digests(&images)).await;
        Ok(())
    }

    /// Deletes a version, or one image of it; with the last image goes the version, with the last version the application.
    pub async fn delete_version(
        &self,
        name: &AppName,
        version: Version,
        architecture: Option<Architecture>,
    ) -> Result<(), RegistryError> {
        let removed = {
            let _commits = self.committing().await?;
            let _application = self.applications.lock(name).await;
            let documents = self.documents(name)?;
            if !documents.exists() {
                return Err(no_application(name));
            }
            let before = documents.versions.get(&version).ok_or_else(|| no_version(name, version))?;
            let (removed, kept) = split(name, version, before, architecture)?;

            // Fields that came with an image that goes must not go with it.
            if let Some(settled) = documents.settled()
                && Some(&settled) != documents.application.as_ref()
            {
                let change = self.write(RecordKey::application(name.clone()), &settled).await?;
                self.show(vec![change])?;
            }
            let key = RecordKey::version(name.clone(), version);
            let action = if kept.is_empty() { Action::VersionRemoved } else { Action::VersionUpdated };
            let changed = if kept.is_empty() {
                self.records.delete(&key).await.map(|()| Change::Remove(key.clone()))
            } else {
                let after = VersionDocument { images: kept, updated_at: now(), ..before.clone() };
                self.write(key.clone(), &after).await
            };
            match changed {
                Ok(change) => {
                    self.discount(&removed);
                    self.show(vec![change])?;
                    self.tell(action, Some(name), Some(version), before.published);
                }
                Err(error) => {
                    self.put_back(&key, Some(encode(before))).await;
                    return Err(error.into());
                }
            }
            if documents.versions.len() == 1 && removed.len() == before.images.len() {
                self.tell(Action::ApplicationRemoved, Some(name), None, before.published);
                self.remove_empty(name).await;
            }
            removed
        };
        self.remove_unused(&digests(&removed)).await;
        Ok(())
    }

    /// Removes the records of an application that is deleted already. To be called with the application's lock held.
    pub(super) async fn finish_deletion(&self, name: &AppName) -> Result<()> {
        let documents = self.documents(name)?;
        if !documents.is_deleted() {
            return Ok(());
        }
        for (number, version) in &documents.versions {
            let key = RecordKey::version(name.clone(), *number);
            self.records.delete(&key).await?;
            self.discount(&version.images);
            self.show(vec![Change::Remove(key)])?;
        }
        self.remove_application_record(name).await
    }

    /// Removes the record of an application without versions. It is invisible already: what fails is left to the collector.
    async fn remove_empty(&self, name: &AppName) {
        if let Err(error) = self.remove_application_record(name).await {
            tracing::warn!(
                application = %name,
                error = &error as &dyn std::error::Error,
                "cannot remove the record of an application without versions; the collector will try again"
            );
        }
    }

    pub(super) async fn remove_application_record(&self, name: &AppName) -> Result<()> {
        let key = RecordKey::application(name.clone());
        self.records.delete(&key).await?;
        self.show(vec![Change::Remove(key)])
    }

    /// Applications that wait for their records to be removed: deleted, or without a version.
    pub(super) fn leftovers(&self) -> Result<Vec<AppName>> {
        let mut leftovers = Vec::<(AppName, bool)>::new();
        let mut outcome = Ok(());
        self.index.scan(Scope::All, &mut |key, _, document| match key.number() {
            None => match decode::<ApplicationDocument>(&key, document) {
                Ok(application) => leftovers.push((key.app().clone(), application.deleted)),
                Err(error) => outcome = Err(error),
            },
            // An application's record comes right before those of its versions.
            Some(_) => drop(leftovers.pop_if(|(name, deleted)| name == key.app() && !*deleted)),
        })?;
        outcome?;
        Ok(leftovers.into_iter().map(|(name, _)| name).collect())
    }
}

type Images = Vec<Image>;

fn digests(images: &[Image]) -> Vec<Digest> {
    images.iter().map(|image| image.fingerprint).collect()
}

/// The images that go and those that stay.
fn split(
    name: &AppName,
    version: Version,
    document: &VersionDocument,
    architecture: Option<Architecture>,
) -> Result<(Images, Images), RegistryError> {
    let goes = |image: &Image| architecture.is_none_or(|wanted| image.architecture == wanted);
    let (removed, kept): (Images, Images) = document.images.iter().cloned().partition(goes);
    if let (true, Some(wanted)) = (removed.is_empty(), architecture) {
        return Err(RegistryError::NotFound(format!(
            "version {version} of application {name} has no image for {wanted}"
        )));
    }
    Ok((removed, kept))
}
