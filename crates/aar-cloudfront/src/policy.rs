//! What is signed, and until when it holds.

use std::time::Duration;

/// The policy that CloudFront itself makes of a URL and its `Expires`, byte for byte.
pub(crate) fn canned(resource: &str, expires: u64) -> String {
    format!(
        r#"{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#
    )
}

/// Base64 with CloudFront's letters for those that mean something in a URL.
pub(crate) fn encode(signature: &[u8]) -> String {
    openssl::base64::encode_block(signature).replace('+', "-").replace('=', "_").replace('/', "~")
}

/// When a URL expires that somebody asks for at `now`, both in time since 1970, the expiry in seconds: at least `duration`
/// later, and the same for all who ask within one step.
pub(crate) fn expiry(now: Duration, duration: Duration) -> u64 {
    // CloudFront counts in whole seconds, so that a quarter of less than 4 s is none.
    let step = (duration.as_secs() / 4).max(1);
    let earliest = now.saturating_add(duration);
    let earliest = earliest.as_secs() + u64::from(earliest.subsec_nanos() > 0);
    earliest.div_ceil(step) * step
}
