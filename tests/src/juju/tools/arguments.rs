//! Options and arguments, as Go's gnuflag reads them.

use std::collections::BTreeMap;

use super::{Result, usage};

/// An option that a tool knows, by all its names, of which the longest is last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Option_ {
    names: &'static [&'static str],
    takes_value: bool,
}

impl Option_ {
    pub(super) const fn text(names: &'static [&'static str]) -> Self {
        Self { names, takes_value: true }
    }

    pub(super) const fn flag(names: &'static [&'static str]) -> Self {
        Self { names, takes_value: false }
    }

    fn key(&self) -> &'static str {
        self.names[self.names.len() - 1]
    }
}

/// What was given.
#[derive(Default)]
pub(super) struct Arguments {
    /// By the option's last name: the option as it was written, and its value.
    options: BTreeMap<&'static str, (String, String)>,
    flags: BTreeMap<&'static str, bool>,
    /// The rest.
    pub(super) rest: Vec<String>,
}

impl Arguments {
    pub(super) fn parse(given: &[String], known: &[&Option_]) -> Result<Self> {
        let mut found = Self::default();
        let mut given = given.iter();
        while let Some(argument) = given.next() {
            if argument == "--" {
                found.rest.extend(given.cloned());
                break;
            } else if let Some(long) = argument.strip_prefix("--") {
                let (name, value) =
                    long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                found.take(known, &format!("--{name}"), name, value, &mut given)?;
            } else if let Some(short) = argument.strip_prefix('-').filter(|short| !short.is_empty()) {
                for (index, letter) in short.char_indices() {
                    let name = &short[index..index + letter.len_utf8()];
                    let rest = &short[index + letter.len_utf8()..];
                    let takes_value = known.iter().any(|it| it.takes_value && it.names.contains(&name));
                    let value = (takes_value && !rest.is_empty()).then_some(rest);
                    found.take(known, &format!("-{name}"), name, value, &mut given)?;
                    if takes_value {
                        break;
                    }
                }
            } else {
                found.rest.push(argument.clone());
            }
        }
        Ok(found)
    }

    fn take<'a>(
        &mut self,
        known: &[&Option_],
        written: &str,
        name: &str,
        value: Option<&str>,
        given: &mut impl Iterator<Item = &'a String>,
    ) -> Result<()> {
        let long = written.starts_with("--");
        let option = known.iter().find(|it| it.names.contains(&name) && long == (name.chars().count() > 1));
        let Some(option) = option else {
            return usage(format!("option provided but not defined: {written}"));
        };
        if option.takes_value {
            let value = value.or_else(|| given.next().map(String::as_str));
            let Some(value) = value else { return usage(format!("option needs an argument: {written}")) };
            self.options.insert(option.key(), (written.to_owned(), value.to_owned()));
        } else {
            let value = match value {
                None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
                Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
                Some(other) => {
                    return usage(format!("invalid boolean value {other:?} for {written}: invalid syntax"));
                }
            };
            self.flags.insert(option.key(), value);
        }
        Ok(())
    }

    /// An option as it was written, and its value.
    pub(super) fn option(&self, key: &str) -> Option<(&str, &str)> {
        self.options.get(key).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.flags.get(key).copied().unwrap_or_default()
    }

    /// At most `count` arguments.
    pub(super) fn at_most(&self, count: usize) -> Result<&[String]> {
        match self.rest.get(count..) {
            Some(more) if !more.is_empty() => usage(format!("unrecognized args: {}", quoted(more))),
            _ => Ok(&self.rest),
        }
    }
}

/// A list as Go prints it.
fn quoted(list: &[String]) -> String {
    let list: Vec<_> = list.iter().map(|it| format!("{it:?}")).collect();
    format!("[{}]", list.join(" "))
}

/// `key=value` arguments with what a file brings: arguments win, and are trimmed.
pub(super) fn pairs(given: &[String]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for argument in given {
        let Some((key, value)) = argument.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return usage(format!("expected \"key=value\", got {argument:?}"));
        };
        if found.insert(key.trim().to_owned(), value.trim().to_owned()).is_some() {
            return usage(format!("key {key:?} specified more than once"));
        }
    }
    Ok(found)
}
