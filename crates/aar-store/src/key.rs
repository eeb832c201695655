//! The keys of everything that is stored: built and read here and nowhere else.
//!
//! An application's records lie in a folder of their own. A file `<name>.json` beside the folders would clash with the
//! folder of an application that is named `<name>.json`.

use std::fmt;
use std::str::FromStr;

use aar_model::{AppName, Digest, Version};

const RECORDS: &str = "records/applications/";
const IMAGES: &str = "images/sha256/";

/// The key of an image's bytes: `images/sha256/<first two digits>/<64 digits>`.
pub fn image_key(image: &Digest) -> String {
    let hex = image.to_string();
    format!("{IMAGES}{}/{hex}", &hex[..2])
}

/// The image whose key this is.
pub fn parse_image_key(key: &str) -> Option<Digest> {
    let (_, hex) = key.strip_prefix(IMAGES)?.split_once('/')?;
    // Upper-case digits would read as well, but be a key that is never written.
    hex.parse().ok().filter(|image| image_key(image) == key)
}

/// The key of a record. Ordered by application, its own record before those of its versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    application: AppName,
    version: Option<Version>,
}

impl RecordKey {
    /// The record of an application.
    pub fn application(name: AppName) -> Self {
        Self { application: name, version: None }
    }

    /// The record of a version.
    pub fn version(name: AppName, version: Version) -> Self {
        Self { application: name, version: Some(version) }
    }

    /// The application that the record belongs to.
    pub fn app(&self) -> &AppName {
        &self.application
    }

    /// The version, where it is a version's record.
    pub fn number(&self) -> Option<Version> {
        self.version
    }

    /// The key: `records/applications/<name>/application.json` or `records/applications/<name>/<version>.json`.
    pub fn path(&self) -> String {
        match self.version {
            None => format!("{RECORDS}{}/application.json", self.application),
            Some(version) => format!("{RECORDS}{}/{version}.json", self.application),
        }
    }

    /// The record whose key this is.
    pub fn parse(path: &str) -> Option<Self> {
        let (name, file) = path.strip_prefix(RECORDS)?.split_once('/')?;
        Self::in_file(&name.parse().ok()?, file)
    }

    /// The record of `application` whose key ends in `file`.
    pub fn in_file(application: &AppName, file: &str) -> Option<Self> {
        match file.strip_suffix(".json")? {
            "application" => Some(Self::application(application.clone())),
            number => Some(Self::version(application.clone(), number.parse().ok()?)),
        }
    }
}

/// Names an upload that may come in several goes: 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(String);

/// Not the name of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an upload is named by 32 lower-case hex digits")]
pub struct InvalidUploadId;

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let fits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidUploadId) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
