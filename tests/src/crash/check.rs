//! What a registry must be like after every restart.

use std::collections::{BTreeMap, BTreeSet};

use aar_model::Digest;
use serde_json::json;

use super::model::{App, Apps};
use crate::{Daemon, Person};

/// All applications, as somebody sees them.
pub(super) fn shown(daemon: &Daemon, person: &Person) -> Apps {
    let list = daemon.request(person, "GET", "/1.0/applications?recursion=1", b"").metadata();
    list.as_array().unwrap().iter().map(App::read).collect()
}

/// Clients see what is published, and nothing else.
pub(super) fn clients_see_what_is_published(daemon: &Daemon, client: &Person, apps: &Apps) {
    let published =
        apps.iter().filter_map(|(name, app)| Some((name.clone(), app.clone().published()?))).collect();
    assert_eq!(shown(daemon, client), published, "what a client sees");
}

/// Every image that is shown can be pulled and is what it is said to be. Answers how many there are.
pub(super) fn images_are_whole(daemon: &Daemon, person: &Person, apps: &Apps) -> u64 {
    let mut connection = daemon.connect(Some(person));
    let mut pulled = 0;
    for (name, app) in apps {
        for (number, version) in &app.versions {
            for (architecture, stored) in &version.images {
                let path = format!("/1.0/applications/{name}/{number}?architecture={architecture}");
                let answer = connection.request("GET", &path, &[], b"");
                assert_eq!(answer.status, 200, "{path}");
                assert_eq!(answer.body.len() as u64, stored.size, "{path}");
                assert_eq!(Digest::of(&answer.body), stored.digest, "{path}");
                pulled += 1;
            }
        }
    }
    pulled
}

/// Once garbage is collected, the storage holds what is shown and nothing else, and all of it is whole.
pub(super) fn storage_is_exact(daemon: &Daemon, apps: &Apps) {
    let collected = daemon.admin("POST", "/1.0/maintenance/collect-garbage?grace=0", b"");
    assert_eq!(collected.status, 200, "{collected:?}");
    let mut files = BTreeSet::new();
    let mut images = BTreeMap::new();
    for (name, app) in apps {
        files.insert(format!("records/applications/{name}/application.json"));
        for (number, version) in &app.versions {
            files.insert(format!("records/applications/{name}/{number}.json"));
            images.extend(version.images.values().map(|stored| (stored.digest.to_string(), stored.size)));
        }
    }
    files.extend(images.keys().map(|image| format!("images/sha256/{}/{image}", &image[..2])));
    let stored: BTreeSet<_> = daemon.stored_files().into_iter().collect();
    let missing: Vec<_> = files.difference(&stored).collect();
    let left_over: Vec<_> = stored.difference(&files).collect();
    assert!(
        missing.is_empty() && left_over.is_empty(),
        "the storage lacks {missing:?} and has {left_over:?} too much"
    );
    let verified = daemon.admin("POST", "/1.0/maintenance/verify", b"").metadata();
    assert_eq!(
        verified,
        json!({ "images": images.len(), "bytes": images.values().sum::<u64>(), "damaged": [] })
    );
}
