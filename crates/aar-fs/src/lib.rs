//! Images, records and trust on the local file system.
//!
//! ```text
//! <root>/.lock                                   held by the process that has the root open
//! <root>/uploads/.writing-<unique>               images on their way in
//! <root>/uploads/<32 digits>.{image,json}        images that may come in several goes
//! <root>/images/sha256/<2 digits>/<64 digits>    images
//! <root>/records/applications/<name>/*.json      records
//! <certs>/{clients,publishers,revoked}/<64 digits>.{crt,json}
//! ```
//!
//! Files are 0600 and directories 0700. What is answered is durable: data, names and the directories that hold them.

mod batches;
mod blobs;
mod check;
mod direct;
mod durable;
mod error;
mod listing;
mod reader;
mod records;
mod root;
mod trust;
mod upload;
mod uploads;

pub use blobs::FsBlobs;
pub use records::FsRecords;
pub use root::open;
pub use trust::FsTrust;
