use serde::Serialize;

use crate::ConfigError;

/// Writes `value` as YAML, ending in a new line.
pub fn to_yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, ConfigError> {
    serde_yaml::to_string(value).map_err(ConfigError::Write)
}
