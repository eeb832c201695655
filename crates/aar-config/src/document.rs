//! A YAML file and what can be wrong with it, told so that it can be mended.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use zeroize::{Zeroize as _, Zeroizing};

use crate::ConfigError;
use crate::value::AT_KEY;

/// The longest file that is read, in bytes.
const MAX_SIZE: usize = 1024 * 1024;
/// How deep lists and mappings in brackets may be nested.
const MAX_DEPTH: usize = 32;
/// What ends a line in YAML, and the byte order mark.
const BEFORE_DIRECTIVE: [char; 6] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'];

/// The text of a file. It may hold secrets, and is wiped when it is dropped.
pub(crate) struct Document {
    path: PathBuf,
    text: Zeroizing<String>,
}

impl Document {
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        // As much as may be needed, for what grows leaves copies behind.
        let mut bytes = Vec::with_capacity(MAX_SIZE + 1);
        let read = File::open(path).and_then(|file| file.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes));
        let document = match read {
            Ok(_) => Self::decode(&bytes, path),
            Err(source) => Err(ConfigError::Read { path: path.into(), source }),
        };
        // Not the rest of the buffer: to wipe what was never written takes longer than all else.
        bytes.as_mut_slice().zeroize();
        document
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, ConfigError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::new(text, path),
            // What is too long was cut, maybe inside a character.
            Err(_) if bytes.len() > MAX_SIZE => Err(too_long(path)),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                Err(ConfigError::Invalid {
                    path: path.into(),
                    position: Some(position(&valid, valid.len())),
                    key: None,
                    problem: "this is not UTF-8".to_owned(),
                })
            }
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
        self.refuse_slow_input()?;
        let deserializer = serde_yaml::Deserializer::from_str(&self.text);
        let read: Result<Option<T>, _> = serde_path_to_error::deserialize(deserializer);
        Ok(read.map_err(|error| self.explain(&error))?.unwrap_or_default())
    }

    /// Refuses what makes the parser's time grow with the square of the length: brackets in brackets, and directives.
    fn refuse_slow_input(&self) -> Result<(), ConfigError> {
        let mut depth = 0_usize;
        let mut previous = '\n';
        for (index, c) in self.text.char_indices() {
            match c {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            let problem = if depth > MAX_DEPTH {
                "this is nested too deeply"
            } else if c == '%' && BEFORE_DIRECTIVE.contains(&previous) {
                "YAML directives, which begin with `%`, have no use here: remove the line"
            } else {
                previous = c;
                continue;
            };
            return Err(self.invalid(Some(position(&self.text, index)), None, problem.to_owned()));
        }
        Ok(())
    }

    /// Turns the parser's message into one that says what would be right, and that shows no value: it might be a secret.
    fn explain(&self, error: &serde_path_to_error::Error<serde_yaml::Error>) -> ConfigError {
        let path = error.path().to_string();
        let mut path = path.as_str();
        let mut position = error.inner().location().map(|place| (place.line(), place.column()));
        let message = error.inner().to_string();
        let message = match position {
            Some((line, column)) => message.split(&format!(" at line {line} column {column}")).next(),
            None => None,
        }
        .unwrap_or(&message);
        let (own, message) = strip_path(message, path);

        let problem = if let Some(rest) = message.strip_prefix("invalid type: ") {
            let (found, expected) = rest.rsplit_once(", expected ").unwrap_or_default();
            let found = match found {
                "map" => ", found a mapping",
                "sequence" => ", found a list",
                _ => "",
            };
            format!("expected {}{found}", expected.replace("field identifier", "a key"))
        } else if let Some(rest) = message.strip_prefix("unknown field ") {
            let (unknown, known) = rest.rsplit_once("`, expected ").unwrap_or_default();
            let unknown = unknown.strip_prefix('`').unwrap_or_default();
            let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
            let shown = is_like_a_key(unknown) || nearest(unknown, &known).is_some();
            if !shown {
                path = path.strip_suffix(unknown).unwrap_or_default().trim_end_matches('.');
            }
            explain_unknown(shown.then_some(unknown), &known)
        } else if let Some(key) = quoted(message, "missing field ") {
            format!("the key `{key}` is missing")
        } else if let Some(key) = quoted(message, "duplicate field ") {
            position = position.map(|first| self.repetition(key, first));
            format!("the key `{key}` is given twice")
        } else if let Some((key, problem)) =
            message.strip_prefix(AT_KEY).and_then(|rest| rest.split_once("`: "))
        {
            let path = format!("{path}.{key}");
            return self.invalid(self.place(&path).or(position), Some(path), problem.to_owned());
        } else if own {
            message.to_owned()
        } else if message.contains("more than one document") {
            "there is more than one YAML document here: remove the lines `---`".to_owned()
        } else {
            let what = message.split(", while ").next().unwrap_or_default();
            format!("this is not valid YAML: {what}; {}", self.hint(position))
        };
        let is_key = !matches!(path, "" | "." | "?") && !path.ends_with(".?");
        self.invalid(position, is_key.then(|| path.to_owned()), problem)
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

    /// Where the key of this path stands; nowhere if it is in a mapping in braces.
    fn place(&self, path: &str) -> Option<(usize, usize)> {
        let mut lines = self.text.lines().enumerate();
        path.split('.').try_fold((0, 0), |_, key| {
            lines.find_map(|(index, line)| {
                let text = line.trim_start_matches(' ');
                let is_here = text.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
                is_here.then_some((index + 1, line.len() - text.len() + 1))
            })
        })
    }

    /// What most often leads to a syntax error at this place.
    fn hint(&self, position: Option<(usize, usize)>) -> &'static str {
        let line = position.and_then(|(line, _)| self.text.lines().nth(line - 1)).unwrap_or_default();
        if line.trim_start_matches(' ').starts_with('\t') {
            "indent with spaces, not with tabs"
        } else {
            "a value with special characters belongs in quotes"
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

/// Names the keys that are known, and the one that was probably meant.
fn explain_unknown(unknown: Option<&str>, known: &[&str]) -> String {
    let mut problem = "unknown key".to_owned();
    if let Some(unknown) = unknown {
        problem = problem + " `" + unknown + "`";
    }
    problem = problem + ", known here: " + &known.join(", ");
    match unknown.and_then(|unknown| nearest(unknown, known)) {
        Some(meant) => problem + "; did you mean `" + meant + "`?",
        None => problem,
    }
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().copied().find(|name| strsim::damerau_levenshtein(name, &unknown.to_lowercase()) <= 2)
}

/// Whether a key may be shown: not where it might be a secret that was not put where it belongs.
fn is_like_a_key(unknown: &str) -> bool {
    unknown.len() <= 32 && unknown.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

fn too_long(path: &Path) -> ConfigError {
    let problem = "this is longer than 1 MiB, too long for a configuration".to_owned();
    ConfigError::Invalid { path: path.into(), position: None, key: None, problem }
}

/// Line and column of the byte at `index`, counted from 1; columns are characters.
fn position(text: &str, index: usize) -> (usize, usize) {
    let before = &text[..index];
    let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_begin..].chars().count() + 1)
}
