//! Keeps two ends in step: a registry and a directory, or a registry and whatever else holds applications.
//!
//! A [`Source`] says what there should be, a [`Target`] what there is. [`Plan::new`] is the difference, a pure function of
//! the two; it can be shown, and carried out. Nothing else is remembered: whatever interrupts a round, the next one
//! starts from what is there. [`Sync`] does one round, or round after round.

mod catalogue;
pub mod durable;
mod ends;
mod error;
mod mirror;
mod on_change;
mod packages;
mod plan;
mod registry;
mod sync;

pub use catalogue::{Application, Catalogue, Package, Release, Selection};
pub use ends::{Rules, Source, Target};
pub use error::{Error, Result};
pub use mirror::{Action, Mirror, Notice};
pub use on_change::OnChange;
pub use packages::Packages;
pub use plan::{Conflict, Plan, Step};
pub use registry::Registry;
pub use sync::{Outcome, Sync, Timing};
