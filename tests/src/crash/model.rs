//! What an application is, and what becomes of it.

use std::collections::BTreeMap;

use aar_model::Digest;
use fastrand::Rng;
use serde_json::{Value, json};

pub(super) const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];
pub(super) const VERSIONS: std::ops::RangeInclusive<u64> = 1..=4;

/// Images that everybody pushes, so that they have many holders.
const COMMON_IMAGES: u64 = 6;

/// An application, as far as it is followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct App {
    /// What `instance_type` and `tags` say, which are always set together.
    pub(super) label: Option<String>,
    pub(super) versions: BTreeMap<u64, AppVersion>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppVersion {
    pub(super) published: bool,
    /// What `features` says.
    pub(super) label: Option<String>,
    /// By architecture.
    pub(super) images: BTreeMap<String, Stored>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// All applications, by name.
pub(super) type Apps = BTreeMap<String, App>;

/// A place for an image in an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) version: u64,
    pub(super) architecture: &'static str,
}

/// A change of an application.
#[derive(Debug)]
pub(super) enum Action {
    Push { slot: Slot, image: Vec<u8>, digest: Digest, metadata: Option<Metadata> },
    Publish { version: u64, published: bool },
    Change { label: String },
    DeleteVersion { version: u64, architecture: Option<&'static str> },
    Delete,
}

/// What comes with a push.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) label: String,
    pub(super) published: bool,
}

impl App {
    /// Reads the API's application.
    ///
    /// # Panics
    /// Its fields belong to no state that there can have been.
    pub(super) fn read(json: &Value) -> (String, Self) {
        let label = text(&json["instance_type"]);
        assert_eq!(only(&json["tags"]), label, "fields that were set together: {json}");
        let versions = json["versions"].as_array().unwrap().iter().map(AppVersion::read).collect();
        (text(&json["name"]).unwrap(), Self { label, versions })
    }

    pub(super) fn image(&self, slot: Slot) -> Option<Stored> {
        self.versions.get(&slot.version)?.images.get(slot.architecture).copied()
    }

    /// What somebody sees who sees published versions only.
    pub(super) fn published(mut self) -> Option<Self> {
        self.versions.retain(|_, version| version.published);
        self.existing()
    }

    /// The application; with its last version it is gone.
    fn existing(self) -> Option<Self> {
        if self.versions.is_empty() { None } else { Some(self) }
    }
}

impl AppVersion {
    fn read(json: &Value) -> (u64, Self) {
        let images = json["images"].as_array().unwrap().iter().map(|image| {
            let digest = image["fingerprint"].as_str().unwrap().parse().unwrap();
            (text(&image["architecture"]).unwrap(), Stored { digest, size: image["size"].as_u64().unwrap() })
        });
        let published = json["published"].as_bool().unwrap();
        let version = Self { published, label: only(&json["features"]), images: images.collect() };
        assert!(!version.images.is_empty(), "a version without an image: {json}");
        (json["number"].as_u64().unwrap(), version)
    }
}

fn text(json: &Value) -> Option<String> {
    json.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn only(json: &Value) -> Option<String> {
    let list = json.as_array().map_or(&[][..], Vec::as_slice);
    assert!(list.len() <= 1, "{json}");
    list.first().and_then(text)
}

impl Slot {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        VERSIONS.flat_map(|version| ARCHITECTURES.map(|architecture| Self { version, architecture }))
    }

    pub(super) fn random(rng: &mut Rng) -> Self {
        Self { version: rng.u64(VERSIONS), architecture: ARCHITECTURES[rng.usize(..2)] }
    }
}

impl Action {
    pub(super) fn random(rng: &mut Rng) -> Self {
        let label = format!("label-{:016x}", rng.u64(..));
        let Slot { version, architecture } = Slot::random(rng);
        match rng.u8(..100) {
            0..55 => {
                let metadata = Metadata { label, published: rng.u8(..4) > 0 };
                let metadata = Some(metadata).filter(|_| rng.bool());
                let id = if rng.bool() { rng.u64(..COMMON_IMAGES) } else { rng.u64(..) };
                let image = image(id);
                let digest = Digest::of(&image);
                Self::Push { slot: Slot { version, architecture }, image, digest, metadata }
            }
            55..67 => Self::Publish { version, published: rng.bool() },
            67..79 => Self::Change { label },
            79..94 => {
                Self::DeleteVersion { version, architecture: Some(architecture).filter(|_| rng.bool()) }
            }
            _ => Self::Delete,
        }
    }

    /// The status that answers it, and what becomes of the application.
    pub(super) fn apply(&self, before: Option<&App>) -> (u16, Option<App>) {
        let unchanged = |status| (status, before.cloned());
        match self {
            Self::Push { slot, image, digest, metadata } => {
                let mut app = before.cloned().unwrap_or_default();
                let there = app.image(*slot);
                if there.is_some_and(|there| there.digest != *digest) {
                    return unchanged(409);
                }
                if let Some(metadata) = metadata {
                    app.label = Some(metadata.label.clone());
                }
                if there.is_none() {
                    let version = app.versions.entry(slot.version).or_insert_with(|| AppVersion {
                        published: metadata.as_ref().is_none_or(|metadata| metadata.published),
                        label: metadata.as_ref().map(|metadata| metadata.label.clone()),
                        images: BTreeMap::new(),
                    });
                    let stored = Stored { digest: *digest, size: image.len() as u64 };
                    version.images.insert(slot.architecture.into(), stored);
                }
                (202, Some(app))
            }
            Self::Publish { version, published } => {
                let mut after = before.cloned();
                match after.as_mut().and_then(|app| app.versions.get_mut(version)) {
                    None => return unchanged(404),
                    Some(version) => version.published = *published,
                }
                (202, after)
            }
            Self::Change { label } => match before {
                None => unchanged(404),
                Some(app) => (202, Some(App { label: Some(label.clone()), ..app.clone() })),
            },
            Self::DeleteVersion { version: number, architecture } => {
                let Some(mut app) = before.cloned() else { return unchanged(404) };
                let Some(version) = app.versions.get_mut(number) else { return unchanged(404) };
                match architecture {
                    None => version.images.clear(),
                    Some(architecture) if version.images.remove(*architecture).is_none() => {
                        return unchanged(404);
                    }
                    Some(_) => {}
                }
                if version.images.is_empty() {
                    app.versions.remove(number);
                }
                (202, app.existing())
            }
            Self::Delete => (if before.is_some() { 202 } else { 404 }, None),
        }
    }

    /// Method, path and JSON of the request; a push has its image as its body instead.
    pub(super) fn request(&self, app: &str) -> (&'static str, String, Option<Value>) {
        let path = format!("/1.0/applications/{app}");
        match self {
            Self::Push { slot, .. } => {
                ("PUT", format!("{path}/{}?architecture={}", slot.version, slot.architecture), None)
            }
            Self::Publish { version, published } => {
                ("PATCH", format!("{path}/{version}"), Some(json!({ "published": published })))
            }
            Self::Change { label } => {
                ("PATCH", path, Some(json!({ "instance-type": label, "tags": [label] })))
            }
            Self::DeleteVersion { version, architecture: None } => {
                ("DELETE", format!("{path}/{version}"), None)
            }
            Self::DeleteVersion { version, architecture: Some(architecture) } => {
                ("DELETE", format!("{path}/{version}?architecture={architecture}"), None)
            }
            Self::Delete => ("DELETE", path, None),
        }
    }

    /// The label that it would set.
    pub(super) fn label(&self) -> Option<&String> {
        match self {
            Self::Push { metadata, .. } => metadata.as_ref().map(|metadata| &metadata.label),
            Self::Change { label } => Some(label),
            _ => None,
        }
    }
}

impl Metadata {
    /// The value of `X-AMS-Request`.
    pub(super) fn header(&self) -> String {
        let Self { label, published } = self;
        let application = json!({ "instance_type": label, "tags": [label] });
        json!({ "application": application, "version": { "features": [label], "published": published } })
            .to_string()
    }
}

/// An image: most are small, few are of some MiB.
fn image(id: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(id);
    let largest = match rng.u8(..20) {
        0..8 => 200,
        8..15 => 256 << 10,
        15..19 => 2 << 20,
        _ => 6 << 20,
    };
    let mut image = vec![0; rng.usize(1..=largest)];
    rng.fill(&mut image);
    image
}
