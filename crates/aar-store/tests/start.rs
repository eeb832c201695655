//! Starts of the registry: with a store that does not answer, and with an index that is not as the store says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use aar_model::wire::PushRequest;
use aar_model::{Architecture, Digest, Version};
use aar_store::memory::Memory;
use aar_store::{
    Change, ETag, Error, Index, Push, Pushed, Reconciled, RecordKey, Records, Registry, RegistryError,
    Result, Scope, Viewer,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::{Instant, timeout};

const WORKS: u8 = 0;
const FAILS: u8 = 1;
const HANGS: u8 = 2;

/// Records of a store that can be out of reach.
#[derive(Clone, Default)]
struct Far {
    records: Memory,
    state: Arc<AtomicU8>,
}

impl Far {
    fn set(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }

    async fn reach(&self) -> Result<()> {
        match self.state.load(Ordering::SeqCst) {
            WORKS => Ok(()),
            FAILS => Err(Error::OutOfReach("no route".into())),
            _ => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Records for Far {
    async fn put(&self, key: &RecordKey, document: Bytes) -> Result<ETag> {
        self.reach().await?;
        self.records.put(key, document).await
    }

    async fn get(&self, key: &RecordKey) -> Result<Option<(Bytes, ETag)>> {
        self.reach().await?;
        self.records.get(key).await
    }

    async fn delete(&self, key: &RecordKey) -> Result<()> {
        self.reach().await?;
        Records::delete(&self.records, key).await
    }

    async fn list(&self) -> Result<Vec<(RecordKey, ETag)>> {
        self.reach().await?;
        Records::list(&self.records).await
    }
}

async fn open(far: &Far, index: &Memory) -> Registry {
    start(far, index).await.0
}

async fn start(far: &Far, index: &Memory) -> (Registry, Option<Reconciled>) {
    let index = std::future::ready(index.opened());
    Registry::open(Arc::new(far.records.clone()), Arc::new(far.clone()), index).await.unwrap()
}

async fn push(registry: &Registry, name: &str) -> Result<Pushed, RegistryError> {
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
    registry.push(push, Box::pin(stream::iter([Ok(body)]))).await
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

fn is_out_of_reach<T>(outcome: &Result<T, RegistryError>) -> bool {
    matches!(outcome, Err(RegistryError::Store(Error::OutOfReach(_))))
}

#[tokio::test(start_paused = true)]
async fn a_registry_whose_store_is_out_of_reach_serves_its_index_and_recovers() {
    for state in [FAILS, HANGS] {
        let (far, index) = (Far::default(), Memory::default());
        push(&open(&far, &index).await, "before").await.unwrap();

        far.set(state);
        let begun = Instant::now();
        let registry = open(&far, &index).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "the start takes {:?}", begun.elapsed());
        assert!(registry.is_degraded());
        assert_eq!(names(&registry), ["before"]);
        assert_eq!(registry.totals().images, 1);
        let name = "before".parse().unwrap();
        assert!(is_out_of_reach(&push(&registry, "meanwhile").await));
        assert!(is_out_of_reach(&registry.delete_application(&name).await));
        assert!(is_out_of_reach(&registry.set_published(&name, one(), false).await));
        assert!(matches!(registry.collect_garbage(Duration::ZERO, false).await, Err(Error::OutOfReach(_))));
        assert!(timeout(Duration::from_secs(600), registry.recover()).await.is_err() == (state == HANGS));
        assert!(registry.is_degraded());

        // Another registry has been at the store.
        far.set(WORKS);
        push(&open(&far, &Memory::default()).await, "elsewhere").await.unwrap();
        registry.recover().await.unwrap();
        assert!(!registry.is_degraded());
        assert_eq!(names(&registry), ["before", "elsewhere"]);
        push(&registry, "after").await.unwrap();
        registry.collect_garbage(Duration::ZERO, false).await.unwrap();
        assert_eq!(names(&registry), ["after", "before", "elsewhere"]);
        assert_eq!(registry.totals().images, 3);
    }
}

#[tokio::test]
async fn a_start_mends_every_way_in_which_the_index_can_differ_and_nothing_else() {
    const NAMES: [&str; 4] = ["another-tag", "as-it-is", "missing", "unreadable"];
    let (store, index) = (Far::default(), Memory::default());
    let registry = open(&store, &index).await;
    for name in NAMES {
        push(&registry, name).await.unwrap();
    }
    drop(registry);
    let right = entries(&index);
    let entry = |name| right.iter().find(|(key, ..)| *key == version(name)).unwrap().clone();
    let (_, _, held_elsewhere) = entry("as-it-is");
    let (unreadable, tag, _) = entry("unreadable");
    index
        .apply(vec![
            Change::Remove(version("missing")),
            Change::Put(version("another-tag"), ETag("another".into()), held_elsewhere.clone()),
            Change::Put(unreadable, tag, Bytes::from("{")),
            Change::Put(version("gone"), ETag("gone".into()), held_elsewhere),
        ])
        .unwrap();

    let (registry, found) = start(&store, &index).await;

    assert_eq!(found, Some(Reconciled { records: 2 * NAMES.len(), changed: 4, damaged: 0 }));
    assert_eq!(entries(&index), right);
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
    assert_eq!(start(&store, &index).await.1, Some(Reconciled::default()));
}
