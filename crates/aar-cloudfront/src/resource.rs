//! The URL of an object: what clients request is, byte for byte, what the policy names.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use url::{Position, Url};

/// All but what JavaScript's `encodeURIComponent` leaves alone: no client, proxy or bucket has its own reading of the rest.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The URL of all keys that begin with `prefix`; ends in `/`.
pub(crate) fn base(base_url: &Url, prefix: &str) -> String {
    let server = &base_url[Position::BeforeHost..Position::BeforePath];
    let mut base = format!("{}://{server}", base_url.scheme());
    for part in base_url.path().trim_end_matches('/').split('/').skip(1) {
        // Some of it is encoded already, in one way or another.
        push(&mut base, &percent_decode_str(part).collect::<Vec<_>>());
    }
    for part in prefix.split_terminator('/') {
        push(&mut base, part.as_bytes());
    }
    base.push('/');
    base
}

fn push(base: &mut String, part: &[u8]) {
    base.push('/');
    base.extend(percent_encode(part, ESCAPED));
}
