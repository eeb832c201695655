//! The registry's index in sled. It mirrors the records and may be lost at any time: what is damaged is thrown away.

mod contain;
mod entry;
mod index;
mod packed;

pub use index::SledIndex;
