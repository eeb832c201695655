use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// How much this machine's clock is ahead of the store's, as the latest answer tells.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<Option<i64>>>);

impl Clock {
    pub(crate) fn note(&self, date: &str) {
        if let Some(seconds) = seconds_ahead(date) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seconds);
        }
    }

    pub(crate) fn seconds_ahead(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much this machine's clock is ahead of that of whoever sent this `Date` just now.
pub(crate) fn seconds_ahead(date: &str) -> Option<i64> {
    let there = rfc2822::parse(date).ok()?.timestamp();
    Some(Timestamp::now().as_second() - there.as_second())
}
