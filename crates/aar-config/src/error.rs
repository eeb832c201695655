use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used, or something not be written as YAML.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}", describe(path, *position, key.as_deref(), problem))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line and column, counted from 1, where they are known.
        position: Option<(usize, usize)>,
        /// The key's path, such as `storage.fs.root-directory`; absent where the whole file is meant.
        key: Option<String>,
        /// What is wrong and what would be right. Never holds a secret.
        problem: String,
    },
    /// A value has no form in YAML.
    #[error("cannot write YAML")]
    Write(#[source] serde_yaml::Error),
}

fn describe(path: &Path, position: Option<(usize, usize)>, key: Option<&str>, problem: &str) -> String {
    let position = position.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
    let key = key.map(|key| format!(" {key}:")).unwrap_or_default();
    format!("{}{position}:{key} {problem}", path.display())
}
