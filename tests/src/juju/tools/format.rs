//! `smart`, `yaml` and `json`, as Juju prints them.

use std::fmt::Write;

use serde_json::{Number, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Smart,
    Yaml,
    Json,
}

impl Format {
    /// The formats that every tool has.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "yaml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

pub(super) fn render(value: &Value, format: Format) -> String {
    match (format, value) {
        (Format::Json, _) => {
            let text = value.to_string();
            // Go escapes these, which only ever stand in strings.
            let escaped = [
                ('<', "\\u003c"),
                ('>', "\\u003e"),
                ('&', "\\u0026"),
                ('\u{2028}', "\\u2028"),
                ('\u{2029}', "\\u2029"),
            ]
            .iter()
            .fold(text, |text, (letter, escape)| text.replace(*letter, escape));
            escaped + "\n"
        }
        (Format::Smart, Value::Null) => String::new(),
        (Format::Smart, Value::String(text)) if text.is_empty() => String::new(),
        (Format::Smart, Value::String(text)) => format!("{text}\n"),
        (Format::Smart, Value::Bool(value)) => if *value { "True\n" } else { "False\n" }.into(),
        (Format::Smart, Value::Array(list)) => list
            .iter()
            .map(|item| item.as_str().map_or_else(|| render(item, Format::Yaml), |text| format!("{text}\n")))
            .collect(),
        _ => {
            let mut text = String::new();
            yaml(value, 0, &mut text);
            text.trim_start_matches('\n').to_owned()
        }
    }
}

/// Writes a value where a line has been begun.
fn yaml(value: &Value, indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            if !text.is_empty() {
                text.push('\n');
            }
            for (key, value) in map {
                let _ = write!(text, "{margin}{}:", scalar(key, indent));
                if !matches!(value, Value::Object(map) if !map.is_empty())
                    && !matches!(value, Value::Array(list) if !list.is_empty())
                {
                    text.push(' ');
                }
                yaml(value, indent + 2, text);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            if !text.is_empty() {
                text.push('\n');
            }
            // Lists stand as far left as their key.
            let margin = " ".repeat(indent.saturating_sub(2));
            for item in list {
                let mut inner = String::new();
                yaml(item, indent.saturating_sub(2) + 2, &mut inner);
                let _ = write!(text, "{margin}- {}", inner.trim_start());
            }
        }
        Value::Object(_) => text.push_str("{}\n"),
        Value::Array(_) => text.push_str("[]\n"),
        Value::String(string) => {
            text.push_str(&scalar(string, indent));
            text.push('\n');
        }
        Value::Number(value) => {
            text.push_str(&number(value));
            text.push('\n');
        }
        other => {
            let _ = writeln!(text, "{other}");
        }
    }
}

/// A text, in quotes where YAML would take it for something else.
fn scalar(text: &str, indent: usize) -> String {
    if text.is_empty() {
        return "\"\"".into();
    }
    if text.contains('\n') {
        let (end, body) = text.strip_suffix('\n').map_or(("|-", text), |body| ("|", body));
        let lines = body.split('\n').map(|line| format!("\n{}{line}", " ".repeat(indent.max(2))));
        return lines.fold(end.to_owned(), |all, line| all + &line);
    }
    let quoted = serde_yaml::to_string(text).unwrap();
    let quoted = quoted.trim_end_matches('\n');
    // A text that is another type's goes into double quotes.
    match serde_yaml::from_str::<Value>(text) {
        Ok(Value::String(_)) | Err(_) => quoted.to_owned(),
        Ok(_) => format!("{text:?}"),
    }
}

/// A number that came as a float, in Go's shortest form.
fn number(value: &Number) -> String {
    let float = value.as_f64().unwrap();
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    // The shortest form turns to the scientific one from seven digits before the point.
    if (-4..6).contains(&exponent) {
        float.to_string()
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    }
}
