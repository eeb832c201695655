//! A client of the registry's API, over TLS and the daemon's Unix socket.
//!
//! [`Client`] has one method a call of the API. [`Client::push`] and [`Client::pull`] move whole images between files and
//! the registry, in constant memory.

mod client;
mod connection;
mod error;
mod progress;
mod pull;
mod push;

pub use client::{Client, Download, ImageAddress};
pub use error::{Error, Result};
pub use progress::{Progress, Silent, Step};
pub use push::{PushOutcome, digest_file};
