use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ConfigError;
use crate::document::Document;

/// Reads a YAML document, of which an empty one is the default; errors name `path` as the file.
pub fn from_yaml<T: DeserializeOwned + Default>(text: &str, path: &Path) -> Result<T, ConfigError> {
    Document::new(text, path)?.read()
}

/// Writes `value` as YAML, ending in a new line.
pub fn to_yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, ConfigError> {
    serde_yaml::to_string(value).map_err(ConfigError::Write)
}
