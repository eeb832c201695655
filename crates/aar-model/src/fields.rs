//! The fields that a publisher sets: those that the registry knows have a type, all others are kept as they came.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::wire::{Addon, Bootstrap, ExtraData, Hooks, Service, Watchdog};

/// How deep lists and objects in a field may be nested: JSON readers, also the one of the stored records, give up at about
/// twice that, and records and answers wrap a few levels around a field.
const MAX_DEPTH: usize = 64;

/// A field that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum InvalidField {
    /// Its value has the wrong type.
    #[error("{kind}.{problem}")]
    Type {
        /// What it is a field of.
        kind: &'static str,
        /// Where in it, and what is wrong.
        problem: serde_path_to_error::Error<serde_json::Error>,
    },
    /// Its value is nested too deeply.
    #[error("{kind}.{field}: lists and objects are nested more than {MAX_DEPTH} deep")]
    TooDeep {
        /// What it is a field of.
        kind: &'static str,
        /// The beginning of its name.
        field: String,
    },
}

/// An application's fields. Every one may be left out; AMS's clients get an empty value then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // the wire's shape
pub struct ApplicationFields {
    /// AMS instance type, `a4.3`.
    pub instance_type: String,
    /// Android package that is started, `com.example.game`.
    pub boot_package: String,
    /// Identifier of the base image on the publishing AMS.
    pub parent_image_id: String,
    /// Variant of the base image.
    pub parent_image_variant: String,
    /// Android ABI, `x86_64` or `arm64-v8a`.
    pub abi: String,
    /// Not to be changed on AMS.
    pub immutable: bool,
    /// Not rebuilt by AMS when its base image changes.
    pub inhibit_auto_updates: bool,
    /// Runs in a virtual machine instead of a container.
    pub vm: bool,
    /// Free tags, which synchronisation filters by.
    pub tags: Vec<String>,
    /// Names of addons.
    pub addons: Vec<String>,
    /// Tags of the nodes that may run it.
    pub node_selector: Vec<String>,
    /// Resources that an instance needs.
    pub resources: Resources,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Resources of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Number of CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<i64>,
    /// Memory with its unit, `3GB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Disk with its unit, `3GB`.
    #[serde(rename = "disk-size", skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<String>,
    /// Slots of a GPU.
    #[serde(rename = "gpu-slots", skip_serializing_if = "Option::is_none")]
    pub gpu_slots: Option<i64>,
    /// Kind of GPU.
    #[serde(rename = "gpu-type", skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<String>,
    /// Slots of a VPU.
    #[serde(rename = "vpu-slots", skip_serializing_if = "Option::is_none")]
    pub vpu_slots: Option<i64>,
    /// Whether no disk is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_disk_reserve: Option<bool>,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A version's fields. Every one may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VersionFields {
    /// Version of the manifest's format.
    pub manifest_version: String,
    /// Identifier of the base image on the publishing AMS.
    pub parent_image_id: String,
    /// Version of the base image.
    pub parent_image_version: i64,
    /// Android activity that is started.
    pub boot_activity: String,
    /// Android permissions that are granted.
    pub required_permissions: Vec<String>,
    /// Addons in their versions.
    pub addons: Vec<Addon>,
    /// Files that are installed beside the application.
    pub extra_data: std::collections::BTreeMap<String, ExtraData>,
    /// What went wrong on the publishing AMS.
    pub error_message: String,
    /// `gpu`, `gpu-preferred`, `software`, `vpu` or `unknown`.
    pub video_encoder: String,
    /// AMS's watchdog.
    pub watchdog: Watchdog,
    /// Network services of an instance.
    pub services: Vec<Service>,
    /// Feature flags.
    pub features: Vec<String>,
    /// Settings of the hooks.
    pub hooks: Hooks,
    /// Settings of the bootstrap.
    pub bootstrap: Bootstrap,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ApplicationFields {
    /// Reads an application's fields; null counts as left out.
    pub fn parse(fields: &Map<String, Value>) -> Result<Self, InvalidField> {
        parse(fields, "application")
    }
}

impl VersionFields {
    /// Reads a version's fields; null counts as left out.
    pub fn parse(fields: &Map<String, Value>) -> Result<Self, InvalidField> {
        parse(fields, "version")
    }
}

fn parse<T: for<'de> Deserialize<'de>>(
    fields: &Map<String, Value>,
    kind: &'static str,
) -> Result<T, InvalidField> {
    if let Some((name, _)) = fields.iter().find(|(_, value)| is_deeper(value, MAX_DEPTH)) {
        return Err(InvalidField::TooDeep { kind, field: name.chars().take(64).collect() });
    }
    let present: Map<_, _> =
        fields.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    serde_path_to_error::deserialize(Value::Object(present))
        .map_err(|problem| InvalidField::Type { kind, problem })
}

/// Whether lists and objects are nested more than `limit` deep.
fn is_deeper(value: &Value, limit: usize) -> bool {
    let inner = |value| is_deeper(value, limit - 1);
    match value {
        Value::Array(values) => limit == 0 || values.iter().any(inner),
        Value::Object(values) => limit == 0 || values.values().any(inner),
        _ => false,
    }
}

/// Fields of an application or a version that the registry sets itself. AMS sends them with a push, where they are passed
/// over; a change of an application that names one is refused.
const REGISTRY_OWNED: &[&str] = &[
    "id",
    "name",
    "number",
    "status",
    "status_code",
    "published",
    "created_at",
    "updated_at",
    "versions",
    "architectures",
    "images",
];

/// Whether the registry itself sets the field `name`.
pub fn is_registry_owned(name: &str) -> bool {
    REGISTRY_OWNED.contains(&name)
}

/// Lays `changes` over `fields`: null leaves a field as it is, `resources` is merged key by key, everything else is
/// replaced. Answers whether anything changed.
pub fn merge(fields: &mut Map<String, Value>, changes: &Map<String, Value>) -> bool {
    let mut any = false;
    for (name, value) in changes.iter().filter(|(_, value)| !value.is_null()) {
        match (name.as_str(), fields.get_mut(name), value) {
            ("resources", Some(Value::Object(old)), Value::Object(new)) => any |= merge(old, new),
            (_, Some(old), _) if old == value => {}
            _ => {
                fields.insert(name.clone(), value.clone());
                any = true;
            }
        }
    }
    any
}
