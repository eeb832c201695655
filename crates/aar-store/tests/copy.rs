//! A copy to another store: all of it, of one moment, and whatever happens on the way, nothing half-made is seen there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aar_model::wire::{Application, CopyReport, PushRequest};
use aar_model::{AppName, Architecture, Digest};
use aar_store::memory::Memory;
use aar_store::{
    BlobInfo, Blobs, ByteStream, CopyError, ETag, Error, Push, RecordKey, Records, Registry, Result, Upload,
    Uploads, Viewer,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use serde_json::json;

/// Done once, before the first write.
type Hook = Mutex<Option<BoxFuture<'static, ()>>>;

/// How reading an image of it goes wrong.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Missing,
    Shorter,
    OtherBytes,
    Unreadable,
    OutOfReach,
}

/// A store in memory that fails after so many writes, has damaged images, and lets something happen in between.
#[derive(Clone)]
struct Store {
    memory: Memory,
    writes_left: Arc<AtomicI64>,
    damaged: Arc<Mutex<BTreeMap<Digest, Damage>>>,
    before_image: Arc<Hook>,
    before_record: Arc<Hook>,
}

impl Store {
    fn new(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            writes_left: Arc::new(AtomicI64::new(i64::MAX)),
            damaged: Arc::default(),
            before_image: Arc::default(),
            before_record: Arc::default(),
        }
    }

    fn write(&self) -> Result<()> {
        match self.writes_left.fetch_sub(1, Ordering::SeqCst) {
            1.. => Ok(()),
            _ => Err(Error::NoSpace("it is full".into())),
        }
    }

    fn damage(&self, image: &Digest) -> Option<Damage> {
        self.damaged.lock().unwrap().get(image).copied()
    }
}

async fn happen(hook: &Hook) {
    let happening = hook.lock().unwrap().take();
    if let Some(happening) = happening {
        happening.await;
    }
}

struct StoreUpload(Box<dyn Upload>, Store);

#[async_trait]
impl Upload for StoreUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.1.write()?;
        self.0.write(chunk).await
    }

    async fn commit(self: Box<Self>) -> Result<u64> {
        self.1.write()?;
        self.0.commit().await
    }
}

#[async_trait]
impl Blobs for Store {
    async fn begin(&self, image: &Digest, size: Option<u64>) -> Result<Box<dyn Upload>> {
        happen(&self.before_image).await;
        self.write()?;
        Ok(Box::new(StoreUpload(self.memory.begin(image, size).await?, self.clone())))
    }

    async fn size(&self, image: &Digest) -> Result<Option<u64>> {
        let size = self.memory.size(image).await?;
        Ok(match self.damage(image) {
            Some(Damage::Missing) => None,
            Some(Damage::Shorter) => size.map(|size| size - 1),
            _ => size,
        })
    }

    async fn read(&self, image: &Digest, range: Range<u64>) -> Result<ByteStream> {
        let bytes = self.memory.read(image, range).await?;
        let io = || Error::Io { action: "read it".into(), source: "a bad sector".into() };
        Ok(match self.damage(image) {
            Some(Damage::OtherBytes) => {
                bytes.map(|chunk| chunk.map(|chunk| vec![b'x'; chunk.len()].into())).boxed()
            }
            Some(Damage::Unreadable) => bytes.chain(stream::iter([Err(io())])).boxed(),
            Some(Damage::OutOfReach) => {
                bytes.chain(stream::iter([Err(Error::OutOfReach("gone".into()))])).boxed()
            }
            _ => bytes,
        })
    }

    async fn delete(&self, image: &Digest) -> Result<()> {
        Blobs::delete(&self.memory, image).await
    }

    async fn list(&self) -> Result<Vec<BlobInfo>> {
        Blobs::list(&self.memory).await
    }

    async fn sweep_uploads(&self) -> Result<usize> {
        Ok(0)
    }

    fn uploads(&self) -> &dyn Uploads {
        self.memory.uploads()
    }
}

#[async_trait]
impl Records for Store {
    async fn put(&self, key: &RecordKey, document: Bytes) -> Result<ETag> {
        happen(&self.before_record).await;
        self.write()?;
        self.memory.put(key, document).await
    }

    async fn get(&self, key: &RecordKey) -> Result<Option<(Bytes, ETag)>> {
        Records::get(&self.memory, key).await
    }

    async fn delete(&self, key: &RecordKey) -> Result<()> {
        Records::delete(&self.memory, key).await
    }

    async fn list(&self) -> Result<Vec<(RecordKey, ETag)>> {
        Records::list(&self.memory).await
    }
}

async fn open(store: &Store) -> Arc<Registry> {
    let index = ready(Memory::default().opened());
    let (registry, found) =
        Registry::open(Arc::new(store.clone()), Arc::new(store.clone()), index).await.unwrap();
    assert!(found.is_some());
    Arc::new(registry)
}

async fn push(registry: &Registry, name: &str, version: u32, content: &str) {
    let request = json!({ "application": { "tags": [content] }, "version": { "published": version != 2 } });
    let push = Push {
        name: name.parse().unwrap(),
        version: version.to_string().parse().unwrap(),
        architecture: Architecture::X86_64,
        fingerprint: Digest::of(content.as_bytes()),
        size: None,
        media_type: None,
        request: serde_json::from_value::<PushRequest>(request).unwrap(),
    };
    let body = stream::iter([Ok(Bytes::copy_from_slice(content.as_bytes()))]);
    registry.push(push, Box::pin(body)).await.unwrap();
}

/// A registry with 5 images in 4 applications, of which two share one.
async fn filled() -> (Store, Arc<Registry>) {
    let store = Store::new(&Memory::default());
    let registry = open(&store).await;
    for (name, version, content) in
        [("a", 1, "a 1"), ("a", 2, "a 2"), ("a", 3, "a 3"), ("b", 1, "b 1"), ("c", 1, "c 1"), ("d", 1, "c 1")]
    {
        push(&registry, name, version, content).await;
    }
    (store, registry)
}

const IMAGES: u64 = 5;
const RECORDS: u64 = 10;

async fn copy(registry: &Registry, target: &Store) -> Result<CopyReport, CopyError> {
    registry.copy_to(target, target).await
}

fn shown(registry: &Registry) -> Vec<Application> {
    let mut all = Vec::new();
    registry.applications(Viewer::Publisher, &mut |application| all.push(application)).unwrap();
    all
}

fn name(name: &str) -> AppName {
    name.parse().unwrap()
}

async fn images(store: &Store) -> Vec<Digest> {
    let mut images: Vec<_> =
        Blobs::list(&store.memory).await.unwrap().into_iter().map(|blob| blob.image).collect();
    images.sort_unstable();
    images
}

async fn records(store: &Store) -> BTreeMap<RecordKey, Bytes> {
    let mut records = BTreeMap::new();
    for (key, _) in Records::list(&store.memory).await.unwrap() {
        let (document, _) = Records::get(&store.memory, &key).await.unwrap().unwrap();
        records.insert(key, document);
    }
    records
}

#[tokio::test]
async fn a_copy_shows_the_same_and_a_second_one_copies_nothing() {
    let (source, registry) = filled().await;
    let before = records(&source).await;
    let target = Store::new(&Memory::default());
    let report = copy(&registry, &target).await.unwrap();
    let expected = CopyReport { images: IMAGES, bytes: 15, records: RECORDS, ..CopyReport::default() };
    assert_eq!(report, expected);
    assert_eq!(records(&source).await, before, "the source stays as it is");
    assert_eq!((records(&target).await, images(&target).await), (before, images(&source).await));
    let copied = open(&target).await;
    assert_eq!(shown(&copied), shown(&registry));
    assert_eq!(copied.verify().await.unwrap().damaged, []);

    let nothing = CopyReport { images_skipped: IMAGES, records_skipped: RECORDS, ..CopyReport::default() };
    target.writes_left.store(0, Ordering::SeqCst);
    assert_eq!(copy(&registry, &target).await.unwrap(), nothing);

    // What changed since, and only that.
    target.writes_left.store(i64::MAX, Ordering::SeqCst);
    push(&registry, "b", 2, "b 2").await;
    let report = copy(&registry, &target).await.unwrap();
    assert_eq!((report.images, report.bytes, report.records), (1, 3, 2), "{report:?}");
    assert_eq!(records(&target).await, records(&source).await);
}

#[tokio::test]
async fn a_copy_that_fails_anywhere_leaves_nothing_half_made_and_goes_on_from_there() {
    let (source, registry) = filled().await;
    // The second time, the target has an older state of the applications.
    for older in [false, true] {
        let mut failures = 0;
        for writes in 0.. {
            let target = Store::new(&Memory::default());
            let mut known = Vec::new();
            if older {
                let older = open(&target).await;
                push(&older, "a", 1, "a 1").await;
                known = shown(&older);
            }
            target.writes_left.store(writes, Ordering::SeqCst);
            let failed = match copy(&registry, &target).await {
                Err(CopyError::Target(Error::NoSpace(_))) => true,
                other => other.map(|_| false).unwrap(),
            };
            failures += usize::from(failed);
            let seen = open(&target).await;
            assert_eq!(seen.verify().await.unwrap().damaged, []);
            for application in shown(&seen) {
                let whole = registry.application(&application.name, Viewer::Publisher).unwrap();
                if known.iter().all(|known| known.name != application.name) {
                    assert_eq!(application, whole, "after {writes} writes");
                }
                for version in application.versions {
                    assert!(
                        known.iter().any(|known| known.versions.iter().any(|v| v.number == version.number)
                            && known.name == application.name)
                            || whole.versions.contains(&version),
                        "after {writes} writes: {version:?}"
                    );
                }
            }
            target.writes_left.store(i64::MAX, Ordering::SeqCst);
            let report = copy(&registry, &target).await.unwrap();
            assert_eq!(report.extra, [""; 0]);
            assert_eq!(records(&target).await, records(&source).await, "after {writes} writes");
            assert_eq!(images(&target).await, images(&source).await);
            if !failed {
                break;
            }
        }
        assert!(failures > 20, "{failures}");
    }
}

#[tokio::test]
async fn damaged_images_are_named_and_the_rest_is_copied() {
    let (source, registry) = filled().await;
    let damages = [
        ("a 1", Damage::Missing, "it is missing", &["a/1/x86_64"][..]),
        ("a 2", Damage::Shorter, "it has 2 bytes instead of 3", &["a/2/x86_64"]),
        ("b 1", Damage::Unreadable, "cannot read it", &["b/1/x86_64"]),
        ("c 1", Damage::OtherBytes, "its SHA-256 is ", &["c/1/x86_64", "d/1/x86_64"]),
    ];
    for (content, damage, ..) in damages {
        source.damaged.lock().unwrap().insert(Digest::of(content.as_bytes()), damage);
    }
    let target = Store::new(&Memory::default());
    let report = copy(&registry, &target).await.unwrap();
    assert_eq!((report.images, report.bytes, report.records), (1, 3, RECORDS));
    assert_eq!(images(&target).await, [Digest::of(b"a 3")], "nothing of the others is there");
    assert_eq!(report.damaged.len(), damages.len());
    for (content, _, problem, holders) in damages {
        let named = |fingerprint| fingerprint == Digest::of(content.as_bytes());
        let named = report.damaged.iter().find(|damaged| named(damaged.fingerprint)).unwrap();
        assert!(named.problem.starts_with(problem), "{named:?}");
        assert_eq!(named.applications, holders);
    }
    // What the target has is not needed from the source.
    let report = copy(&registry, &target).await.unwrap();
    assert_eq!((report.images_skipped, report.damaged.len()), (1, damages.len()));
    source.damaged.lock().unwrap().clear();
    let report = copy(&registry, &target).await.unwrap();
    assert_eq!((report.images, report.images_skipped, report.damaged.len()), (4, 1, 0));
}

#[tokio::test]
async fn a_source_out_of_reach_ends_the_copy_and_damages_nothing() {
    let (source, registry) = filled().await;
    source.damaged.lock().unwrap().insert(Digest::of(b"b 1"), Damage::OutOfReach);
    let target = Store::new(&Memory::default());
    let outcome = copy(&registry, &target).await;
    assert!(matches!(outcome, Err(CopyError::Source(Error::OutOfReach(_)))), "{outcome:?}");
    assert_eq!(records(&target).await, BTreeMap::new());
}

#[tokio::test]
async fn what_is_pushed_and_deleted_while_images_are_copied_is_so_in_the_copy() {
    let (source, registry) = filled().await;
    let target = Store::new(&Memory::default());
    let meanwhile = Arc::clone(&registry);
    *target.before_image.lock().unwrap() = Some(Box::pin(async move {
        for gone in ["a", "b", "c"] {
            meanwhile.delete_application(&name(gone)).await.unwrap();
        }
        push(&meanwhile, "b", 7, "b 7").await;
        meanwhile.collect_garbage(Duration::ZERO, false).await.unwrap();
    }));
    let report = copy(&registry, &target).await.unwrap();
    assert_eq!((&report.damaged[..], &report.extra[..]), (&[][..], &[][..]), "{report:?}");
    assert_eq!(records(&target).await, records(&source).await);
    let copied = open(&target).await;
    assert_eq!(shown(&copied), shown(&registry));
    assert_eq!(copied.verify().await.unwrap().damaged, []);
    // The image that was held for the copy went after it.
    let mut left = [Digest::of(b"b 7"), Digest::of(b"c 1")];
    left.sort_unstable();
    assert_eq!(images(&source).await, left);
}

#[tokio::test]
async fn an_image_is_held_while_it_is_copied() {
    let store = Store::new(&Memory::default());
    let registry = open(&store).await;
    push(&registry, "a", 1, "a 1").await;
    let target = Store::new(&Memory::default());
    let meanwhile = Arc::clone(&registry);
    let kept = store.clone();
    *target.before_image.lock().unwrap() = Some(Box::pin(async move {
        meanwhile.delete_application(&name("a")).await.unwrap();
        meanwhile.collect_garbage(Duration::ZERO, false).await.unwrap();
        assert_eq!(images(&kept).await, [Digest::of(b"a 1")]);
    }));
    let report = copy(&registry, &target).await.unwrap();
    assert_eq!((report.images, report.records), (1, 0));
    assert_eq!(images(&store).await, []);
}

#[tokio::test]
async fn changes_wait_while_records_are_copied() {
    let (source, registry) = filled().await;
    let before = records(&source).await;
    let target = Store::new(&Memory::default());
    let meanwhile = Arc::clone(&registry);
    let late = Arc::new(Mutex::new(None));
    let pushed = Arc::clone(&late);
    *target.before_record.lock().unwrap() = Some(Box::pin(async move {
        let pushing = Arc::clone(&meanwhile);
        *pushed.lock().unwrap() = Some(tokio::spawn(async move { push(&pushing, "late", 1, "late").await }));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(meanwhile.application(&name("late"), Viewer::Publisher).is_err());
    }));
    copy(&registry, &target).await.unwrap();
    let late = late.lock().unwrap().take().unwrap();
    late.await.unwrap();
    assert_eq!(records(&target).await, before);
    assert!(registry.application(&name("late"), Viewer::Publisher).is_ok());
}

#[tokio::test]
async fn what_only_the_target_has_is_named_and_left_alone() {
    let (source, registry) = filled().await;
    let target = Store::new(&Memory::default());
    let other = open(&target).await;
    push(&other, "a", 1, "not the same").await;
    push(&other, "z", 1, "z 1").await;
    let report = copy(&registry, &target).await.unwrap();
    let extra = ["records/applications/z/1.json", "records/applications/z/application.json"];
    assert_eq!(report.extra, extra);
    assert_eq!(report.records, RECORDS, "what is otherwise there is replaced");
    let mut copied = records(&target).await;
    copied.retain(|key, _| *key.app() != name("z"));
    assert_eq!(copied, records(&source).await);
    assert_eq!(shown(open(&target).await.as_ref()).len(), 5);
}

#[tokio::test]
async fn records_that_the_registry_does_not_know_are_not_lost_in_silence() {
    let (source, registry) = filled().await;
    let unreadable = RecordKey::version(name("a"), "9".parse().unwrap());
    source.memory.put(&unreadable, Bytes::from_static(b"{")).await.unwrap();
    let target = Store::new(&Memory::default());
    for _ in 0..2 {
        assert!(matches!(copy(&registry, &target).await, Err(CopyError::Unsettled)));
        assert_eq!((images(&target).await, records(&target).await), (vec![], BTreeMap::new()));
        registry.rebuild().await.unwrap();
    }
    Records::delete(&source.memory, &unreadable).await.unwrap();
    assert_eq!(copy(&registry, &target).await.unwrap().records, RECORDS);
}
