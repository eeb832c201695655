//! Single values: text on their way to a type that cannot be wrong.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// What a value in a file becomes.
pub(crate) trait FromText: Sized {
    /// What would be right, for people: it follows "expected".
    const EXPECTED: &'static str;
    /// Whether the value must not be shown.
    const SECRET: bool = false;

    /// What in `text` stands there for somebody to replace it, such as `<your access key>`.
    fn placeholder(text: &str) -> Option<&str> {
        is_placeholder(text).then_some(text)
    }

    /// The value that `text` stands for, if it stands for one.
    fn from_text(text: &str) -> Option<Self>;
}

/// A single value of a file.
#[derive(Default)]
pub(crate) struct Value<T>(pub(crate) T);

impl<'de, T: FromText> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As a string: `3000` and `yes` are what they look like.
        deserializer.deserialize_str(ValueVisitor(PhantomData)).map(Self)
    }
}

struct ValueVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for ValueVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        if let Some(placeholder) = T::placeholder(text) {
            return Err(E::custom(format_args!(
                "the placeholder `{placeholder}` is still there: put the real value in its place"
            )));
        }
        T::from_text(text).ok_or_else(|| {
            if T::SECRET || text.is_empty() {
                E::custom(format_args!("expected {}", T::EXPECTED))
            } else {
                E::custom(format_args!("expected {}, found `{}`", T::EXPECTED, text.escape_debug()))
            }
        })
    }
}

impl FromText for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// An error about the key `key` of the mapping that is being read, once all of the mapping is known.
pub(crate) fn error_at<E: de::Error>(key: &str, problem: impl fmt::Display) -> E {
    E::custom(format_args!("{AT_KEY}{key}`: {problem}"))
}

/// How the message of an error by [`error_at`] begins.
pub(crate) const AT_KEY: &str = "at `";

/// Whether this is something like `<your access key>`: words, where a secret would have digits.
pub(crate) fn is_placeholder(text: &str) -> bool {
    if matches!(text, "..." | "…") {
        return true;
    }
    text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).is_some_and(|words| {
        words.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '-' | '_' | '.' | '…'))
    })
}
