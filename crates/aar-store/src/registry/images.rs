//! Which images are in use: by records, and by pushes under way.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aar_model::Digest;
use aar_model::wire::Image;

use super::locks::{self, Locks};

/// The uses of every image.
#[derive(Debug, Default)]
pub(super) struct Images {
    uses: Mutex<BTreeMap<Digest, Uses>>,
    /// Held while an image is removed, so that no push begins to rely on it.
    removals: Locks<Digest>,
}

#[derive(Debug, Default)]
struct Uses {
    records: u32,
    pushes: u32,
    size: u64,
}

/// The images that records hold: how many records each, and its size in bytes.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<Digest, (u32, u64)>);

impl Held {
    pub(super) fn add(&mut self, images: &[(Digest, u64)]) {
        for (image, size) in images {
            let held = self.0.entry(*image).or_default();
            *held = (held.0 + 1, *size);
        }
    }
}

/// Keeps an image from being removed for as long as it lives.
#[derive(Debug)]
pub(super) struct Pin<'a> {
    images: &'a Images,
    image: Digest,
}

impl Images {
    /// Keeps `image` from being removed; waits where it is being removed just now.
    pub(super) async fn pin(&self, image: &Digest) -> Pin<'_> {
        let _removal = self.removals.lock(image).await;
        self.uses().entry(*image).or_default().pushes += 1;
        Pin { images: self, image: *image }
    }

    /// Notes that a record holds `image`.
    pub(super) fn add(&self, image: &Image) {
        let mut uses = self.uses();
        let uses = uses.entry(image.fingerprint).or_default();
        uses.records += 1;
        uses.size = image.size;
    }

    /// Notes that a record holds `image` no more.
    pub(super) fn remove(&self, image: &Digest) {
        let mut all = self.uses();
        if let Some(uses) = all.get_mut(image) {
            uses.records = uses.records.saturating_sub(1);
            if uses.records == 0 && uses.pushes == 0 {
                all.remove(image);
            }
        }
    }

    /// The right to remove `image`, where nothing uses it.
    pub(super) async fn removal(&self, image: &Digest) -> Option<locks::Held<'_, Digest>> {
        let removal = self.removals.lock(image).await;
        if self.uses().contains_key(image) { None } else { Some(removal) }
    }

    /// Whether a record holds `image`.
    pub(super) fn is_held(&self, image: &Digest) -> bool {
        self.uses().get(image).is_some_and(|uses| uses.records > 0)
    }

    /// The images that records hold, each with its size in bytes.
    pub(super) fn held(&self) -> Vec<(Digest, u64)> {
        let uses = self.uses();
        let held = uses.iter().filter(|(_, uses)| uses.records > 0);
        held.map(|(image, uses)| (*image, uses.size)).collect()
    }

    /// Number and bytes of the images that records hold.
    pub(super) fn totals(&self) -> (u64, u64) {
        let uses = self.uses();
        let held = uses.values().filter(|uses| uses.records > 0);
        held.fold((0, 0), |(count, bytes), uses| (count + 1, bytes + uses.size))
    }

    /// Replaces what records hold, in one step; pushes under way stay.
    pub(super) fn replace(&self, held: Held) {
        let held =
            held.0.into_iter().map(|(image, (records, size))| (image, Uses { records, pushes: 0, size }));
        // A map that is made in one go has no room to spare; one that grows keeps a third for what may come.
        let mut all: BTreeMap<_, _> = held.collect();
        let mut uses = self.uses();
        for (image, before) in mem::take(&mut *uses).into_iter().filter(|(_, uses)| uses.pushes > 0) {
            all.entry(image).or_default().pushes = before.pushes;
        }
        *uses = all;
    }

    fn uses(&self) -> MutexGuard<'_, BTreeMap<Digest, Uses>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut all = self.images.uses();
        if let Some(uses) = all.get_mut(&self.image) {
            uses.pushes -= 1;
            if uses.records == 0 && uses.pushes == 0 {
                all.remove(&self.image);
            }
        }
    }
}
