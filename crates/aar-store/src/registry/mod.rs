//! The registry's operations: what may be done, and in which order it becomes durable.
//!
//! The commit point of every change is the write or removal of one record:
//!
//! | change | commit point | before it | after it |
//! |---|---|---|---|
//! | push | the version's record is written | the image is durable; changed fields of the application are *staged* in its record, bound to this image | index |
//! | change of fields | the application's record is written | | index |
//! | publish, withdraw | the version's record is written | | index |
//! | delete a version | the version's record is removed or written without the image | staged fields are settled | index, image |
//! | delete an application | the application's record is written as deleted | | index, the versions' records, its own record, images |
//!
//! A crash before the commit point shows nothing, a crash after it loses nothing: what is left to do is done at the next
//! start, or by the collector.

mod change;
mod collect;
mod copy;
mod core;
mod delete;
mod document;
mod error;
mod event;
mod images;
mod locks;
mod media_type;
mod push;
mod reconcile;
mod snapshot;
mod uploads;
mod verify;
mod view;

pub use self::core::{Registry, Totals};
pub use copy::CopyError;
pub use error::{BodyError, RegistryError};
pub use event::{Action, Event};
pub use push::{BodyStream, Push, Pushed};
pub use reconcile::Reconciled;
pub use snapshot::Snapshot;
pub use uploads::{Owner, UploadState};
pub use view::{StoredImage, Viewer};
