use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer};

use crate::S3;
use crate::value::{FromText, Value, error_at};

/// Where images and records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In a directory of this machine.
    Fs {
        /// An absolute path; where it is absent, `data` in the base directory.
        root_directory: Option<PathBuf>,
    },
    /// In a bucket.
    S3(Box<S3>),
}

impl Default for Storage {
    fn default() -> Self {
        Self::Fs { root_directory: None }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "the key `fs` or `s3`, indented")]
struct RawStorage {
    fs: Option<RawFs>,
    s3: Option<Box<S3>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the key `root-directory`, indented")]
struct RawFs {
    root_directory: Option<Value<RootDirectory>>,
}

impl<'de> Deserialize<'de> for Storage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawStorage::deserialize(deserializer)?;
        match (raw.fs, raw.s3) {
            (Some(_), Some(_)) => {
                Err(error_at("s3", "there is `fs` as well: keep the one that images are to be stored in"))
            }
            (fs, None) => {
                Ok(Self::Fs { root_directory: fs.and_then(|fs| fs.root_directory).map(|root| root.0.0) })
            }
            (None, Some(s3)) => Ok(Self::S3(s3)),
        }
    }
}

struct RootDirectory(PathBuf);

impl FromText for RootDirectory {
    const EXPECTED: &'static str = "an absolute path, such as `/var/lib/aar/data`";

    fn from_text(text: &str) -> Option<Self> {
        Path::new(text).is_absolute().then(|| Self(text.into()))
    }
}
