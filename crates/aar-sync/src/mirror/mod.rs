//! A directory that mirrors a registry.
//!
//! ```text
//! <name>/application.json                       the application's fields
//! <name>/<version>/version.json                 the version's fields
//! <name>/<version>/<architecture>/image.<ext>   an image, whole and verified
//! .aar-sync/images/<name>/<version>/<architecture>.json   a record: what the mirror has put there
//! ```
//!
//! A record is written before anything else of an image and goes last, so that whatever is interrupted can be finished or
//! undone, and what has no record is somebody else's and stays as it is.

mod record;
mod store;
mod target;

pub use record::{Action, Notice};
pub use target::Mirror;
