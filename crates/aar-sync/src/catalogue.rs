//! What an end holds.

use std::collections::BTreeMap;

use aar_client::ImageAddress;
use aar_model::wire::Image;
use aar_model::{AppName, Architecture, Digest, Version};
use serde_json::{Map, Value};

/// The applications of an end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue(pub BTreeMap<AppName, Application>);

/// An application.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Application {
    /// The fields that its publisher set.
    pub fields: Map<String, Value>,
    /// Its versions; those of a source are published.
    pub versions: BTreeMap<Version, Release>,
}

/// A version of an application.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Release {
    /// The fields that its publisher set.
    pub fields: Map<String, Value>,
    /// Its images.
    pub packages: BTreeMap<Architecture, Package>,
}

/// An image of a version, as far as an end knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// SHA-256 of its bytes. A source that does not know it tells it by the size, if at all; a target that does not know
    /// it has no such image yet, only the beginning of one.
    pub fingerprint: Option<Digest>,
    /// Bytes.
    pub size: Option<u64>,
    /// What it is packed in, where that is known.
    pub media_type: Option<String>,
}

/// What of a source's applications is wanted. Nothing given, everything is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Applications that have at least one of these tags.
    pub tags: Vec<String>,
    /// Images for these architectures.
    pub architectures: Vec<Architecture>,
}

impl Catalogue {
    /// Only what is selected, without versions and applications that have nothing left.
    #[must_use]
    pub fn select(&self, selection: &Selection) -> Self {
        let Selection { tags, architectures } = selection;
        let mut selected = self.clone();
        selected.0.retain(|_, application| {
            let has = |tag: &Value| tag.as_str().is_some_and(|tag| tags.iter().any(|wanted| wanted == tag));
            let own = application.fields.get("tags").and_then(Value::as_array);
            application.versions.retain(|_, release| {
                release
                    .packages
                    .retain(|built_for, _| architectures.is_empty() || architectures.contains(built_for));
                !release.packages.is_empty()
            });
            let is_tagged = tags.is_empty() || own.is_some_and(|own| own.iter().any(has));
            is_tagged && !application.versions.is_empty()
        });
        selected
    }

    /// All images.
    pub fn images(&self) -> impl Iterator<Item = (ImageAddress, &Package)> {
        self.0.iter().flat_map(|(name, application)| {
            application.versions.iter().flat_map(|(version, release)| {
                release.packages.iter().map(|(architecture, package)| {
                    let (name, version, architecture) = (name.clone(), *version, *architecture);
                    (ImageAddress { name, version, architecture }, package)
                })
            })
        })
    }
}

impl From<&Image> for Package {
    fn from(image: &Image) -> Self {
        Self {
            fingerprint: Some(image.fingerprint),
            size: Some(image.size),
            media_type: Some(image.media_type.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalogue() -> Catalogue {
        let image = |architecture: &str| (architecture.parse().unwrap(), Package::default());
        let application = |tags: Value, images: &[&str]| Application {
            fields: Map::from_iter([("tags".to_owned(), tags)]),
            versions: [(
                "1".parse().unwrap(),
                Release { fields: Map::new(), packages: images.iter().map(|it| image(it)).collect() },
            )]
            .into(),
        };
        Catalogue(
            [
                ("game".parse().unwrap(), application(json!(["games", "beta"]), &["x86_64", "aarch64"])),
                ("tool".parse().unwrap(), application(json!(["tools"]), &["aarch64"])),
                ("plain".parse().unwrap(), application(json!([]), &["x86_64"])),
            ]
            .into(),
        )
    }

    fn selected(tags: &[&str], architectures: &[&str]) -> Vec<String> {
        let selection = Selection {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            architectures: architectures.iter().map(|it| it.parse().unwrap()).collect(),
        };
        let selected = catalogue().select(&selection);
        assert!(selected.0.values().all(|application| !application.versions.is_empty()));
        selected.images().map(|(image, _)| format!("{}/{}", image.name, image.architecture)).collect()
    }

    #[test]
    fn one_of_the_tags_is_enough_and_without_any_everything_is_wanted() {
        assert_eq!(selected(&[], &[]), ["game/x86_64", "game/aarch64", "plain/x86_64", "tool/aarch64"]);
        assert_eq!(selected(&["beta", "tools"], &[]), ["game/x86_64", "game/aarch64", "tool/aarch64"]);
        assert_eq!(selected(&["game"], &[]), Vec::<String>::new());
    }

    #[test]
    fn what_has_no_image_for_the_architecture_is_not_wanted_at_all() {
        assert_eq!(selected(&[], &["aarch64"]), ["game/aarch64", "tool/aarch64"]);
        assert_eq!(selected(&["games"], &["x86_64"]), ["game/x86_64"]);
    }
}
