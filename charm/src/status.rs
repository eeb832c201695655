//! What the unit tells people.

use std::fmt;

/// A unit's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Active(String),
    /// The charm is at work.
    Maintenance(String),
    /// Something will come by itself.
    Waiting(String),
    /// A person has to do something, which is told.
    Blocked(String),
}

/// As much of a message as is of use in a table, in characters.
const LONGEST: usize = 500;

impl Status {
    /// The status's name for Juju.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Active(_) => "active",
            Self::Maintenance(_) => "maintenance",
            Self::Waiting(_) => "waiting",
            Self::Blocked(_) => "blocked",
        }
    }

    /// What it says: one line.
    pub fn message(&self) -> String {
        let (Self::Active(text) | Self::Maintenance(text) | Self::Waiting(text) | Self::Blocked(text)) = self;
        one_line(text)
    }

    /// The one status of a unit to which all of `found` apply: the worst, with the messages of all that are as bad.
    pub fn worst(mut found: Vec<Self>) -> Option<Self> {
        // Stable: what was found first is told first.
        found.sort_by_key(|status| std::cmp::Reverse(status.rank()));
        let rank = found.first()?.rank();
        let mut alike = found.into_iter().filter(|status| status.rank() == rank);
        let mut worst = alike.next()?;
        let text = match &mut worst {
            Self::Active(text) | Self::Maintenance(text) | Self::Waiting(text) | Self::Blocked(text) => text,
        };
        for other in alike {
            text.push_str("; ");
            text.push_str(&other.message());
        }
        Some(worst)
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Active(_) => 0,
            Self::Maintenance(_) => 1,
            Self::Waiting(_) => 2,
            Self::Blocked(_) => 3,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word(), self.message())
    }
}

/// The text in one line of bounded length, without what would steer a terminal: parts of it come from others.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST - 1).chain(['…']).collect();
    }
    line
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = text + ": " + &cause.to_string();
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told_with_all_that_are_as_bad() {
        let found = vec![
            Status::Active("serving".into()),
            Status::Blocked("one".into()),
            Status::Waiting("for two".into()),
            Status::Blocked("three".into()),
        ];
        assert_eq!(Status::worst(found), Some(Status::Blocked("one; three".into())));
        assert_eq!(Status::worst(Vec::new()), None);
    }

    #[test]
    fn a_message_is_one_line_without_control_characters_and_not_endless() {
        assert_eq!(one_line("a\n  b\u{1b}[2Jc\t"), "a b [2Jc");
        let long = one_line(&"ä".repeat(2000));
        assert_eq!(long.chars().count(), LONGEST);
        assert!(long.ends_with('…'));
    }
}
