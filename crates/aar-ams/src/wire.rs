//! The shapes of AMS's API, as far as they are used. They are read leniently: AMS sends `null` for empty lists, and newer
//! versions of it send more.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The envelope of every answer that is no error.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) metadata: T,
}

/// What AMS is.
#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) api_extensions: Vec<String>,
}

/// AMS's configuration.
#[derive(Debug, Deserialize)]
pub(crate) struct Configuration {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: Map<String, Value>,
}

/// An application on AMS.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Application {
    /// Its identifier, which no other application ever gets.
    pub id: String,
    /// Its name; AMS's rules for names are not relied upon.
    pub name: String,
    /// -1 error, 1 initialising, 2 ready, 3 being deleted.
    #[serde(default)]
    pub status_code: i64,
    /// Whether AMS itself got it from a registry.
    #[serde(default, deserialize_with = "or_default")]
    pub immutable: bool,
    /// Its Android ABI, empty where it is not tied to one.
    #[serde(default, deserialize_with = "or_default")]
    pub abi: String,
    /// When it was made, Unix seconds.
    #[serde(default)]
    pub created_at: i64,
    /// Its versions.
    #[serde(default, deserialize_with = "or_default")]
    pub versions: Vec<ApplicationVersion>,
    /// All other fields.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// A version of an application on AMS.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ApplicationVersion {
    /// Its number, which AMS gives.
    pub number: i64,
    /// -1 error, 1 initialising, 2 created, 3 active, 4 being deleted.
    #[serde(default)]
    pub status_code: i64,
    /// Whether instances can be launched from it.
    #[serde(default)]
    pub published: bool,
    /// When it was made, Unix seconds.
    #[serde(default)]
    pub created_at: i64,
    /// Why it failed.
    #[serde(default, deserialize_with = "or_default")]
    pub error_message: String,
    /// All other fields.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl Application {
    /// One of its versions.
    pub(crate) fn version(&self, number: i64) -> Option<&ApplicationVersion> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The newest of the versions that came after `number` and that are as asked for.
    pub(crate) fn newest_above(
        &self,
        number: Option<i64>,
        is_asked_for: impl Fn(&ApplicationVersion) -> bool,
    ) -> Option<i64> {
        let new = self.versions.iter().filter(|version| number.is_none_or(|number| version.number > number));
        new.filter(|version| is_asked_for(version)).map(|version| version.number).max()
    }
}

impl ApplicationVersion {
    /// Whether it can be used.
    pub(crate) fn is_active(&self) -> bool {
        self.status_code == 3
    }

    /// Whether it is about to go.
    pub(crate) fn is_being_deleted(&self) -> bool {
        self.status_code == 4
    }

    /// Whether it never will be of use.
    pub(crate) fn has_failed(&self) -> bool {
        self.status_code == -1
    }
}

/// A change that AMS works on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Operation {
    /// A UUID.
    pub id: String,
    /// Below 200 while it goes on, 200 success, above failure.
    pub status_code: i64,
    /// Paths of what it works on, by kind.
    #[serde(default, deserialize_with = "or_default")]
    pub resources: BTreeMap<String, Vec<String>>,
    /// Why it failed.
    #[serde(default, deserialize_with = "or_default")]
    pub err: String,
}

/// Takes `null` for the default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_null_or_unknown_is_no_error() {
        let application: Application = serde_json::from_value(json!({
            "id": "c08fr0gj1qm443dtn870", "name": "game", "status_code": 2, "status": "ready", "immutable": false,
            "abi": null, "created_at": 1_532_150_640, "tags": null, "of_a_newer_ams": {"a": [1]},
            "versions": [{"number": 0, "status_code": 3, "published": true, "error_message": null, "addons": null}],
        }))
        .unwrap();
        assert!(application.versions[0].is_active());
        assert_eq!(application.fields["of_a_newer_ams"], json!({"a": [1]}));
        let operation: Operation = serde_json::from_value(json!({
            "id": "d1cb8d8f-1471-40d7-9b1a-3c222afbde53", "class": "task", "status_code": 103, "resources": null,
            "metadata": null, "may_cancel": true, "err": "", "server_address": "",
        }))
        .unwrap();
        assert!(operation.resources.is_empty());
    }
}
