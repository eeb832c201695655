//! What there is: Juju's facts, the machine's, and those of the run itself.

mod all;
mod juju;
mod machine;

pub use all::{Facts, Run};
pub use juju::Juju;
pub use machine::{Asked, FactError, Machine};
