//! A YAML file and what can be wrong with it, told so that it can be mended.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::ConfigError;

/// The longest file that is read, in bytes.
const MAX_SIZE: usize = 1024 * 1024;

/// The text of a file. It may hold secrets, and is wiped when it is dropped.
pub(crate) struct Document {
    path: PathBuf,
    text: Zeroizing<String>,
}

impl Document {
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = || {
            let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SIZE + 1));
            File::open(path)?.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| ConfigError::Read { path: path.into(), source })?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::new(text, path),
            // What is too long was cut, maybe inside a character.
            Err(_) if bytes.len() > MAX_SIZE => Err(too_long(path)),
            Err(error) => Err(ConfigError::Invalid {
                path: path.into(),
                position: Some(position(&bytes, error.valid_up_to())),
                key: None,
                problem: "this is not UTF-8".to_owned(),
            }),
        }
    }

    pub(crate) fn new(text: &str, path: &Path) -> Result<Self, ConfigError> {
        if text.len() > MAX_SIZE {
            return Err(too_long(path));
        }
        Ok(Self { path: path.into(), text: Zeroizing::new(text.to_owned()) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the text says; the default where it says nothing.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self) -> Result<T, ConfigError> {
        let deserializer = serde_yaml::Deserializer::from_str(&self.text);
        let read: Result<Option<T>, _> = serde_path_to_error::deserialize(deserializer);
        match read {
            Ok(value) => Ok(value.unwrap_or_default()),
            Err(error) => {
                eprintln!(
                    "RAW {:?} {} | {}",
                    error.path().to_string(),
                    error.inner(),
                    error.inner().location().is_some()
                );
                Err(too_long(&self.path))
            }
        }
    }
}

fn too_long(path: &Path) -> ConfigError {
    let problem = "this is longer than 1 MiB, too long for a configuration".to_owned();
    ConfigError::Invalid { path: path.into(), position: None, key: None, problem }
}

/// Line and column of the byte at `index`, counted from 1.
fn position(bytes: &[u8], index: usize) -> (usize, usize) {
    let line = bytes[..index].iter().filter(|&&b| b == b'\n').count() + 1;
    let begin = bytes[..index].iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    (line, index - begin + 1)
}
