//! The registry's REST API: who may do what, what is asked, and how it is answered.
//!
//! [`Api::handle`] is the way of every request: identify, route, authorise, call one operation of the registry, answer.
//! It knows storage and trust through their traits only, and nothing of sockets.

mod access;
mod answer;
mod api;
mod body;
mod cache;
mod conditional;
mod error;
mod events;
mod handlers;
mod metrics;
mod operations;
mod request;
mod route;

pub use access::{Caller, Identity, Peer};
pub use api::{Api, OpenStorage, Opened, Parts, ReadCertificate};
pub use body::ResponseBody;
pub use events::Listener;
