//! The vocabulary of the Anbox Application Registry.
//!
//! Everything that crosses a boundary has a type here: names and versions of applications, digests of images,
//! fingerprints of certificates, roles, and the JSON shapes of the REST API. The crate does no I/O.

mod digest;
mod fields;
mod name;
mod role;
mod trust;
pub mod wire;

pub use digest::{Digest, Fingerprint, FingerprintPrefix, Hasher, InvalidDigest, InvalidPrefix};
pub use fields::{ApplicationFields, InvalidField, Resources, VersionFields, is_registry_owned, merge};
pub use name::{AppName, Architecture, InvalidArchitecture, InvalidName, InvalidVersion, Version};
pub use role::{InvalidRole, Role};
pub use trust::{CertificateInfo, TrustChange};
