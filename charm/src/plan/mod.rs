//! What is to be done: a pure function of what there is.
//!
//! A plan has the steps that can be taken now. Some need others before them, and come with the next plan, once the facts
//! are gathered anew. A plan without steps is the end, and its status is what the unit tells.

mod planner;
mod relations;
mod requirements;
mod serving;
mod step;

pub use planner::plan;
pub use step::{Plan, Step, hash};
