use std::path::PathBuf;

use aar_client::ImageAddress;
use aar_model::Digest;
use aar_model::wire::Image;
use serde::{Deserialize, Serialize};

/// What the mirror has put in the place of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The image; none where it was removed and that is still to be told.
    pub(super) image: Option<Image>,
    /// Whether the image is there, and not only the beginning of it.
    pub(super) is_complete: bool,
    /// The image that was told last, or has begun to be.
    pub(super) told: Option<Digest>,
    /// Whether telling has begun and nobody knows how it ended: the image may be known or not.
    #[serde(default)]
    pub(super) is_telling: bool,
}

/// A change of the mirror that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What has happened.
    pub action: Action,
    /// To which image.
    pub image: ImageAddress,
    /// SHA-256 of the image that came, or went.
    pub fingerprint: Digest,
    /// Where it is; nowhere where it went.
    pub path: Option<PathBuf>,
}

/// What has happened to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It came, or replaced another.
    Added,
    /// It went.
    Removed,
}

impl Action {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}
