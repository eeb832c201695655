//! The fields that publishers set: unknown ones are kept, and laying changes over them follows the laws of a merge.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use aar_model::{ApplicationFields, VersionFields, merge};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Few names, so that two maps often have the same.
fn map() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![Just("resources".to_owned()), Just("tags".to_owned()), "[a-c]"];
    let value = prop_oneof![
        json_value(),
        prop::collection::btree_map("[a-c]", json_value(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect())),
    ];
    prop::collection::btree_map(name, value, 0..5).prop_map(|map| map.into_iter().collect())
}

fn merged(fields: &Map<String, Value>, changes: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = fields.clone();
    merge(&mut fields, changes);
    fields
}

fn rendered(fields: &impl serde::Serialize) -> Map<String, Value> {
    // As text, the way it is stored and sent.
    serde_json::from_str(&serde_json::to_string(fields).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_says_whether_it_changed_anything(fields in map(), changes in map()) {
        let mut after = fields.clone();
        let changed = merge(&mut after, &changes);
        prop_assert_eq!(changed, after != fields);
        prop_assert!(!merge(&mut after.clone(), &changes), "a second time changes nothing");
    }

    #[test]
    fn a_merge_takes_what_is_not_null_and_leaves_the_rest(fields in map(), changes in map()) {
        let after = merged(&fields, &changes);
        for (name, value) in &after {
            match (changes.get(name).unwrap_or(&Value::Null), fields.get(name)) {
                (Value::Null, old) => prop_assert_eq!(Some(value), old),
                (Value::Object(new), Some(Value::Object(old))) if name == "resources" => {
                    prop_assert_eq!(value, &Value::Object(merged(old, new)));
                }
                (new, _) => prop_assert_eq!(value, new),
            }
        }
        prop_assert!(fields.keys().all(|name| after.contains_key(name)));
        prop_assert!(changes.iter().all(|(name, value)| value.is_null() || after.contains_key(name)));
    }

    #[test]
    fn nothing_and_itself_change_nothing(fields in map()) {
        prop_assert!(!merge(&mut fields.clone(), &Map::new()));
        prop_assert!(!merge(&mut fields.clone(), &fields));
    }

    #[test]
    fn fields_that_are_unknown_come_back_as_they_came(
        application in prop::collection::btree_map("x-.{0,6}", json_value(), 0..6),
        nested in prop::collection::btree_map("x-.{0,6}", json_value(), 0..4),
    ) {
        let unknown: Map<_, _> = application.into_iter().filter(|(_, value)| !value.is_null()).collect();
        let nested: Map<_, _> = nested.into_iter().collect();
        let mut sent = unknown.clone();
        sent.insert("resources".into(), nested.clone().into());
        let shown = rendered(&ApplicationFields::parse(&sent).unwrap());
        for (name, value) in &sent {
            prop_assert_eq!(shown.get(name), Some(value), "{}", name);
        }

        let mut sent = unknown;
        for field in ["watchdog", "hooks", "bootstrap"] {
            sent.insert(field.into(), nested.clone().into());
        }
        sent.insert("addons".into(), json!([nested]));
        sent.insert("services".into(), json!([nested]));
        sent.insert("extra_data".into(), json!({ "file": nested }));
        let shown = rendered(&VersionFields::parse(&sent).unwrap());
        for (name, value) in &nested {
            for place in ["watchdog", "hooks", "bootstrap"].map(|field| &shown[field]) {
                prop_assert_eq!(place.get(name), Some(value));
            }
            for place in [&shown["addons"][0], &shown["services"][0], &shown["extra_data"]["file"]] {
                prop_assert_eq!(place.get(name), Some(value));
            }
        }
        for (name, value) in sent.iter().filter(|(name, _)| name.starts_with("x-")) {
            prop_assert_eq!(shown.get(name), Some(value));
        }
    }

    #[test]
    fn reading_fields_again_gives_the_same(sent in map()) {
        if let Ok(fields) = ApplicationFields::parse(&sent) {
            prop_assert_eq!(ApplicationFields::parse(&rendered(&fields)).unwrap(), fields);
        }
        if let Ok(fields) = VersionFields::parse(&sent) {
            prop_assert_eq!(VersionFields::parse(&rendered(&fields)).unwrap(), fields);
        }
    }
}

#[test]
fn lists_that_ams_has_as_null_are_empty() {
    let sent = json!({
        "watchdog": {"disabled": true, "allowed-packages": null},
        "services": [{"port": 1, "protocols": null, "name": "x"}],
        "bootstrap": {"keep": null}
    });
    let fields = VersionFields::parse(sent.as_object().unwrap()).unwrap();
    assert!(fields.watchdog.disabled && fields.watchdog.allowed_packages.is_empty());
    assert!(fields.services[0].protocols.is_empty() && fields.bootstrap.keep.is_empty());
}

#[test]
fn a_known_field_of_the_wrong_type_is_named() {
    let wrong = json!({ "resources": { "cpus": "four" } });
    let error = ApplicationFields::parse(wrong.as_object().unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("application.resources"), "{error}");
    let wrong = json!({ "services": [{ "port": 1 }, { "port": [] }] });
    let error = VersionFields::parse(wrong.as_object().unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("version.services[1]"), "{error}");
}

#[test]
fn what_is_nested_too_deeply_to_be_read_again_is_refused() {
    let nested = |depth| {
        (0..depth).fold(
            json!(1),
            |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "x": inner }) },
        )
    };
    let field = |depth| json!({ "x-deep": nested(depth) }).as_object().unwrap().clone();
    assert!(ApplicationFields::parse(&field(64)).is_ok());
    let error = ApplicationFields::parse(&field(65)).unwrap_err().to_string();
    assert!(error.contains("application.x-deep") && error.contains("64"), "{error}");
    assert!(VersionFields::parse(&field(65)).is_err());
}
