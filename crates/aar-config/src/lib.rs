//! The registry's configuration files, parsed and proved.
//!
//! [`Config`] is the daemon's, [`client::ClientConfig`] the command line's. Both are YAML, refuse what they do not know,
//! and say of every mistake where it is and what would be right. A value that exists is one that can be used.

mod address;
pub mod client;
mod cloudfront;
mod config;
mod document;
mod error;
pub mod relation;
mod s3;
mod secret;
mod storage;
mod value;
mod yaml;

pub use address::ListenAddr;
pub use cloudfront::{CloudFront, HashAlgorithm};
pub use config::{Config, Http, Log, LogFormat, LogLevel, Metrics};
pub use error::ConfigError;
pub use s3::{Credentials, S3};
pub use secret::Secret;
pub use storage::Storage;
pub use yaml::{from_yaml, placeholders, to_yaml};
