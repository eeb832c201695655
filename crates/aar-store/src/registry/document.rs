//! The records' JSON, and what the records of one application mean together.

use std::collections::{BTreeMap, BTreeSet};

use aar_model::wire::{Application, ApplicationVersion, Image};
use aar_model::{
    AppName, ApplicationFields, Architecture, Digest, Version, VersionFields, is_registry_owned, merge,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::view::Viewer;
use crate::{Error, RecordKey, Result};

/// The record of an application. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ApplicationDocument {
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    /// What publishers set, as they sent it.
    #[serde(default)]
    pub(super) fields: Map<String, Value>,
    /// Fields that a push brings: they count once its image is in the version's record, so that both appear in one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) staged: Option<Staged>,
    /// The application is deleted; its records are about to be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
}

/// Fields of an application that wait for the commit of a push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Staged {
    pub(super) version: Version,
    pub(super) architecture: Architecture,
    pub(super) fingerprint: Digest,
    pub(super) updated_at: i64,
    pub(super) fields: Map<String, Value>,
}

/// The record of a version. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct VersionDocument {
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) published: bool,
    /// What the publisher of the first image set, as it was sent.
    #[serde(default)]
    pub(super) fields: Map<String, Value>,
    pub(super) images: Vec<Image>,
}

/// The record's bytes.
pub(super) fn encode(document: &impl Serialize) -> Bytes {
    // Maps with text keys and plain values: JSON can say them all.
    #[allow(clippy::expect_used)]
    serde_json::to_vec(document).expect("a record is representable as JSON").into()
}

/// Reads a record's bytes.
pub(super) fn decode<T: DeserializeOwned>(key: &RecordKey, document: &[u8]) -> Result<T> {
    serde_json::from_slice(document)
        .map_err(|source| Error::Corrupt { what: format!("record {}", key.path()), source: source.into() })
}

/// The fields of `sent` that are the publisher's to set.
pub(super) fn publisher_fields(sent: &Map<String, Value>) -> Map<String, Value> {
    let kept = sent.iter().filter(|(name, value)| !is_registry_owned(name) && !value.is_null());
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl VersionDocument {
    pub(super) fn image(&self, architecture: Architecture) -> Option<&Image> {
        self.images.iter().find(|image| image.architecture == architecture)
    }

    fn holds(&self, staged: &Staged) -> bool {
        self.image(staged.architecture).is_some_and(|image| image.fingerprint == staged.fingerprint)
    }
}

/// All records of one application.
#[derive(Debug, Clone, Default)]
pub(super) struct Documents {
    pub(super) application: Option<ApplicationDocument>,
    pub(super) versions: BTreeMap<Version, VersionDocument>,
}

impl Documents {
    /// Takes in one record.
    pub(super) fn add(&mut self, key: &RecordKey, document: &[u8]) -> Result<()> {
        match key.number() {
            None => self.application = Some(decode(key, document)?),
            Some(number) => {
                self.versions.insert(number, decode(key, document)?);
            }
        }
        Ok(())
    }

    /// Whether the application exists for anybody: it is not deleted and has a version.
    pub(super) fn exists(&self) -> bool {
        !self.is_deleted() && self.application.is_some() && !self.versions.is_empty()
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.application.as_ref().is_some_and(|application| application.deleted)
    }

    /// The application's record with staged fields settled: they count where their push was committed, and are dropped
    /// where it was not.
    pub(super) fn settled(&self) -> Option<ApplicationDocument> {
        let mut application = self.application.clone()?;
        if let Some(staged) = application.staged.take()
            && self.versions.get(&staged.version).is_some_and(|version| version.holds(&staged))
        {
            application.fields = staged.fields;
            application.updated_at = staged.updated_at;
        }
        Some(application)
    }

    /// What `viewer` sees, where it sees anything. Fields that cannot be read under today's types show as left out: a
    /// registry must list what an older or newer one stored.
    pub(super) fn view(&self, name: &AppName, viewer: Viewer) -> Option<Application> {
        if !self.exists() {
            return None;
        }
        let application = self.settled()?;
        let visible = || self.versions.iter().filter(|(_, version)| viewer.sees(version.published));
        let versions: Vec<_> = visible().map(|(number, version)| version_view(*number, version)).collect();
        let newest_change = visible().map(|(_, version)| version.updated_at).max()?;
        let architectures: BTreeSet<_> =
            visible().flat_map(|(_, version)| &version.images).map(|image| image.architecture).collect();
        Some(Application {
            id: name.clone(),
            name: name.clone(),
            status: "ready".into(),
            status_code: 2,
            published: versions.iter().any(|version| version.published),
            created_at: application.created_at,
            updated_at: application.updated_at.max(newest_change),
            architectures: architectures.into_iter().collect(),
            versions,
            fields: ApplicationFields::parse(&application.fields).unwrap_or_default(),
        })
    }
}

pub(super) fn version_view(number: Version, version: &VersionDocument) -> ApplicationVersion {
    ApplicationVersion {
        number,
        status: "active".into(),
        status_code: 3,
        published: version.published,
        created_at: version.created_at,
        images: version.images.clone(),
        fields: VersionFields::parse(&version.fields).unwrap_or_default(),
    }
}

/// Lays what a push or a change brings over an application's fields. Answers whether anything changed.
///
/// # Errors
/// A known field has the wrong type.
pub(super) fn change_fields(
    fields: &mut Map<String, Value>,
    changes: &Map<String, Value>,
) -> Result<bool, aar_model::InvalidField> {
    let mut merged = fields.clone();
    let any = merge(&mut merged, &canonical_names(changes));
    ApplicationFields::parse(&merged)?;
    *fields = merged;
    Ok(any)
}

/// AMS names one field differently in a change than in the application.
fn canonical_names(changes: &Map<String, Value>) -> Map<String, Value> {
    let mut renamed = changes.clone();
    if let Some(value) = renamed.remove("instance-type") {
        renamed.insert("instance_type".into(), value);
    }
    renamed
}
