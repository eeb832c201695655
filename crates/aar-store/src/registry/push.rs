//! A push: an image comes in and becomes visible in one step.

use std::pin::Pin as Pinned;
use std::sync::atomic::Ordering;

use aar_model::wire::{Image, PushRequest};
use aar_model::{AppName, Architecture, Digest, Hasher, Version, VersionFields};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::core::{Registry, now};
use super::document::{
    ApplicationDocument, Documents, Staged, VersionDocument, change_fields, encode, publisher_fields,
};
use super::error::{BodyError, RegistryError};
use super::event::Action;
use super::media_type;
use crate::{Change, Error, RecordKey};

/// The bytes of an image on their way in.
pub type BodyStream = Pinned<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// What a publisher announces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Push {
    /// The application, which need not exist yet.
    pub name: AppName,
    /// The version, which need not exist yet.
    pub version: Version,
    /// What the image is built for.
    pub architecture: Architecture,
    /// SHA-256 of the image.
    pub fingerprint: Digest,
    /// Bytes, where the publisher says.
    pub size: Option<u64>,
    /// Media type, where the publisher says.
    pub media_type: Option<String>,
    /// Fields of application and version.
    pub request: PushRequest,
}

/// What came of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Bytes of the image.
    pub size: u64,
    /// Whether this very image was there already, under this version and architecture.
    pub existed: bool,
}

impl Registry {
    /// Receives an image and adds it to a version of an application.
    pub async fn push(&self, push: Push, body: BodyStream) -> Result<Pushed, RegistryError> {
        self.refuse_degraded()?;
        admit(&self.documents(&push.name)?, &push)?;
        let pin = self.images.pin(&push.fingerprint).await;
        let outcome = match self.receive(&push, body).await {
            Ok(image) => self.commit(&push, image).await,
            Err(error) => Err(error),
        };
        drop(pin);
        if outcome.is_err() {
            self.remove_unused(&[push.fingerprint]).await;
        }
        outcome
    }

    /// Brings the image into the store, or only checks it where it is stored already.
    async fn receive(&self, push: &Push, mut body: BodyStream) -> Result<Image, RegistryError> {
        let stored = self.blobs.size(&push.fingerprint).await?;
        let first = loop {
            match body.next().await.transpose()? {
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => break chunk,
                None => {
                    return Err(RegistryError::Invalid("the body is empty; send the image's bytes".into()));
                }
            }
        };
        let media_type = media_type::of(&first, push.media_type.as_deref());
        let size = match stored {
            Some(size) => {
                check(push, first, body).await?;
                size
            }
            None => self.store(push, first, body).await?,
        };
        Ok(Image { architecture: push.architecture, fingerprint: push.fingerprint, size, media_type })
    }

    async fn store(&self, push: &Push, first: Bytes, mut body: BodyStream) -> Result<u64, RegistryError> {
        let mut upload = self.blobs.begin(&push.fingerprint, push.size).await?;
        upload.write(first).await?;
        while let Some(chunk) = body.next().await.transpose()? {
            upload.write(chunk).await?;
        }
        Ok(upload.commit().await?)
    }

    /// Writes the records. The version's is the commit point.
    pub(super) async fn commit(&self, push: &Push, image: Image) -> Result<Pushed, RegistryError> {
        let _commits = self.committing().await?;
        let _application = self.applications.lock(&push.name).await;
        self.finish_deletion(&push.name).await?;
        let documents = self.documents(&push.name)?;
        let existed = admit(&documents, push)?;
        let size = image.size;

        self.refuse_over_damage(&documents, push).await?;
        let application = application_record(&documents, push, existed)?;
        let version = if existed { None } else { Some(version_record(&documents, push, image.clone())) };
        match self.write_records(push, application.as_ref(), version.as_ref()).await {
            Ok(changes) => {
                if !existed {
                    self.images.add(&image);
                }
                self.show(changes)?;
                self.tell_of(push, &documents, application.is_some(), version.as_ref());
                Ok(Pushed { size, existed })
            }
            Err(error) => {
                let before = documents.versions.get(&push.version).map(encode);
                self.put_back(&RecordKey::version(push.name.clone(), push.version), before).await;
                let before = documents.application.as_ref().map(encode);
                self.put_back(&RecordKey::application(push.name.clone()), before).await;
                Err(error.into())
            }
        }
    }

    /// Tells what a push has changed.
    fn tell_of(
        &self,
        push: &Push,
        before: &Documents,
        application_changed: bool,
        version: Option<&VersionDocument>,
    ) {
        let name = Some(&push.name);
        let for_clients = version.is_some_and(|version| version.published);
        if !before.exists() {
            self.tell(Action::ApplicationCreated, name, None, for_clients);
        } else if application_changed {
            self.tell(Action::ApplicationUpdated, name, None, for_clients || before.is_for_clients());
        }
        if version.is_some() {
            let was_there = before.versions.contains_key(&push.version);
            let action = if was_there { Action::VersionUpdated } else { Action::VersionAdded };
            self.tell(action, name, Some(push.version), for_clients);
        }
    }

    /// Refuses to write over a record that is there and cannot be read: somebody may still mend it.
    async fn refuse_over_damage(&self, documents: &Documents, push: &Push) -> crate::Result<()> {
        if self.damaged.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let application = RecordKey::application(push.name.clone());
        let version = RecordKey::version(push.name.clone(), push.version);
        let known = [documents.application.is_some(), documents.versions.contains_key(&push.version)];
        for (key, known) in [application, version].iter().zip(known) {
            if !known && self.records.get(key).await?.is_some() {
                return Err(Error::Corrupt {
                    what: format!("record {}", key.path()),
                    source: "mend or remove it, then run `aar maintenance rebuild`".into(),
                });
            }
        }
        Ok(())
    }

    async fn write_records(
        &self,
        push: &Push,
        application: Option<&ApplicationDocument>,
        version: Option<&VersionDocument>,
    ) -> crate::Result<Vec<Change>> {
        let mut changes = Vec::new();
        if let Some(application) = application {
            changes.push(self.write(RecordKey::application(push.name.clone()), application).await?);
        }
        if let Some(version) = version {
            changes.push(self.write(RecordKey::version(push.name.clone(), push.version), version).await?);
        }
        Ok(changes)
    }
}

/// The version's record with the image that was pushed.
fn version_record(documents: &Documents, push: &Push, image: Image) -> VersionDocument {
    let mut version = documents.versions.get(&push.version).cloned().unwrap_or_else(|| VersionDocument {
        created_at: now(),
        updated_at: 0,
        published: push.request.version.get("published").and_then(Value::as_bool).unwrap_or(true),
        fields: publisher_fields(&push.request.version),
        images: Vec::new(),
    });
    version.updated_at = now();
    version.images.push(image);
    version.images.sort_by_key(|image| image.architecture);
    version
}

/// Refuses what can never be committed, before or after the image has come. Answers whether the very image is there.
pub(super) fn admit(documents: &Documents, push: &Push) -> Result<bool, RegistryError> {
    let invalid = |error: &dyn std::fmt::Display| RegistryError::Invalid(format!("X-AMS-Request: {error}"));
    VersionFields::parse(&publisher_fields(&push.request.version)).map_err(|error| invalid(&error))?;
    if push
        .request
        .version
        .get("published")
        .is_some_and(|published| !published.is_boolean() && !published.is_null())
    {
        return Err(invalid(&"version: `published` is true or false"));
    }
    let mut fields = documents.settled().map(|application| application.fields).unwrap_or_default();
    change_fields(&mut fields, &publisher_fields(&push.request.application))
        .map_err(|error| invalid(&error))?;
    if documents.is_deleted() {
        return Ok(false);
    }
    let there = documents.versions.get(&push.version).and_then(|version| version.image(push.architecture));
    match there {
        Some(image) if image.fingerprint != push.fingerprint => Err(RegistryError::Conflict(format!(
            "version {} of application {} has another image for {} already, {}; a version is immutable: push a new one",
            push.version, push.name, push.architecture, image.fingerprint
        ))),
        there => Ok(there.is_some()),
    }
}

/// The application's record as it must be before the version's is written, where it has to change.
fn application_record(
    documents: &Documents,
    push: &Push,
    existed: bool,
) -> Result<Option<ApplicationDocument>, RegistryError> {
    let sent = publisher_fields(&push.request.application);
    let invalid = |error: aar_model::InvalidField| RegistryError::Invalid(format!("X-AMS-Request: {error}"));
    let Some(settled) = documents.settled().filter(|_| documents.exists()) else {
        let mut application = ApplicationDocument {
            created_at: now(),
            updated_at: now(),
            fields: serde_json::Map::new(),
            staged: None,
            deleted: false,
        };
        change_fields(&mut application.fields, &sent).map_err(invalid)?;
        return Ok(Some(application));
    };
    let mut fields = settled.fields.clone();
    let changed = change_fields(&mut fields, &sent).map_err(invalid)?;
    let next = match (changed, existed) {
        (false, _) => settled,
        (true, true) => ApplicationDocument { fields, updated_at: now(), ..settled },
        (true, false) => ApplicationDocument {
            staged: Some(Staged {
                version: push.version,
                architecture: push.architecture,
                fingerprint: push.fingerprint,
                updated_at: now(),
                fields,
            }),
            ..settled
        },
    };
    Ok(Some(next).filter(|next| Some(next) != documents.application.as_ref()))
}

/// Reads a body of which the store has the image already: it must be that image all the same.
async fn check(push: &Push, first: Bytes, mut body: BodyStream) -> Result<(), RegistryError> {
    let mut hasher = Hasher::default();
    hasher.update(&first);
    while let Some(chunk) = body.next().await.transpose()? {
        hasher.update(&chunk);
    }
    let actual = hasher.finish();
    if actual == push.fingerprint {
        Ok(())
    } else {
        Err(Error::Mismatch { expected: push.fingerprint, actual }.into())
    }
}
