//! Conditions and ranges (RFC 9110, sections 13 and 14).

use std::ops::Range;

/// Whether a tag in `If-None-Match` names `etag`, which is quoted; compared weakly.
pub(crate) fn none_match_hits(header: &[u8], etag: &[u8]) -> bool {
    header == b"*" || tags(header).any(|tag| tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}

/// Whether a tag in `If-Match` names `etag`, which is quoted; compared strongly.
pub(crate) fn match_hits(header: &[u8], etag: &[u8]) -> bool {
    header == b"*" || tags(header).any(|tag| tag == etag)
}

fn tags(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// What a `Range` header asks of `size` bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: the header is one that we do not serve in parts, such as several ranges at once.
    Whole,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// Reads a `Range` header.
pub(crate) fn range(header: &[u8], size: u64) -> Wanted {
    let Some(spec) = std::str::from_utf8(header).ok().and_then(|text| text.trim().strip_prefix("bytes="))
    else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Wanted::Whole;
    }
    // A number beyond u64 lies beyond every image.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    let part = match (first, last) {
        ("", "") => return Wanted::Whole,
        ("", suffix) => size.saturating_sub(number(suffix))..size,
        (first, "") => number(first)..size,
        (first, last) if number(first) > number(last) => return Wanted::Whole,
        (first, last) => number(first)..number(last).saturating_add(1).min(size),
    };
    if part.start < part.end { Wanted::Part(part) } else { Wanted::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (header, wanted) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=5-", Wanted::Part(5..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=2-99999999999999999999999", Wanted::Part(2..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=3-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(range(header.as_bytes(), 10), wanted, "{header}");
        }
    }

    #[test]
    fn weak_tags_spare_a_read_but_allow_no_write() {
        assert!(none_match_hits(b"\"a\", W/\"b\"", b"\"b\""));
        assert!(!match_hits(b"\"a\", W/\"b\"", b"\"b\""));
        assert!(match_hits(b"\"a\" , \"b\"", b"\"b\""));
        assert!(none_match_hits(b"*", b"\"b\"") && match_hits(b"*", b"\"b\""));
        assert!(!none_match_hits(b"b", b"\"b\""));
    }
}
