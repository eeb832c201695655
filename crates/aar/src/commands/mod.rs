//! The commands: each asks the registry and shows the answer.

mod application;
mod confirm;
mod documents;
mod maintenance;
mod run;
mod status;
mod sync;
mod trust;
mod trust_store;

pub(crate) use run::run;
