//! Kills the daemon at random moments while it is written to from all sides, and holds it to what it has answered.

mod check;
mod history;
mod model;
mod publisher;
mod rounds;
mod sender;
mod trust;

pub use rounds::{Plan, Tally, run};
