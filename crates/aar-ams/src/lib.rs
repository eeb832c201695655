//! AMS as an end of synchronisation, through its REST API.
//!
//! [`Ams`] has one method a call. [`AmsTarget`] keeps AMS as a registry says (pull), [`AmsSource`] says what of AMS belongs
//! on a registry (push).
//!
//! # The API
//!
//! What AMS publishes: `reference/api-reference/ams-api.yaml` of the Anbox Cloud documentation, and where that is silent
//! (operations in the envelope of a change, headers of an export, status codes) the AMS SDK for Go and the older reference
//! in prose. It is used so far:
//!
//! | call | for |
//! |---|---|
//! | `GET /1.0` | `api_extensions`: `application_image_export` to push, `zip_archive_support` to pull zip archives |
//! | `GET /1.0/config` | `application.max_published_versions`: more are not pulled, as AMS would remove them again |
//! | `GET /1.0/applications?recursion=1` | what is there |
//! | `GET /1.0/applications/{id}` | how far a version is |
//! | `POST /1.0/applications` | makes an application of a package, with `X-AMS-Fingerprint` |
//! | `PATCH /1.0/applications/{id}`, octet stream | makes a version of a package, with `X-AMS-Fingerprint` |
//! | `PATCH /1.0/applications/{id}`, JSON | changes fields that need no new version |
//! | `PATCH /1.0/applications/{id}/{version}` | publishes |
//! | `DELETE /1.0/applications/{id}`, `…/{version}` | removes |
//! | `GET /1.0/applications/{id}/{version}` | exports an image; its SHA-256 is in `X-AMS-Fingerprint` |
//! | `GET /1.0/operations/{id}` | whether a change is through |
//!
//! Lists may be `null` where they are empty, and operations are forgotten when AMS restarts: then the application itself
//! tells.
//!
//! # Whose an application is
//!
//! AMS numbers versions itself and does not tell of which package one was made. So it is noted beside, in a *state
//! directory*, which application of AMS (by its ID, which is never used twice) was made from the registry, and which of
//! its versions stands for which of the registry's. Nothing else on AMS is changed, ever. A mark on AMS would be a tag:
//! people see it, filter by it, copy it to what they make, and a push would carry it to other registries; and it cannot be
//! set in the call that makes the application. If the state is lost, nothing on AMS is known to be the registry's, hence
//! nothing is touched: what is there under a name that the registry has too is reported, until somebody removes it.
//!
//! Where a call to make something is cut off, AMS may have made it. A note is written before such a call, when nothing of
//! the name was there, and kept fresh while it lasts. What is then found, and was made between the call's beginning and
//! half a minute after its end, is what was called for; what was made at another time is somebody else's.

mod ams;
mod error;
mod notes;
mod package;
mod source;
mod target;
mod wanted;
mod wire;

pub use ams::Ams;
pub use error::{Error, Result};
pub use source::AmsSource;
pub use target::AmsTarget;
pub use wanted::Wanted;
pub use wire::{Application, ApplicationVersion, Operation};
