use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ConfigError;
use crate::document::Document;
use crate::value::is_placeholder;

/// Reads a YAML document, of which an empty one is the default; errors name `path` as the file.
pub fn from_yaml<T: DeserializeOwned + Default>(text: &str, path: &Path) -> Result<T, ConfigError> {
    Document::new(text, path)?.read()
}

/// Writes `value` as YAML, ending in a new line.
pub fn to_yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, ConfigError> {
    serde_yaml::to_string(value).map_err(ConfigError::Write)
}

/// All placeholders such as `<your access key>` that a YAML document still has, each with the path of its key. None where
/// it is no YAML.
pub fn placeholders(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Ok(value) = from_yaml::<Option<serde_yaml::Value>>(text, Path::new("")) {
        collect(&mut String::new(), &value.unwrap_or_default(), &mut found);
    }
    found
}

fn collect(path: &mut String, value: &serde_yaml::Value, found: &mut Vec<(String, String)>) {
    match value {
        serde_yaml::Value::String(text) => {
            let lines = text.lines().map(str::trim).filter(|line| is_placeholder(line));
            found.extend(lines.map(|line| (path.clone(), line.to_owned())));
        }
        serde_yaml::Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let length = path.len();
                if let Some(key) = key.as_str() {
                    path.push_str(if length == 0 { "" } else { "." });
                    path.push_str(key);
                }
                collect(path, value, found);
                path.truncate(length);
            }
        }
        serde_yaml::Value::Sequence(values) => values.iter().for_each(|value| collect(path, value, found)),
        _ => {}
    }
}
