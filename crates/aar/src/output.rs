//! How results are shown: tables for people, CSV, JSON and YAML for programs.

use std::io::Write;

use comfy_table::{Table, presets};
use indicatif::HumanBytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Format;
use crate::error::{Error, Result};

/// A result that can be shown. JSON and YAML are what it serialises to.
pub(crate) trait Present: Serialize {
    /// For people.
    fn table(&self) -> String;
    /// For spreadsheets; the first record holds the columns' names.
    fn csv(&self) -> Vec<Vec<String>>;
}

/// Prints a result on standard output.
pub(crate) fn print(format: Format, value: &impl Present) -> Result<()> {
    write(&render(format, value)?)
}

/// Prints one line on standard output.
pub(crate) fn say(line: &str) -> Result<()> {
    write(&format!("{}\n", printable(line)))
}

/// Writes to standard output.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}

fn render(format: Format, value: &impl Present) -> Result<String> {
    let failed = |e: std::io::Error| Error::Output(e);
    match format {
        Format::Table => Ok(value.table() + "\n"),
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(Vec::new());
            for record in value.csv() {
                csv.write_record(record).map_err(|e| failed(e.into()))?;
            }
            let bytes = csv.into_inner().map_err(|e| failed(e.into_error()))?;
            String::from_utf8(bytes).map_err(|e| failed(std::io::Error::other(e)))
        }
        Format::Json => {
            let json = serde_json::to_string_pretty(value).map_err(|e| failed(e.into()))?;
            Ok(json + "\n")
        }
        Format::Yaml => Ok(aar_config::to_yaml(value)?),
    }
}

/// A table with a line of headings.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| printable(&cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Facts, a line each, with their names in a column.
pub(crate) fn facts(facts: impl AsRef<[(&'static str, String)]>) -> String {
    let facts = facts.as_ref();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 1;
    let line = |(name, value): &(&str, String)| {
        format!("{:width$}  {}", format!("{name}:"), printable(value)).trim_end().to_owned()
    };
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The text without what would steer a terminal: much of it was chosen by others.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

/// Unix seconds in RFC 3339.
pub(crate) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A list in one cell; a dash where it is empty.
pub(crate) fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "-".into() } else { items.join(", ") }
}

/// A list in one field of CSV.
pub(crate) fn csv_list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(";")
}

/// Shows a result in every format, for snapshots.
#[cfg(test)]
pub(crate) fn all_formats(value: &impl Present) -> String {
    let formats = [Format::Table, Format::Csv, Format::Json, Format::Yaml];
    formats.map(|format| format!("--- {format:?}\n{}", render(format, value).unwrap())).join("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        let shown = table(["NAME"], [["evil\u{1b}[2J\nname\u{9b}".to_owned()]]);
        assert_eq!(shown, "NAME\nevil\\u{1b}[2J\\nname\\u{9b}");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_shown_as_a_number() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
    }
}
