//! The metadata of a push: what is read can be rendered and is then read as the same, and laying it over what is there
//! follows the laws of a merge.

#![no_main]

use aar_model::wire::PushRequest;
use aar_model::{ApplicationFields, VersionFields, merge};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|json: &[u8]| {
    let Ok(request) = serde_json::from_slice::<PushRequest>(json) else { return };
    let rendered = serde_json::to_vec(&request).unwrap();
    assert_eq!(serde_json::from_slice::<PushRequest>(&rendered).unwrap(), request);

    if let Ok(fields) = ApplicationFields::parse(&request.application) {
        assert_eq!(ApplicationFields::parse(&render(&fields)).unwrap(), fields);
    }
    if let Ok(fields) = VersionFields::parse(&request.version) {
        assert_eq!(VersionFields::parse(&render(&fields)).unwrap(), fields);
    }

    let mut fields = request.application;
    let before = fields.clone();
    let changed = merge(&mut fields, &request.version);
    assert_eq!(changed, fields != before);
    assert!(!merge(&mut fields, &request.version), "a second time nothing is left to change");
    assert!(before.keys().all(|name| fields.contains_key(name)));
});

fn render(fields: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(fields).unwrap() {
        Value::Object(fields) => fields,
        other => panic!("{other}"),
    }
}
