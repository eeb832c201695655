//! What was asked of an application that several change at once: enough to tell what it cannot be like.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Instant;

use aar_model::Digest;

use super::model::{Action, App, Slot};
use super::sender::Outcome;

#[derive(Debug)]
pub(super) struct History {
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    events: Vec<Event>,
    labels: BTreeSet<String>,
}

/// A change that was carried out, or may have been.
#[derive(Debug)]
struct Event {
    what: What,
    begun: Instant,
    /// When it was answered, where it was.
    ended: Option<Instant>,
}

#[derive(Debug)]
enum What {
    Push(Slot, Digest),
    /// A version or all, an architecture or all.
    Delete(Option<u64>, Option<&'static str>),
}

impl History {
    /// Begins with how the application is.
    pub(super) fn new(app: Option<&App>) -> Self {
        let now = Instant::now();
        let mut past = Past::default();
        if let Some(app) = app {
            past.labels.extend(app.label.clone());
            past.labels.extend(app.versions.values().filter_map(|version| version.label.clone()));
            let there = Slot::all().filter_map(|slot| Some(What::Push(slot, app.image(slot)?.digest)));
            past.events.extend(there.map(|what| Event { what, begun: now, ended: Some(now) }));
        }
        Self { past: Mutex::new(past) }
    }

    /// Notes that a change is about to be asked for.
    pub(super) fn begin(&self, action: &Action) -> Instant {
        self.past.lock().unwrap().labels.extend(action.label().cloned());
        Instant::now()
    }

    /// Notes what came of it.
    pub(super) fn end(&self, action: &Action, begun: Instant, outcome: &Outcome) {
        let ended = match outcome {
            Outcome::Answered(response) if response.status == 202 => Some(Instant::now()),
            Outcome::Lost { whole: true } => None,
            _ => return,
        };
        let what = match action {
            Action::Push { slot, digest, .. } => What::Push(*slot, *digest),
            Action::DeleteVersion { version, architecture } => What::Delete(Some(*version), *architecture),
            Action::Delete => What::Delete(None, None),
            Action::Publish { .. } | Action::Change { .. } => return,
        };
        self.past.lock().unwrap().events.push(Event { what, begun, ended });
    }

    /// Checks how the application is now.
    ///
    /// # Panics
    /// It cannot be so.
    pub(super) fn check(&self, app: Option<&App>) {
        let past = self.past.lock().unwrap();
        if let Some(app) = app {
            let labels = app.versions.values().map(|version| &version.label).chain([&app.label]);
            for label in labels.flatten() {
                assert!(past.labels.contains(label), "nobody has set {label}: {app:?}");
            }
            let places = app.versions.values().map(|version| version.images.len()).sum::<usize>();
            assert_eq!(places, Slot::all().filter(|slot| app.image(*slot).is_some()).count(), "{app:?}");
        }
        for slot in Slot::all() {
            past.check_slot(slot, app.and_then(|app| app.image(slot)).map(|stored| stored.digest));
        }
    }
}

impl Past {
    fn check_slot(&self, slot: Slot, shown: Option<Digest>) {
        let pushes: Vec<_> = self.events.iter().filter_map(|event| event.push(slot)).collect();
        let deletes: Vec<_> = self.events.iter().filter(|event| event.deletes(slot)).collect();

        if let Some(shown) = shown {
            let survives =
                |push: &Event| !deletes.iter().any(|delete| delete.ended.is_some() && push.is_before(delete));
            assert!(
                pushes.iter().any(|(push, digest)| *digest == shown && survives(push)),
                "{slot:?} shows {shown}, which was never pushed, or deleted afterwards"
            );
        }
        for (push, digest) in pushes.iter().filter(|(push, _)| push.ended.is_some()) {
            if deletes.iter().all(|delete| delete.is_before(push)) {
                assert_eq!(
                    shown,
                    Some(*digest),
                    "{slot:?}: a push was answered, and nobody has deleted its image"
                );
            }
            for (other, another) in pushes.iter().filter(|(other, _)| other.ended.is_some()) {
                let between = |delete: &&Event| {
                    let first = if push.begun < other.begun { push } else { other };
                    let last = if push.ended > other.ended { push } else { other };
                    !delete.is_before(first) && !last.is_before(delete)
                };
                assert!(
                    digest == another || deletes.iter().any(between),
                    "{slot:?}: pushes of {digest} and {another} were both answered without a deletion"
                );
            }
        }
    }
}

impl Event {
    fn push(&self, slot: Slot) -> Option<(&Self, Digest)> {
        match self.what {
            What::Push(pushed, digest) if pushed == slot => Some((self, digest)),
            _ => None,
        }
    }

    fn deletes(&self, slot: Slot) -> bool {
        matches!(self.what, What::Delete(version, architecture)
            if version.is_none_or(|version| version == slot.version)
                && architecture.is_none_or(|architecture| architecture == slot.architecture))
    }

    /// Whether it was over before the other one began.
    fn is_before(&self, other: &Self) -> bool {
        self.ended.is_some_and(|ended| ended < other.begun)
    }
}
