//! What the registry stores, through which traits, and what may be done with it.
//!
//! [`Blobs`] and [`Records`] are the truth, [`Index`] mirrors the records so that reads need not touch the store, and
//! [`Trust`] knows the certificates. [`Registry`] composes them into the operations of the registry and owns the order in
//! which things become durable. A backend is one crate; all pass the suite in `contract` (a feature of that name).

mod blobs;
mod check;
#[cfg(feature = "contract")]
pub mod contract;
mod downloads;
mod error;
mod index;
mod key;
#[cfg(feature = "contract")]
pub mod memory;
mod records;
mod registry;
mod trust;
mod uploads;

pub use blobs::{BlobInfo, Blobs, ByteStream, Upload};
pub use check::StorageCheck;
pub use downloads::{Download, Downloads, SignedUrl};
pub use error::{Cause, Error, Result};
pub use index::{Change, Index, Scope};
pub use key::{InvalidUploadId, RecordKey, UploadId, image_key, parse_image_key};
pub use records::{ETag, Records};
pub use registry::{
    Action, BodyError, BodyStream, CopyError, Event, Owner, Push, Pushed, Reconciled, Registry,
    RegistryError, Snapshot, StoredImage, Totals, UploadState, Viewer,
};
pub use trust::{NewCertificate, Sources, Standing, Trust, TrustError};
pub use uploads::{Incoming, Note, Uploads};
