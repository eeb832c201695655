//! An index that is not as the store says when the registry starts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use aar_model::wire::PushRequest;
use aar_model::{Architecture, Digest, Version};
use aar_store::memory::Memory;
use aar_store::{Change, ETag, Index, Push, Reconciled, RecordKey, Registry, Scope, Viewer};
use bytes::Bytes;
use futures_util::stream;

const NAMES: [&str; 4] = ["another-tag", "as-it-is", "missing", "unreadable"];

async fn open(memory: &Memory) -> (Registry, Reconciled) {
    let (registry, found) =
        Registry::open(Arc::new(memory.clone()), Arc::new(memory.clone()), ready(memory.opened()))
            .await
            .unwrap();
    (registry, found.unwrap())
}

async fn push(registry: &Registry, name: &str) {
    let push = Push {
        name: name.parse().unwrap(),
        version: one(),
        architecture: Architecture::X86_64,
        fingerprint: Digest::of(name.as_bytes()),
        size: None,
        media_type: None,
        request: PushRequest::default(),
    };
    let body = Bytes::copy_from_slice(name.as_bytes());
    registry.push(push, Box::pin(stream::iter([Ok(body)]))).await.unwrap();
}

fn one() -> Version {
    "1".parse().unwrap()
}

fn version(name: &str) -> RecordKey {
    RecordKey::version(name.parse().unwrap(), one())
}

fn entries(index: &Memory) -> Vec<(RecordKey, ETag, Bytes)> {
    let mut entries = Vec::new();
    index
        .scan(Scope::All, &mut |key, tag, document| {
            entries.push((key, tag, Bytes::copy_from_slice(document)));
        })
        .unwrap();
    entries
}

fn names(registry: &Registry) -> Vec<String> {
    let mut names = Vec::new();
    registry
        .applications(Viewer::Client, &mut |application| names.push(application.name.to_string()))
        .unwrap();
    names
}

#[tokio::test]
async fn a_start_mends_every_way_in_which_the_index_can_differ_and_nothing_else() {
    let memory = Memory::default();
    let (registry, _) = open(&memory).await;
    for name in NAMES {
        push(&registry, name).await;
    }
    drop(registry);
    let right = entries(&memory);
    let entry = |name| right.iter().find(|(key, ..)| *key == version(name)).unwrap().clone();
    let (_, _, held_elsewhere) = entry("as-it-is");
    let (unreadable, tag, _) = entry("unreadable");
    memory
        .apply(vec![
            Change::Remove(version("missing")),
            Change::Put(version("another-tag"), ETag("another".into()), held_elsewhere.clone()),
            Change::Put(unreadable, tag, Bytes::from("{")),
            Change::Put(version("gone"), ETag("gone".into()), held_elsewhere),
        ])
        .unwrap();

    let (registry, found) = open(&memory).await;

    assert_eq!(found, Reconciled { records: 2 * NAMES.len(), changed: 4, damaged: 0 });
    assert_eq!(entries(&memory), right);
    assert_eq!(names(&registry), NAMES);
    // Each image is held by exactly the record that the store has.
    assert_eq!(registry.totals().images, 4);
    let collected = registry.collect_garbage(Duration::ZERO, false).await.unwrap();
    assert_eq!(collected.removed, []);
    for name in NAMES {
        registry.delete_version(&name.parse().unwrap(), one(), None).await.unwrap();
    }
    assert_eq!(registry.totals().images, 0);
    drop(registry);
    assert_eq!(open(&memory).await.1, Reconciled::default());
}
