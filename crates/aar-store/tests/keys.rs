//! Keys: one inverse for each, and none that leads out of its folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Component, Path};

use aar_model::Digest;
use aar_store::{RecordKey, image_key, parse_image_key};
use proptest::prelude::*;

const NAME: &str = "[a-z0-9][a-z0-9._-]{0,62}";

fn key() -> impl Strategy<Value = RecordKey> {
    (NAME, prop::option::of(0..=i64::from(i32::MAX))).prop_map(|(name, version)| {
        let name = name.parse().unwrap();
        match version {
            None => RecordKey::application(name),
            Some(version) => RecordKey::version(name, version.try_into().unwrap()),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_is_found_under_its_key_and_no_other(key in key(), other in key()) {
        prop_assert_eq!(RecordKey::parse(&key.path()), Some(key.clone()));
        prop_assert_eq!(key.path() == other.path(), key == other);
    }

    #[test]
    fn a_record_lies_two_levels_below_its_folder(key in key()) {
        let path = key.path();
        let parts: Vec<_> = Path::new(&path).components().collect();
        prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
        prop_assert_eq!(parts.len(), 4);
        prop_assert!(path.starts_with("records/applications/") && path.is_ascii());
        // What file systems and object stores take as a part of a name.
        prop_assert!(parts.iter().all(|part| part.as_os_str().len() <= 255));
    }

    #[test]
    fn what_is_not_exactly_a_key_is_none(path in prop_oneof![
        "records/applications/[a-z./]{0,6}/(application|[0-9-]{1,11}|[a-z]{1,3})\\.json(\\.new)?",
        "(records/|/records/|records//)applications/a/[01]{1,3}\\.(json|JSON|jso)",
        "records/applications/\\.\\./[0-9]\\.json",
        any::<String>(),
    ]) {
        if let Some(key) = RecordKey::parse(&path) {
            prop_assert_eq!(key.path(), path);
        }
    }

    #[test]
    fn an_image_is_found_under_its_key(bytes in any::<[u8; 32]>()) {
        let image = Digest::of(&bytes);
        let key = image_key(&image);
        prop_assert_eq!(parse_image_key(&key), Some(image));
        let hex = image.to_string();
        prop_assert_eq!(key, format!("images/sha256/{}/{hex}", &hex[..2]));
    }

    #[test]
    fn what_is_not_exactly_an_image_key_is_none(path in prop_oneof![
        "images/sha256/[0-9a-fA-F]{2}/[0-9a-fA-F]{64}",
        "images/sha256/ab/ab[0-9a-fA-F]{62}",
        "images/sha256/AB/AB[0-9a-f]{62}",
        "images/sha256/.{0,3}/.{0,66}",
    ]) {
        if let Some(image) = parse_image_key(&path) {
            prop_assert_eq!(image_key(&image), path);
        }
    }
}
