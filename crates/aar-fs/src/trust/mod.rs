//! The trust store: a directory of certificates, mirrored in memory.

mod directory;
mod entry;
mod store;

pub use store::FsTrust;
