//! The contract suite: what every backend promises, to be called from a backend's tests.
//!
//! Each function takes a maker of fresh, empty stores. What the maker answers beside the store, a temporary directory for
//! instance, is kept until the store is done with.
#![allow(clippy::unwrap_used, reason = "a suite of tests: it panics where a promise is broken")]

mod blobs;
mod index;
mod records;
mod trust;
mod uploads;

pub use blobs::blobs;
pub use index::index;
pub use records::records;
pub use trust::trust;
pub use uploads::uploads;

use aar_model::AppName;

use crate::RecordKey;

/// Names that are allowed, and easily confused with each other, with a version's file or with an application's.
const AWKWARD_NAMES: &[&str] = &[
    "a",
    "a-b",
    "ab",
    "a.b",
    "a_b",
    "a.json",
    "a.json.json",
    "application",
    "application.json",
    "0",
    "00",
    "1.json",
    "2147483647",
    "a..b",
    "a.",
    "a-",
    "uploads",
    "lost-found",
    "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0",
];

fn name(text: &str) -> AppName {
    text.parse().unwrap()
}

fn app(text: &str) -> RecordKey {
    RecordKey::application(name(text))
}

fn version(text: &str, number: i64) -> RecordKey {
    RecordKey::version(name(text), number.try_into().unwrap())
}
