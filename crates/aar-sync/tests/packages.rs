//! Promises of a directory of packages.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use aar_sync::{Packages, Source};

/// Puts a file into place that was written a while ago.
fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let written = SystemTime::now() - Duration::from_secs(60);
    File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
}

#[tokio::test]
async fn what_the_registry_sets_itself_is_not_set_but_whether_a_version_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let fields = br#"{"published": false, "status": "ready", "tags": ["a"]}"#;
    put(&dir.path().join("game/application.json"), fields);
    put(&dir.path().join("game/1/version.json"), fields);
    put(&dir.path().join("game/1/x86_64/a.zip"), b"PK");
    let catalogue = Packages::open(dir.path()).unwrap().list().await.unwrap();
    let game = catalogue.0.values().next().unwrap();
    let names =
        |fields: &serde_json::Map<String, serde_json::Value>| fields.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&game.fields), ["tags"]);
    assert_eq!(names(&game.versions.values().next().unwrap().fields), ["published", "tags"]);
}
