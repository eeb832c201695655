//! Images and records in an S3 bucket, and URLs by which clients fetch images straight from it.
//!
//! [`S3Store`] keeps the contracts of [`Blobs`](aar_store::Blobs) and [`Records`](aar_store::Records) and knows
//! [`Downloads`](aar_store::Downloads). It asks for nothing but what the registry's IAM policy permits, and nothing of
//! rusoto's, which does the talking, shows outside.

#![allow(clippy::result_large_err, reason = "rusoto's errors are large, and on no hot path")]

mod action;
mod blobs;
mod check;
mod client;
mod clock;
mod credentials;
mod dispatch;
mod downloads;
mod error;
mod multipart;
mod options;
mod parts;
mod probe;
mod proxy;
mod reader;
mod records;
mod sending;
mod spool;
mod store;
mod sweep;
mod upload;
mod uploads;

pub use check::PermissionCheck;
pub use error::S3Error;
pub use options::{Credentials, Options, SecretKey};
pub use probe::{Probe, ProbeError, probe};
pub use store::{S3Store, open};
