//! One lock a key, for as long as somebody holds or awaits it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Locks by key.
#[derive(Debug)]
pub(super) struct Locks<K: Eq + Hash + Clone>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

/// A lock that is held; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Held<'a, K: Eq + Hash + Clone> {
    locks: &'a Locks<K>,
    key: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash + Clone> Default for Locks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Locks<K> {
    /// Waits for the lock of `key`.
    pub(super) async fn lock(&self, key: &K) -> Held<'_, K> {
        let lock =
            Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default());
        Held { locks: self, key: key.clone(), guard: Some(lock.lock_owned().await) }
    }
}

impl<K: Eq + Hash + Clone> Drop for Held<'_, K> {
    fn drop(&mut self) {
        let mut locks = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.guard.take());
        // Whoever waits holds a reference of its own; the map's is the last where nobody does.
        if locks.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.key);
        }
    }
}
