//! The manual page against the daemon's own help.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::process::Command;

const PAGE: &str = include_str!("../../../packaging/man/aard.8");

/// The long options, and the variables, that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-_".contains(letter));
    words.filter(|word| word.starts_with("--") || word.starts_with("AAR_")).collect()
}

#[test]
fn the_manual_page_has_the_options_and_variables_of_the_help_and_no_others() {
    let help = Command::new(env!("CARGO_BIN_EXE_aard")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("--check-config"), "{help}");
    assert_eq!(named(&PAGE.replace('\\', "")), named(&help));
}
