//! A YAML file and what can be wrong with it, told so that it can be mended.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::ConfigError;

/// The longest file that is read, in bytes.
const MAX_SIZE: usize = 1024 * 1024;
/// How deep lists and mappings in brackets may be nested.
const MAX_DEPTH: usize = 32;

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
        self.refuse_deep_nesting()?;
        let deserializer = serde_yaml::Deserializer::from_str(&self.text);
        let read: Result<Option<T>, _> = serde_path_to_error::deserialize(deserializer);
        Ok(read.map_err(|error| self.explain(&error))?.unwrap_or_default())
    }

    /// The parser's time grows with the square of the depth to which `[` and `{` are nested.
    fn refuse_deep_nesting(&self) -> Result<(), ConfigError> {
        let mut depth = 0_usize;
        for (index, byte) in self.text.bytes().enumerate() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                let position = Some(position(self.text.as_bytes(), index));
                return Err(self.invalid(position, None, "this is nested too deeply".to_owned()));
            }
        }
        Ok(())
    }

    /// Turns the parser's message into one that says what would be right, and that shows no value: it might be a secret.
    fn explain(&self, error: &serde_path_to_error::Error<serde_yaml::Error>) -> ConfigError {
        let path = error.path().to_string();
        let mut position = error.inner().location().map(|place| (place.line(), place.column()));
        let message = error.inner().to_string();
        let message = match position {
            Some((line, column)) => message.split(&format!(" at line {line} column {column}")).next(),
            None => None,
        }
        .unwrap_or(&message);
        let (own, message) = strip_path(message, &path);

        let problem = if let Some(rest) = message.strip_prefix("invalid type: ") {
            let (found, expected) = rest.rsplit_once(", expected ").unwrap_or_default();
            let found = match found {
                "map" => ", found a mapping",
                "sequence" => ", found a list",
                _ => "",
            };
            format!("expected {expected}{found}")
        } else if let Some(rest) = message.strip_prefix("unknown field ") {
            explain_unknown(rest)
        } else if let Some(key) = quoted(message, "missing field ") {
            format!("the key `{key}` is missing")
        } else if let Some(key) = quoted(message, "duplicate field ") {
            position = position.map(|first| self.repetition(key, first));
            format!("the key `{key}` is given twice")
        } else if own {
            message.to_owned()
        } else if message.contains("more than one document") {
            "there is more than one YAML document here: remove the lines `---`".to_owned()
        } else {
            format!("this is not valid YAML: {message}{}", self.hint(position))
        };
        let is_key = !matches!(path.as_str(), "." | "?") && !path.ends_with(".?");
        self.invalid(position, is_key.then_some(path), problem)
    }

    /// Where a key stands for the second time, in a mapping that begins at `first`.
    fn repetition(&self, key: &str, first: (usize, usize)) -> (usize, usize) {
        let (line, column) = first;
        let mut lines = self.text.lines().enumerate().skip(line - 1).filter(|(_, text)| {
            text.get(column - 1..)
                .and_then(|text| text.strip_prefix(key))
                .is_some_and(|rest| rest.starts_with(':'))
        });
        lines.nth(1).map_or(first, |(index, _)| (index + 1, column))
    }

    /// What most often leads to a syntax error at this place.
    fn hint(&self, position: Option<(usize, usize)>) -> &'static str {
        let line = position.and_then(|(line, _)| self.text.lines().nth(line - 1)).unwrap_or_default();
        if line.trim_start_matches(' ').starts_with('\t') {
            "; indent with spaces, not with tabs"
        } else {
            "; a value with special characters belongs in quotes"
        }
    }

    fn invalid(&self, position: Option<(usize, usize)>, key: Option<String>, problem: String) -> ConfigError {
        ConfigError::Invalid { path: self.path.clone(), position, key, problem }
    }
}

/// The message without the path before it, and whether there was one: only errors about values have it, not those of the
/// syntax. The path in the message may lack the last keys of `path`.
fn strip_path<'a>(message: &'a str, path: &str) -> (bool, &'a str) {
    let mut known = path;
    loop {
        if let Some(rest) = message.strip_prefix(known).and_then(|rest| rest.strip_prefix(": ")) {
            return (true, rest);
        }
        match known.rfind('.') {
            Some(end) => known = &known[..end],
            None => return (false, message),
        }
    }
}

/// What stands in back quotes after `before`.
fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.strip_prefix('`')?.strip_suffix('`')
}

/// Names the keys that are known, and the one that was probably meant; `rest` is the unknown one and the others, in back
/// quotes each.
fn explain_unknown(rest: &str) -> String {
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<_> = names.collect();
    let meant = known.iter().find(|name| strsim::damerau_levenshtein(name, unknown) <= 2);
    let meant = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    format!("there is no key `{unknown}` here; the keys are {}{meant}", known.join(", "))
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
