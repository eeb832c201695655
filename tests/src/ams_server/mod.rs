//! A stand-in for AMS that follows its published API, as far as applications go: envelope, operations, events, extensions,
//! fingerprints and refusals. Its applications are made of real packages; what an instance would do is left out.

mod applications;
mod http;
mod package;
mod server;

pub use package::{Packed, package};
pub use server::{AmsServer, Settings};
