//! The difference between what there should be and what there is.

use std::fmt;

use aar_client::ImageAddress;
use aar_model::{AppName, Version, merge};
use serde_json::{Map, Value};

use crate::{Application, Catalogue, Package, Release, Rules};

/// What makes a target as its source says: steps that remove come first, then those that change fields, then transfers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What is to be done, in this order.
    pub steps: Vec<Step>,
    /// What stays as it is although the source says otherwise.
    pub conflicts: Vec<Conflict>,
}

/// One thing to do to a target.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Remove an application with all its versions.
    RemoveApplication {
        /// Which.
        name: AppName,
    },
    /// Remove a version with all its images.
    RemoveVersion {
        /// Of which application.
        name: AppName,
        /// Which.
        version: Version,
    },
    /// Remove one of several images of a version.
    RemoveImage {
        /// Which.
        image: ImageAddress,
    },
    /// Change fields of an application that is there.
    ChangeApplication {
        /// Which.
        name: AppName,
        /// All fields that the source has.
        fields: Map<String, Value>,
    },
    /// Change fields of a version that is there.
    ChangeVersion {
        /// Of which application.
        name: AppName,
        /// Which.
        version: Version,
        /// All fields that the source has.
        fields: Map<String, Value>,
    },
    /// Bring an image, and with the first one its version and its application.
    Transfer {
        /// Which.
        image: ImageAddress,
        /// What is known of it.
        package: Package,
        /// All fields of its application that the source has.
        application: Map<String, Value>,
        /// All fields of its version that the source has.
        version: Map<String, Value>,
    },
}

/// Two images that should be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What both are.
    pub image: ImageAddress,
    /// The source's.
    pub wanted: Package,
    /// The target's.
    pub present: Package,
}

impl Plan {
    /// What to do to a target that holds `present` and should hold `wanted`.
    pub fn new(wanted: &Catalogue, present: &Catalogue, rules: Rules) -> Self {
        let mut plan = Self::default();
        if rules.removes {
            plan.remove(wanted, present);
        }
        for (name, application) in &wanted.0 {
            if let Some(there) = present.0.get(name) {
                plan.change(name, application, there, rules);
            }
        }
        for (name, application) in &wanted.0 {
            plan.transfer(name, application, present.0.get(name), rules);
        }
        plan
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Bytes of all images that are to come, as far as they are known.
    pub fn bytes(&self) -> u64 {
        let size = |step: &Step| match step {
            Step::Transfer { package, .. } => package.size.unwrap_or_default(),
            _ => 0,
        };
        self.steps.iter().map(size).sum()
    }

    fn remove(&mut self, wanted: &Catalogue, present: &Catalogue) {
        for (name, there) in &present.0 {
            let Some(application) = wanted.0.get(name) else {
                self.steps.push(Step::RemoveApplication { name: name.clone() });
                continue;
            };
            for (version, there) in &there.versions {
                let (name, version) = (name.clone(), *version);
                let Some(release) = application.versions.get(&version) else {
                    self.steps.push(Step::RemoveVersion { name, version });
                    continue;
                };
                let gone =
                    there.packages.keys().filter(|built_for| !release.packages.contains_key(built_for));
                self.steps.extend(gone.map(|architecture| Step::RemoveImage {
                    image: ImageAddress { name: name.clone(), version, architecture: *architecture },
                }));
            }
        }
    }

    fn change(&mut self, name: &AppName, wanted: &Application, present: &Application, rules: Rules) {
        let differ = |wanted: &Map<String, Value>, present: &Map<String, Value>| {
            if rules.replaces { wanted != present } else { merge(&mut present.clone(), wanted) }
        };
        // Where nothing stays, fields come with the first image.
        let stays = |version: &Version, there: &Release| {
            let wanted = wanted.versions.get(version);
            let is_wanted = |it| wanted.is_some_and(|release| release.packages.contains_key(it));
            !rules.removes || there.packages.keys().any(is_wanted)
        };
        let staying: Vec<_> =
            present.versions.iter().filter(|(version, there)| stays(version, there)).collect();
        if !staying.is_empty() && differ(&wanted.fields, &present.fields) {
            let fields = wanted.fields.clone();
            self.steps.push(Step::ChangeApplication { name: name.clone(), fields });
        }
        if !rules.replaces {
            return;
        }
        for (version, there) in staying {
            if let Some(release) = wanted.versions.get(version)
                && differ(&release.fields, &there.fields)
            {
                let fields = release.fields.clone();
                self.steps.push(Step::ChangeVersion { name: name.clone(), version: *version, fields });
            }
        }
    }

    fn transfer(
        &mut self,
        name: &AppName,
        application: &Application,
        present: Option<&Application>,
        rules: Rules,
    ) {
        for (version, release) in &application.versions {
            let there = present.and_then(|application| application.versions.get(version));
            for (architecture, package) in &release.packages {
                let image =
                    ImageAddress { name: name.clone(), version: *version, architecture: *architecture };
                let there = there.and_then(|release: &Release| release.packages.get(architecture));
                match there {
                    Some(there) if package.is_same(there) => continue,
                    Some(there) if there.fingerprint.is_some() && !rules.replaces => {
                        let (wanted, present) = (package.clone(), there.clone());
                        self.conflicts.push(Conflict { image, wanted, present });
                        continue;
                    }
                    _ => {}
                }
                self.steps.push(Step::Transfer {
                    image,
                    package: package.clone(),
                    application: application.fields.clone(),
                    version: release.fields.clone(),
                });
            }
        }
    }
}

impl Step {
    /// The application that it is about.
    pub fn name(&self) -> &AppName {
        match self {
            Self::RemoveApplication { name }
            | Self::RemoveVersion { name, .. }
            | Self::ChangeApplication { name, .. }
            | Self::ChangeVersion { name, .. } => name,
            Self::RemoveImage { image } | Self::Transfer { image, .. } => &image.name,
        }
    }
}

impl Package {
    /// Whether a target has this very image, as far as both know.
    fn is_same(&self, present: &Self) -> bool {
        match (self.fingerprint, present.fingerprint) {
            (_, None) => false,
            (Some(wanted), Some(present)) => wanted == present,
            (None, Some(_)) => self.size.is_none() || self.size == present.size,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoveApplication { name } => write!(f, "remove {name}"),
            Self::RemoveVersion { name, version } => write!(f, "remove {name} version {version}"),
            Self::RemoveImage { image } => write!(f, "remove {image}"),
            Self::ChangeApplication { name, .. } => write!(f, "change {name}"),
            Self::ChangeVersion { name, version, .. } => write!(f, "change {name} version {version}"),
            Self::Transfer { image, .. } => write!(f, "transfer {image}"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is another image there, and an image is immutable: use a new version", self.image)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const MIRROR: Rules = Rules { removes: true, replaces: true };
    const REGISTRY: Rules = Rules { removes: false, replaces: false };

    /// A catalogue of `name/version/architecture/content` and of `name` with the value of the field `a`.
    fn catalogue(images: &[(&str, &str)]) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for (path, field) in images {
            let parts: Vec<_> = path.split('/').collect();
            let application = catalogue.0.entry(parts[0].parse().unwrap()).or_default();
            application.fields.insert("a".into(), json!(field));
            let release = application.versions.entry(parts[1].parse().unwrap()).or_default();
            let package = match parts[3] {
                "?" => Package::default(),
                content => Package {
                    fingerprint: Some(aar_model::Digest::of(content.as_bytes())),
                    size: Some(content.len() as u64),
                    media_type: None,
                },
            };
            release.packages.insert(parts[2].parse().unwrap(), package);
        }
        catalogue
    }

    fn shown(wanted: &[(&str, &str)], present: &[(&str, &str)], rules: Rules) -> Vec<String> {
        let plan = Plan::new(&catalogue(wanted), &catalogue(present), rules);
        let conflicts = plan.conflicts.iter().map(|conflict| format!("conflict {}", conflict.image));
        plan.steps.iter().map(ToString::to_string).chain(conflicts).collect()
    }

    #[test]
    fn a_mirror_removes_before_it_changes_and_changes_before_it_transfers() {
        let wanted = [
            ("game/1/x86_64/one", "new"),
            ("game/2/x86_64/two", "new"),
            ("game/2/aarch64/2", "new"),
            ("tool/1/x86_64/t", ""),
        ];
        let present = [
            ("game/0/x86_64/zero", "old"),
            ("game/1/x86_64/one", "old"),
            ("game/1/aarch64/1", "old"),
            ("gone/7/x86_64/g", ""),
        ];
        let expected = [
            "remove game version 0",
            "remove game version 1 for aarch64",
            "remove gone",
            "change game",
            "transfer game version 2 for x86_64",
            "transfer game version 2 for aarch64",
            "transfer tool version 1 for x86_64",
        ];
        assert_eq!(shown(&wanted, &present, MIRROR), expected);
    }

    #[test]
    fn another_image_is_replaced_in_a_mirror_and_a_conflict_on_a_registry() {
        let (wanted, present) = ([("game/1/x86_64/new", "")], [("game/1/x86_64/old", "")]);
        assert_eq!(shown(&wanted, &present, MIRROR), ["transfer game version 1 for x86_64"]);
        assert_eq!(shown(&wanted, &present, REGISTRY), ["conflict game version 1 for x86_64"]);
    }

    #[test]
    fn fields_of_what_goes_to_its_last_image_are_not_changed_but_come_with_the_next() {
        let expected = ["remove game version 1", "transfer game version 2 for x86_64"];
        assert_eq!(shown(&[("game/2/x86_64/b", "new")], &[("game/1/x86_64/a", "old")], MIRROR), expected);
        let expected = ["remove game version 1 for x86_64", "transfer game version 1 for aarch64"];
        assert_eq!(shown(&[("game/1/aarch64/b", "new")], &[("game/1/x86_64/a", "old")], MIRROR), expected);
    }

    #[test]
    fn a_registry_loses_nothing() {
        let present = [("game/1/x86_64/one", "a"), ("other/1/x86_64/o", "")];
        assert_eq!(shown(&[], &present, REGISTRY), Vec::<String>::new());
        assert_eq!(shown(&[("game/1/x86_64/one", "b")], &present, REGISTRY), ["change game"]);
    }

    #[test]
    fn an_image_of_which_there_is_only_a_beginning_is_transferred_or_removed() {
        let unfinished = [("game/1/x86_64/?", "")];
        assert_eq!(
            shown(&[("game/1/x86_64/one", "")], &unfinished, MIRROR),
            ["transfer game version 1 for x86_64"]
        );
        assert_eq!(shown(&[], &unfinished, MIRROR), ["remove game"]);
    }

    #[test]
    fn a_source_that_knows_no_digests_is_believed_by_the_size() {
        let mut wanted = catalogue(&[("game/1/x86_64/?", "")]);
        let present = catalogue(&[("game/1/x86_64/one", "")]);
        assert!(Plan::new(&wanted, &present, REGISTRY).is_empty());
        let application = wanted.0.values_mut().next().unwrap();
        let release = application.versions.values_mut().next().unwrap();
        release.packages.values_mut().next().unwrap().size = Some(4);
        assert_eq!(Plan::new(&wanted, &present, REGISTRY).conflicts.len(), 1);
    }

    /// What becomes of a target that does what its plan says.
    fn carried_out(mut target: Catalogue, plan: &Plan) -> Catalogue {
        for step in &plan.steps {
            match step.clone() {
                Step::RemoveApplication { name } => {
                    target.0.remove(&name).unwrap();
                }
                Step::RemoveVersion { name, version } => {
                    target.0.get_mut(&name).unwrap().versions.remove(&version).unwrap();
                }
                Step::RemoveImage { image } => {
                    let application = target.0.get_mut(&image.name).unwrap();
                    let release = application.versions.get_mut(&image.version).unwrap();
                    release.packages.remove(&image.architecture).unwrap();
                }
                Step::ChangeApplication { name, fields } => target.0.get_mut(&name).unwrap().fields = fields,
                Step::ChangeVersion { name, version, fields } => {
                    let application = target.0.get_mut(&name).unwrap();
                    application.versions.get_mut(&version).unwrap().fields = fields;
                }
                Step::Transfer { image, package, application, version } => {
                    let there = target.0.entry(image.name).or_default();
                    there.fields = application;
                    let release = there.versions.entry(image.version).or_default();
                    release.fields = version;
                    release.packages.insert(image.architecture, package);
                }
            }
        }
        target
    }

    fn any_catalogue() -> impl Strategy<Value = Catalogue> {
        let image = (0..3_u8, 0..3_u8, any::<bool>(), 0..3_u8, 0..3_u8);
        proptest::collection::vec(image, 0..12).prop_map(|images| {
            let images: Vec<_> = images
                .iter()
                .map(|(name, version, arm, content, field)| {
                    let architecture = if *arm { "aarch64" } else { "x86_64" };
                    (format!("app{name}/{version}/{architecture}/{content}"), field.to_string())
                })
                .collect();
            catalogue(&images.iter().map(|(path, field)| (path.as_str(), field.as_str())).collect::<Vec<_>>())
        })
    }

    proptest! {
        #[test]
        fn one_plan_makes_a_mirror_equal_and_leaves_nothing_to_do(wanted in any_catalogue(), present in any_catalogue()) {
            let plan = Plan::new(&wanted, &present, MIRROR);
            prop_assert!(plan.conflicts.is_empty());
            let reached = carried_out(present, &plan);
            prop_assert_eq!(&reached, &wanted);
            prop_assert!(Plan::new(&wanted, &reached, MIRROR).is_empty());
        }

        #[test]
        fn a_plan_for_a_registry_leaves_conflicts_only(wanted in any_catalogue(), present in any_catalogue()) {
            let plan = Plan::new(&wanted, &present, REGISTRY);
            let reached = carried_out(present.clone(), &plan);
            for (image, package) in present.images() {
                prop_assert!(reached.images().any(|(other, kept)| other == image && kept == package));
            }
            let again = Plan::new(&wanted, &reached, REGISTRY);
            prop_assert!(again.is_empty(), "{again:?}");
            prop_assert_eq!(again.conflicts, plan.conflicts);
        }
    }
}
