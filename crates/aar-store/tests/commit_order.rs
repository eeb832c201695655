//! The commit order: whatever is done, and wherever the power fails, the registry that starts again shows every answered
//! change, shows the unanswered one whole or not at all, has finished deletions that were cut off, and the collector
//! leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aar_model::wire::PushRequest;
use aar_model::{AppName, Architecture, Digest, Version};
use aar_store::memory::Memory;
use aar_store::{
    BlobInfo, Blobs, ByteStream, ETag, Error, Push, RecordKey, Records, Registry, RegistryError, Result,
    Upload, Uploads, Viewer,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A store whose power fails after so many writes.
#[derive(Clone)]
struct Failing {
    store: Memory,
    writes_left: Arc<AtomicI64>,
    /// Whether the write at which the power fails is carried out.
    last_lands: bool,
}

impl Failing {
    fn dead(&self) -> bool {
        self.writes_left.load(Ordering::SeqCst) < 0
    }

    fn power_failure() -> Error {
        Error::OutOfReach("the power has failed".into())
    }

    /// Whether this write is carried out, and whether it is answered.
    fn write(&self) -> (bool, Result<()>) {
        match self.writes_left.fetch_sub(1, Ordering::SeqCst) {
            1.. => (true, Ok(())),
            0 => (self.last_lands, Err(Self::power_failure())),
            _ => (false, Err(Self::power_failure())),
        }
    }

    fn read(&self) -> Result<()> {
        if self.dead() { Err(Self::power_failure()) } else { Ok(()) }
    }
}

struct FailingUpload(Box<dyn Upload>, Failing);

#[async_trait]
impl Upload for FailingUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.1.read()?;
        self.0.write(chunk).await
    }

    async fn commit(self: Box<Self>) -> Result<u64> {
        let (lands, outcome) = self.1.write();
        let size = if lands { self.0.commit().await? } else { 0 };
        outcome.map(|()| size)
    }
}

#[async_trait]
impl Blobs for Failing {
    async fn begin(&self, image: &Digest, size: Option<u64>) -> Result<Box<dyn Upload>> {
        self.read()?;
        Ok(Box::new(FailingUpload(self.store.begin(image, size).await?, self.clone())))
    }

    async fn size(&self, image: &Digest) -> Result<Option<u64>> {
        self.read()?;
        self.store.size(image).await
    }

    async fn read(&self, image: &Digest, range: Range<u64>) -> Result<ByteStream> {
        Failing::read(self)?;
        Blobs::read(&self.store, image, range).await
    }

    async fn delete(&self, image: &Digest) -> Result<()> {
        let (lands, outcome) = self.write();
        if lands {
            Blobs::delete(&self.store, image).await?;
        }
        outcome
    }

    async fn list(&self) -> Result<Vec<BlobInfo>> {
        Failing::read(self)?;
        Blobs::list(&self.store).await
    }

    async fn sweep_uploads(&self) -> Result<usize> {
        self.store.sweep_uploads().await
    }

    fn uploads(&self) -> &dyn Uploads {
        self.store.uploads()
    }
}

#[async_trait]
impl Records for Failing {
    async fn put(&self, key: &RecordKey, document: Bytes) -> Result<ETag> {
        let (lands, outcome) = self.write();
        let tag = if lands { self.store.put(key, document).await? } else { ETag("".into()) };
        outcome.map(|()| tag)
    }

    async fn get(&self, key: &RecordKey) -> Result<Option<(Bytes, ETag)>> {
        Failing::read(self)?;
        self.store.get(key).await
    }

    async fn delete(&self, key: &RecordKey) -> Result<()> {
        let (lands, outcome) = self.write();
        if lands {
            Records::delete(&self.store, key).await?;
        }
        outcome
    }

    async fn list(&self) -> Result<Vec<(RecordKey, ETag)>> {
        Failing::read(self)?;
        Records::list(&self.store).await
    }
}

/// What is done to the registry.
#[derive(Debug, Clone)]
enum Step {
    Push { name: u8, version: u32, architecture: Architecture, content: u8, tag: Option<u8>, published: bool },
    Change { name: u8, tag: u8 },
    Publish { name: u8, version: u32, published: bool },
    DeleteVersion { name: u8, version: u32, architecture: Option<Architecture> },
    Delete { name: u8 },
    Rebuild,
}

/// What the registry is to show.
type Model = BTreeMap<u8, ModelApplication>;

#[derive(Debug, Clone, Default, PartialEq)]
struct ModelApplication {
    tag: Option<u8>,
    versions: BTreeMap<u32, (bool, BTreeMap<Architecture, u8>)>,
}

fn architectures() -> impl Strategy<Value = Architecture> {
    prop_oneof![Just(Architecture::X86_64), Just(Architecture::Aarch64)]
}

fn steps() -> impl Strategy<Value = Step> {
    let push = (0..2u8, 0..2u32, architectures(), 0..3u8, proptest::option::of(0..3u8), any::<bool>());
    prop_oneof![
        5 => push.prop_map(|(name, version, architecture, content, tag, published)| Step::Push {
            name, version, architecture, content, tag, published
        }),
        1 => (0..2u8, 0..3u8).prop_map(|(name, tag)| Step::Change { name, tag }),
        1 => (0..2u8, 0..2u32, any::<bool>())
            .prop_map(|(name, version, published)| Step::Publish { name, version, published }),
        2 => (0..2u8, 0..2u32, proptest::option::of(architectures()))
            .prop_map(|(name, version, architecture)| Step::DeleteVersion { name, version, architecture }),
        1 => (0..2u8).prop_map(|name| Step::Delete { name }),
        1 => Just(Step::Rebuild),
    ]
}

fn app(name: u8) -> AppName {
    format!("app{name}").parse().unwrap()
}

fn version(number: u32) -> Version {
    i64::from(number).try_into().unwrap()
}

fn bytes(content: u8) -> Bytes {
    vec![content; 10 + usize::from(content)].into()
}

/// The model after the step, or the refusal that the registry must give.
fn apply(model: &Model, step: &Step) -> Result<Model, &'static str> {
    let mut after = model.clone();
    match *step {
        Step::Push { name, version, architecture, content, tag, published } => {
            let application = after.entry(name).or_default();
            let images = &mut application.versions.entry(version).or_insert((published, BTreeMap::new())).1;
            if *images.entry(architecture).or_insert(content) != content {
                return Err("conflict");
            }
            application.tag = tag.or(application.tag);
        }
        Step::Change { name, tag } => after.get_mut(&name).ok_or("not found")?.tag = Some(tag),
        Step::Publish { name, version, published } => {
            let application = after.get_mut(&name).ok_or("not found")?;
            application.versions.get_mut(&version).ok_or("not found")?.0 = published;
        }
        Step::DeleteVersion { name, version, architecture } => {
            let application = after.get_mut(&name).ok_or("not found")?;
            let images = &mut application.versions.get_mut(&version).ok_or("not found")?.1;
            match architecture {
                Some(architecture) => drop(images.remove(&architecture).ok_or("not found")?),
                None => images.clear(),
            }
            application.versions.retain(|_, (_, images)| !images.is_empty());
            after.retain(|_, application| !application.versions.is_empty());
        }
        Step::Delete { name } => drop(after.remove(&name).ok_or("not found")?),
        Step::Rebuild => {}
    }
    Ok(after)
}

async fn carry_out(registry: &Registry, step: &Step) -> Result<(), RegistryError> {
    match *step {
        Step::Push { name, version: number, architecture, content, tag, published } => {
            let mut request = PushRequest::default();
            request.version.insert("published".into(), published.into());
            if let Some(tag) = tag {
                request.application.insert("tags".into(), json!([tag.to_string()]));
            }
            let push = Push {
                name: app(name),
                version: version(number),
                architecture,
                fingerprint: Digest::of(&bytes(content)),
                size: None,
                media_type: None,
                request,
            };
            let halves = [bytes(content).slice(..4), bytes(content).slice(4..)];
            registry.push(push, Box::pin(stream::iter(halves.map(Ok)))).await.map(drop)
        }
        Step::Change { name, tag } => {
            let changes = json!({ "tags": [tag.to_string()] });
            registry.change_application(&app(name), changes.as_object().unwrap(), None).await
        }
        Step::Publish { name, version: number, published } => {
            registry.set_published(&app(name), version(number), published).await
        }
        Step::DeleteVersion { name, version: number, architecture } => {
            registry.delete_version(&app(name), version(number), architecture).await
        }
        Step::Delete { name } => registry.delete_application(&app(name)).await,
        Step::Rebuild => Ok(registry.rebuild().await.map(drop)?),
    }
}

/// What the registry shows.
fn shown(registry: &Registry) -> Model {
    let mut model = Model::new();
    registry
        .applications(Viewer::Publisher, &mut |application| {
            let name = (0..2).find(|name| app(*name) == application.name).unwrap();
            let entry = model.entry(name).or_default();
            entry.tag = application.fields.tags.first().map(|tag| tag.parse().unwrap());
            for version in application.versions {
                let content = |digest| (0..3).find(|content| Digest::of(&bytes(*content)) == digest).unwrap();
                let images =
                    version.images.iter().map(|image| (image.architecture, content(image.fingerprint)));
                entry.versions.insert(version.number.number(), (version.published, images.collect()));
            }
        })
        .unwrap();
    model
}

/// The keys of everything that a store with this content holds.
fn expected_store(model: &Model) -> (BTreeSet<Digest>, BTreeSet<String>) {
    let mut images = BTreeSet::new();
    let mut records = BTreeSet::new();
    for (name, application) in model {
        records.insert(RecordKey::application(app(*name)).path());
        for (number, (_, held)) in &application.versions {
            records.insert(RecordKey::version(app(*name), version(*number)).path());
            images.extend(held.values().map(|content| Digest::of(&bytes(*content))));
        }
    }
    (images, records)
}

async fn check(steps: Vec<Step>, writes: i64, last_lands: bool, keep_index: bool) {
    let store = Memory::default();
    let index = Memory::default();
    let failing = Failing { store: store.clone(), writes_left: Arc::new(AtomicI64::new(writes)), last_lands };
    let (registry, _) =
        Registry::open(Arc::new(failing.clone()), Arc::new(failing.clone()), ready(index.opened()))
            .await
            .unwrap();
    let mut model = Model::new();
    let mut possible = None;
    for step in &steps {
        let after = apply(&model, step);
        let outcome = carry_out(&registry, step).await;
        if failing.dead() && outcome.is_err() {
            possible = after.ok();
            break;
        }
        match (outcome, after) {
            (Ok(()), Ok(after)) => model = after,
            (Err(RegistryError::Conflict(_)), Err("conflict"))
            | (Err(RegistryError::NotFound(_)), Err("not found")) => {}
            (outcome, after) => panic!("{step:?} answered {outcome:?}, expected {after:?}"),
        }
        assert_eq!(shown(&registry), model, "after {step:?}");
        if failing.dead() {
            break;
        }
    }
    drop(registry);

    let index = if keep_index { index } else { Memory::default() };
    let (registry, _) =
        Registry::open(Arc::new(store.clone()), Arc::new(store.clone()), ready(index.opened()))
            .await
            .unwrap();
    let now = shown(&registry);
    assert!(now == model || Some(&now) == possible.as_ref(), "shows {now:?}, not {model:?} or {possible:?}");
    for (key, _) in Records::list(&store).await.unwrap() {
        let (document, _) = Records::get(&store, &key).await.unwrap().unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_ne!(document["deleted"], true, "the start has not finished the deletion of {}", key.path());
    }

    registry.collect_garbage(Duration::ZERO, false).await.unwrap();
    let images: BTreeSet<_> = Blobs::list(&store).await.unwrap().into_iter().map(|blob| blob.image).collect();
    let records: BTreeSet<_> =
        Records::list(&store).await.unwrap().iter().map(|(key, _)| key.path()).collect();
    assert_eq!((images, records), expected_store(&now));
    assert_eq!(shown(&registry), now);
    assert!(registry.verify().await.unwrap().damaged.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_power_failure_loses_nothing_answered_and_shows_nothing_half_done(
        steps in proptest::collection::vec(steps(), 1..14),
        writes in 0..40i64,
        last_lands: bool,
        keep_index: bool,
    ) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
            .block_on(check(steps, writes, last_lands, keep_index));
    }
}
