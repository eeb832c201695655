//! Names, versions and architectures: what is taken, and that it comes out as it went in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use aar_model::{AppName, Architecture, Version};
use proptest::prelude::*;

/// The rule, told another way than the code does.
fn is_a_name(text: &str) -> bool {
    const FIRST: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    const LATER: &str = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    let mut characters = text.chars();
    characters.next().is_some_and(|c| FIRST.contains(c))
        && characters.all(|c| LATER.contains(c))
        && text.chars().count() < 64
}

fn almost_a_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9._-]{0,66}",
        "[a-z0-9][a-z0-9._-]{0,62}",
        "[a-zA-Z0-9._/%\\\\ -]{0,8}",
        "[a-z]{1,3}[\\x00-\\x1f\\x7f\u{e4}\u{131}\u{ff41}\u{2024}\n]",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_are_exactly_those_of_the_rule(text in almost_a_name()) {
        let read = text.parse::<AppName>();
        prop_assert_eq!(read.is_ok(), is_a_name(&text));
        if let Ok(name) = read {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert_eq!(name.to_string(), text.clone());
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<AppName>(&json).unwrap(), name);
        }
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<AppName>(&json).is_ok(), is_a_name(&text));
    }

    #[test]
    fn a_name_leads_nowhere_but_to_its_own_folder(text in almost_a_name()) {
        if let Ok(name) = text.parse::<AppName>() {
            let path = std::path::Path::new(name.as_str());
            let parts: Vec<_> = path.components().collect();
            prop_assert_eq!(parts, [std::path::Component::Normal(name.as_str().as_ref())]);
        }
    }

    #[test]
    fn versions_of_the_range_have_one_spelling(number in any::<i64>(), small in 0..=i64::from(i32::MAX)) {
        for number in [number, small] {
            let version = Version::try_from(number);
            prop_assert_eq!(version.is_ok(), (0..1 << 31).contains(&number));
            prop_assert_eq!(number.to_string().parse(), version);
            prop_assert_eq!(serde_json::from_str(&number.to_string()).ok(), version.ok());
            if let Ok(version) = version {
                prop_assert_eq!(version.to_string(), number.to_string());
                prop_assert_eq!(i64::from(version), number);
            }
        }
    }

    #[test]
    fn what_is_no_version_is_refused(text in prop_oneof![
        "[0-9]{0,12}", "[+-]?0*[0-9]{1,10}", "[ \t]?[0-9]{1,3}[ \n]?", "[0-9]e[0-9]", "0x[0-9a-f]", any::<String>(),
    ]) {
        let canonical = text.parse::<u32>().is_ok_and(|n| n < 1 << 31 && n.to_string() == text);
        prop_assert_eq!(text.parse::<Version>().is_ok(), canonical);
    }

    #[test]
    fn an_unknown_architecture_is_refused_in_a_short_sentence(text in any::<String>()) {
        let known = ["x86_64", "amd64", "aarch64", "arm64"].contains(&text.as_str());
        match text.parse::<Architecture>() {
            Ok(_) => prop_assert!(known),
            Err(error) => prop_assert!(!known && error.to_string().chars().count() < 200),
        }
    }
}

#[test]
fn names_at_the_edges_of_the_rule() {
    let longest = "a".repeat(63);
    for name in ["a", "0", "0-", "a..", "a_b.c-d", longest.as_str()] {
        assert!(name.parse::<AppName>().is_ok(), "{name}");
    }
    let too_long = "a".repeat(64);
    for no_name in
        ["", ".", "..", "-a", "_a", ".a", "A", "aB", "a b", "a/b", "a\\b", "a\0", "a\n", "ä", &too_long]
    {
        assert!(no_name.parse::<AppName>().is_err(), "{no_name:?}");
    }
}

#[test]
fn an_architecture_is_shown_by_its_name_whatever_it_was_called() {
    for (called, name) in
        [("x86_64", "x86_64"), ("amd64", "x86_64"), ("aarch64", "aarch64"), ("arm64", "aarch64")]
    {
        let architecture: Architecture = called.parse().unwrap();
        assert_eq!(architecture.to_string(), name);
        assert_eq!(serde_json::to_value(architecture).unwrap(), name);
        assert_eq!(serde_json::from_value::<Architecture>(called.into()).unwrap(), architecture);
    }
}
