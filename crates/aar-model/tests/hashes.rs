//! Digests, fingerprints and their beginnings.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use aar_model::{Digest, Fingerprint, FingerprintPrefix, Hasher};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hex_digits_come_out_in_lower_case(text in "[0-9a-fA-F]{64}") {
        let lower = text.to_lowercase();
        prop_assert_eq!(text.parse::<Digest>().unwrap().to_string(), lower.clone());
        prop_assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), lower.clone());
        let digest: Digest = serde_json::from_value(text.into()).unwrap();
        prop_assert_eq!(serde_json::to_value(digest).unwrap(), lower);
    }

    #[test]
    fn what_is_not_64_hex_digits_is_refused(text in prop_oneof![
        "[0-9a-f]{0,63}", "[0-9a-f]{65,80}", "[0-9a-f]{63}[g-z \n:]", any::<String>(),
    ]) {
        prop_assert!(text.parse::<Digest>().is_err());
        prop_assert!(text.parse::<Fingerprint>().is_err());
    }

    #[test]
    fn a_hash_does_not_depend_on_the_pieces(
        bytes in prop::collection::vec(any::<u8>(), 0..500), at in any::<prop::sample::Index>(),
    ) {
        let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
        let mut hasher = Hasher::default();
        hasher.update(first);
        hasher.update(second);
        prop_assert_eq!(hasher.finish(), Digest::of(&bytes));
    }

    #[test]
    fn a_prefix_matches_what_begins_so_and_nothing_else(
        bytes in any::<[u8; 32]>(), length in 8_usize..=64, wrong in any::<prop::sample::Index>(), upper in any::<bool>(),
    ) {
        let fingerprint = Fingerprint::of(&bytes);
        let mut beginning = fingerprint.to_string()[..length].to_owned();
        let written = if upper { beginning.to_uppercase() } else { beginning.clone() };
        let prefix: FingerprintPrefix = written.parse().unwrap();
        prop_assert!(prefix.matches(&fingerprint));
        prop_assert_eq!(prefix.to_string(), beginning.clone());

        let at = wrong.index(length);
        let digit = u8::from_str_radix(&beginning[at..=at], 16).unwrap();
        beginning.replace_range(at..=at, &format!("{:x}", digit ^ 1));
        prop_assert!(!beginning.parse::<FingerprintPrefix>().unwrap().matches(&fingerprint));
    }

    #[test]
    fn what_is_too_short_or_no_hex_is_no_prefix(text in prop_oneof![
        "[0-9a-f]{0,7}", "[0-9a-f]{65,70}", "[0-9a-f]{7,20}[g-zG-Z *%:-]", "\u{e4}{4,32}",
    ]) {
        prop_assert!(text.parse::<FingerprintPrefix>().is_err());
    }
}
