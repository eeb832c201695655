//! The applications, and what changes them.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aar_model::Digest;
use serde_json::{Map, Value, json};

/// Why a call is refused: the status and AMS's words.
pub(super) type Refusal = (u16, String);

/// An application.
#[derive(Debug, Clone)]
pub(super) struct Application {
    pub(super) name: String,
    /// -1 error, 1 initialising, 2 ready
    pub(super) status: i64,
    pub(super) created_at: i64,
    pub(super) immutable: bool,
    pub(super) fields: Map<String, Value>,
    pub(super) versions: BTreeMap<i64, Version>,
    /// The number that no version has had yet.
    pub(super) next: i64,
}

/// A version.
#[derive(Debug, Clone)]
pub(super) struct Version {
    /// -1 error, 1 initialising, 3 active
    pub(super) status: i64,
    pub(super) published: bool,
    pub(super) created_at: i64,
    pub(super) error: String,
    pub(super) package: Vec<u8>,
    boot_activity: Value,
}

impl Application {
    pub(super) fn new(manifest: &Value) -> Self {
        let mut fields = Map::new();
        for (field, key, or) in [
            ("instance_type", "instance-type", json!("a4.3")),
            ("boot_package", "boot-package", json!("")),
            ("abi", "abi", json!("")),
            ("tags", "tags", Value::Null),
            ("addons", "addons", Value::Null),
            ("resources", "resources", json!({"gpu-slots": -1})),
            ("inhibit_auto_updates", "inhibit-auto-updates", json!(false)),
            ("node_selector", "node-selector", Value::Null),
        ] {
            fields.insert(field.into(), manifest.get(key).cloned().unwrap_or(or));
        }
        fields.insert("parent_image_id".into(), json!("btavtegj1qm58qg7ru50"));
        fields.insert("vm".into(), json!(false));
        let name = manifest["name"].as_str().unwrap().to_owned();
        let (created_at, versions) = (now(), BTreeMap::new());
        Self { name, status: 1, created_at, immutable: false, fields, versions, next: 0 }
    }

    pub(super) fn begin(&mut self, manifest: &Value, package: Vec<u8>) -> i64 {
        let number = self.next;
        self.next += 1;
        let version = Version {
            status: 1,
            published: false,
            created_at: now(),
            error: String::new(),
            package,
            boot_activity: manifest.get("boot-activity").cloned().unwrap_or(json!("")),
        };
        self.versions.insert(number, version);
        number
    }

    /// A version is through, or has failed. Only so many stay published.
    pub(super) fn finish(&mut self, number: i64, error: Option<&str>, publish: bool, most: usize) {
        let Some(version) = self.versions.get_mut(&number) else { return };
        if let Some(error) = error {
            (version.status, version.error) = (-1, error.to_owned());
            if self.versions.len() == 1 {
                self.status = -1;
            }
            return;
        }
        (version.status, version.published) = (3, publish);
        self.status = 2;
        self.trim(most);
    }

    /// Removes the oldest of too many published versions.
    pub(super) fn trim(&mut self, most: usize) {
        let published: Vec<_> =
            self.versions.iter().filter(|(_, it)| it.published).map(|(n, _)| *n).collect();
        for number in published.iter().rev().skip(most) {
            self.versions.remove(number);
        }
    }

    pub(super) fn change(&mut self, changes: &Map<String, Value>) -> Result<(), Refusal> {
        for (key, value) in changes {
            let is_right = match key.as_str() {
                "instance-type" => value.as_str().is_some_and(|it| it.starts_with('a')),
                "tags" | "addons" | "node_selector" => value.is_array(),
                "inhibit_auto_updates" => value.is_boolean(),
                "resources" => value.is_object(),
                _ => false,
            };
            if !is_right {
                return Err((400, format!("invalid argument: '{key}'")));
            }
            self.fields.insert(key.replace("instance-type", "instance_type"), value.clone());
        }
        Ok(())
    }

    pub(super) fn to_json(&self, id: &str) -> Value {
        let status = match self.status {
            -1 => "error",
            1 => "initializing",
            _ => "ready",
        };
        let versions: Vec<_> =
            self.versions.iter().map(|(number, version)| version.to_json(*number)).collect();
        let mut json = json!({
            "id": id, "name": self.name, "status_code": self.status, "status": status, "immutable": self.immutable,
            "published": self.versions.values().any(|version| version.published),
            "created_at": self.created_at, "versions": versions,
        });
        json.as_object_mut().unwrap().extend(self.fields.clone());
        json
    }
}

impl Version {
    pub(super) fn fingerprint(&self) -> String {
        Digest::of(&self.package).to_string()
    }

    /// What an export gives: nothing that could be imported as a package.
    pub(super) fn export(&self) -> Vec<u8> {
        [b"metadata.yaml and rootfs of ", &*self.package].concat()
    }

    fn to_json(&self, number: i64) -> Value {
        let status = match self.status {
            -1 => "error",
            1 => "initializing",
            _ => "active",
        };
        json!({
            "number": number, "manifest_version": "", "parent_image_id": "btavtegj1qm58qg7ru50",
            "parent_image_version": 0, "status_code": self.status, "status": status, "published": self.published,
            "created_at": self.created_at, "boot_activity": self.boot_activity, "required_permissions": null,
            "addons": [], "extra_data": {}, "error_message": self.error, "video_encoder": "gpu-preferred",
            "watchdog": {"disabled": false, "allowed-packages": null}, "features": null,
        })
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}
