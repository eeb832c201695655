//! Downloads from Amazon CloudFront: URLs with a signature over a canned policy.
//!
//! What CloudFront takes is in its developer guide, "Use signed URLs" and "Create a signed URL using a canned policy".

mod cloudfront;
mod key;
mod policy;
mod resource;

pub use cloudfront::{CloudFront, Options};
pub use key::{HashAlgorithm, KeyError, Warning};
