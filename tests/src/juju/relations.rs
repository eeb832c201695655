//! Relations: their two sides, the data of each, and who has been told what.

use std::collections::BTreeMap;

use super::charm::{Endpoint, Role};

pub(super) type Data = BTreeMap<String, String>;

/// A databag. Its version grows with every change.
#[derive(Clone, Default)]
pub(super) struct Bag {
    pub(super) data: Data,
    pub(super) version: u64,
}

impl Bag {
    /// Sets, and where there is no value removes, keys.
    pub(super) fn change<'a>(&mut self, changes: impl IntoIterator<Item = (&'a String, &'a Option<String>)>) {
        let before = self.data.clone();
        overlay(&mut self.data, changes);
        if self.data != before {
            self.version += 1;
        }
    }
}

pub(super) fn overlay<'a>(
    data: &mut Data,
    changes: impl IntoIterator<Item = (&'a String, &'a Option<String>)>,
) {
    for (key, value) in changes {
        match value {
            Some(value) => data.insert(key.clone(), value.clone()),
            None => data.remove(key),
        };
    }
}

/// A relation. A peer relation has one side only.
pub(super) struct Relation {
    pub(super) sides: Vec<Side>,
    pub(super) dying: bool,
    pub(super) suspended: bool,
}

/// What one application brings to a relation.
pub(super) struct Side {
    pub(super) application: String,
    /// The name that the other side knows the application by, which is another one across models.
    pub(super) seen_as: String,
    pub(super) endpoint: Endpoint,
    pub(super) bag: Bag,
    /// By the units' own names.
    pub(super) units: BTreeMap<String, Member>,
}

pub(super) struct Member {
    pub(super) bag: Bag,
    /// Units that have left stay readable.
    pub(super) in_scope: bool,
}

impl Side {
    pub(super) fn new(application: &str, endpoint: &Endpoint, seen_as: Option<String>) -> Self {
        let (application, endpoint) = (application.to_owned(), endpoint.clone());
        let seen_as = seen_as.unwrap_or_else(|| application.clone());
        Self { application, seen_as, endpoint, bag: Bag::default(), units: BTreeMap::new() }
    }

    /// The name by which the other side knows a unit.
    pub(super) fn seen(&self, unit: &str) -> String {
        format!("{}/{}", self.seen_as, number(unit))
    }

    /// The own name of a unit that the other side knows by `seen`.
    pub(super) fn own_name(&self, seen: &str) -> Option<String> {
        let (application, number) = seen.split_once('/')?;
        (application == self.seen_as).then(|| format!("{}/{number}", self.application))
    }
}

impl Relation {
    pub(super) fn is_peer(&self) -> bool {
        self.sides[0].endpoint.role == Role::Peers
    }

    pub(super) fn involves(&self, application: &str) -> bool {
        self.sides.iter().any(|side| side.application == application)
    }

    pub(super) fn own(&self, application: &str) -> &Side {
        self.sides.iter().find(|side| side.application == application).unwrap()
    }

    pub(super) fn own_mut(&mut self, application: &str) -> &mut Side {
        self.sides.iter_mut().find(|side| side.application == application).unwrap()
    }

    /// The side that an application is related to: its own where it is a peer relation.
    pub(super) fn remote(&self, application: &str) -> &Side {
        self.sides.iter().find(|side| side.application != application).unwrap_or(&self.sides[0])
    }

    /// Units that a unit has to do with, by their own names, with the versions of their bags.
    pub(super) fn members(&self, unit: &str) -> BTreeMap<String, u64> {
        let units = self.remote(application(unit)).units.iter();
        units
            .filter(|(name, member)| member.in_scope && name.as_str() != unit)
            .map(|(name, member)| (name.clone(), member.bag.version))
            .collect()
    }

    /// As in `juju status --relations`.
    pub(super) fn key(&self) -> String {
        let ends: Vec<_> =
            self.sides.iter().map(|side| format!("{}:{}", side.application, side.endpoint.name)).collect();
        ends.join(" ")
    }
}

/// What a unit has been told of a relation.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) created: bool,
    pub(super) broken: bool,
    /// Remote units, by their own names, with the version of the bag that it has seen.
    pub(super) members: BTreeMap<String, u64>,
    pub(super) application_version: u64,
    /// A unit that has joined, which is to be followed by `changed` at once.
    pub(super) joined: Option<String>,
}

pub(super) fn application(unit: &str) -> &str {
    unit.split_once('/').map_or(unit, |(application, _)| application)
}

pub(super) fn number(unit: &str) -> &str {
    unit.split_once('/').map_or("", |(_, number)| number)
}
