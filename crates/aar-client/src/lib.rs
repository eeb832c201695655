//! A client of the registry's API, over TLS and the daemon's Unix socket.
//!
//! [`Client`] has one method a call of the API. [`Client::push`] and [`Client::pull`] move whole images between files and
//! the registry, in constant memory.

mod client;
mod connection;
mod error;
mod events;
mod other;
mod patience;
mod progress;
mod pull;
mod push;
mod rate;
mod upload;

pub use client::{Client, Download, ImageAddress, Listing};
pub use error::{Error, Result};
pub use events::Events;
pub use hyper::Method;
pub use progress::{Progress, Silent, Step};
pub use push::{PushOutcome, digest_file};
pub use rate::RateLimit;
