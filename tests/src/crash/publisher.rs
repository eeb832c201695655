//! A publisher: changes applications of its own, of which it knows at any time how they are, and one that all change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use aar_model::Digest;
use fastrand::Rng;

use super::history::History;
use super::model::{Action, App, Apps, Slot};
use super::sender::{Outcome, Sender};
use crate::Person;

/// The application that all publishers change.
pub(super) const SHARED: &str = "shared";

#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) person: Person,
    rng: Rng,
    apps: BTreeMap<String, Option<App>>,
    /// What an application is where a request that was not answered was carried out.
    pending: Option<(String, Option<App>)>,
    pub(super) answered: u64,
    /// Requests without an answer, and those of them that had been carried out.
    pub(super) lost: u64,
    pub(super) carried_out: u64,
}

impl Publisher {
    /// A publisher of applications of these names.
    pub(super) fn new(person: Person, names: impl IntoIterator<Item = String>, rng: Rng) -> Self {
        let apps = names.into_iter().map(|name| (name, None)).collect();
        Self { person, rng, apps, pending: None, answered: 0, lost: 0, carried_out: 0 }
    }

    /// Whether an application of this name is one of its own.
    pub(super) fn owns(&self, name: &str) -> bool {
        self.apps.contains_key(name)
    }

    /// Goes on until the daemon is killed.
    pub(super) fn work(&mut self, address: SocketAddr, killed: &AtomicBool, shared: &History) {
        let person = self.person.clone();
        let mut sender = Sender { address, person: &person, killed, connection: None };
        while !killed.load(Ordering::SeqCst) {
            let answered = match self.rng.u8(..100) {
                0..55 => self.change_own(&mut sender),
                55..75 => self.change_shared(&mut sender, shared),
                75..83 => self.pull_own(&mut sender),
                83..90 => self.pull_shared(&mut sender),
                90..96 => self.cut_off(&mut sender),
                _ => self.push_wrong(&mut sender),
            };
            if answered {
                self.answered += 1;
            } else {
                self.lost += 1;
                return;
            }
        }
    }

    /// Takes over what the daemon shows after its restart.
    ///
    /// # Panics
    /// An answered change is not there, or one that was not answered is there in part.
    pub(super) fn settle(&mut self, shown: &Apps) {
        let pending = self.pending.take();
        for (name, expected) in &mut self.apps {
            let shown = shown.get(name);
            if shown == expected.as_ref() {
                continue;
            }
            match &pending {
                Some((changed, after)) if changed == name => {
                    assert_eq!(
                        shown,
                        after.as_ref(),
                        "{name} is neither as it was, {expected:?}, nor as an unanswered change makes it"
                    );
                    expected.clone_from(after);
                    self.carried_out += 1;
                }
                _ => panic!("{name} is not as was answered: {shown:?} instead of {expected:?}"),
            }
        }
    }

    fn change_own(&mut self, sender: &mut Sender) -> bool {
        let name = self.own();
        let action = Action::random(&mut self.rng);
        let before = self.apps[&name].as_ref();
        let (status, after) = action.apply(before);
        match sender.send(&name, &action, &mut self.rng) {
            Outcome::Answered(response) => {
                assert_eq!(
                    response.status,
                    status,
                    "{name} was {before:?}; {:?}: {}",
                    action.request(&name),
                    response.json()
                );
                self.apps.insert(name, after);
                true
            }
            Outcome::Lost { whole } => {
                self.pending = Some((name, after)).filter(|_| whole);
                false
            }
        }
    }

    fn change_shared(&mut self, sender: &mut Sender, shared: &History) -> bool {
        let action = Action::random(&mut self.rng);
        let begun = shared.begin(&action);
        let outcome = sender.send(SHARED, &action, &mut self.rng);
        if let Outcome::Answered(response) = &outcome {
            let refusal = if matches!(action, Action::Push { .. }) { 409 } else { 404 };
            let status = response.status;
            assert!(
                status == 202 || status == refusal,
                "{:?}: {status}: {}",
                action.request(SHARED),
                response.json()
            );
        }
        shared.end(&action, begun, &outcome);
        matches!(outcome, Outcome::Answered(_))
    }

    fn pull_own(&mut self, sender: &mut Sender) -> bool {
        let (name, slot) = (self.own(), Slot::random(&mut self.rng));
        let expected = self.apps[&name].as_ref().and_then(|app| app.image(slot));
        let Outcome::Answered(response) = sender.get(&path(&name, slot)) else { return false };
        assert_eq!(response.status, if expected.is_some() { 200 } else { 404 }, "{name} {slot:?}");
        if let Some(expected) = expected {
            assert_eq!(Digest::of(&response.body), expected.digest, "{name} {slot:?}");
        }
        true
    }

    fn pull_shared(&mut self, sender: &mut Sender) -> bool {
        let slot = Slot::random(&mut self.rng);
        let Outcome::Answered(response) = sender.get(&path(SHARED, slot)) else { return false };
        if response.status == 200 {
            let stated = response.header("x-ams-fingerprint").unwrap();
            assert_eq!(Digest::of(&response.body).to_string(), stated, "{slot:?}");
        } else {
            // Whoever comes while it is deleted may find its image gone.
            assert_eq!(response.status, 404, "{slot:?}: {}", response.json());
        }
        true
    }

    /// A push that goes away in the middle; nobody must ever see it.
    fn cut_off(&mut self, sender: &mut Sender) -> bool {
        let (name, slot) = (self.own(), Slot::random(&mut self.rng));
        let mut image = vec![0; self.rng.usize(1..1 << 20)];
        self.rng.fill(&mut image);
        sender.cut_push(&path(&name, slot), &image, &mut self.rng);
        true
    }

    /// A push whose image is not what it says.
    fn push_wrong(&mut self, sender: &mut Sender) -> bool {
        let (name, slot) = (self.own(), Slot::random(&mut self.rng));
        let mut image = vec![0; self.rng.usize(1..1 << 18)];
        self.rng.fill(&mut image);
        let stated = Digest::of(b"another image");
        match sender.push(&path(&name, slot), stated, None, &image, &mut self.rng) {
            Outcome::Answered(response) => {
                let taken = self.apps[&name].as_ref().is_some_and(|app| app.image(slot).is_some());
                assert_eq!(response.status, if taken { 409 } else { 400 }, "{}", response.json());
                true
            }
            Outcome::Lost { .. } => false,
        }
    }

    fn own(&mut self) -> String {
        let chosen = self.rng.usize(..self.apps.len());
        self.apps.keys().nth(chosen).unwrap().clone()
    }
}

fn path(name: &str, Slot { version, architecture }: Slot) -> String {
    format!("/1.0/applications/{name}/{version}?architecture={architecture}")
}
