//! Answers that were rendered once and hold until the registry changes.

use aar_store::Viewer;
use bytes::Bytes;
use hyper::header::HeaderValue;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

/// Bytes that the answers may take altogether.
const CAPACITY: u64 = 4 << 20;

/// Answers by viewer, generation of the registry, and path with query. Those of an older generation are never asked for
/// again and make room.
pub(crate) struct AnswerCache(Cache<Key, Rendered, ByWeight>);

/// An answer, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) body: Bytes,
    pub(crate) etag: HeaderValue,
    /// The route, for metrics.
    pub(crate) route: &'static str,
    /// The SHA-256 of the body, where the answer tells it.
    pub(crate) manifest_sha256: Option<HeaderValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    generation: u64,
    viewer: Viewer,
    target: Box<str>,
}

#[derive(Hash)]
struct KeyRef<'a> {
    generation: u64,
    viewer: Viewer,
    target: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.generation == key.generation && self.viewer == key.viewer && *self.target == *key.target
    }
}

#[derive(Debug, Clone)]
struct ByWeight;

impl Weighter<Key, Rendered> for ByWeight {
    fn weight(&self, key: &Key, rendered: &Rendered) -> u64 {
        (key.target.len() + rendered.body.len() + 128) as u64
    }
}

impl AnswerCache {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(1024, CAPACITY, ByWeight))
    }

    pub(crate) fn get(&self, generation: u64, viewer: Viewer, target: &str) -> Option<Rendered> {
        self.0.get(&KeyRef { generation, viewer, target })
    }

    pub(crate) fn insert(&self, generation: u64, viewer: Viewer, target: &str, rendered: Rendered) {
        self.0.insert(Key { generation, viewer, target: target.into() }, rendered);
    }
}
