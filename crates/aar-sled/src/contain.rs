use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why sled could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error("sled panicked: {0}")]
    Panic(String),
    #[error("entry {0:02x?} is not one of an index")]
    Entry(Vec<u8>),
}

/// Runs `action`. sled panics on files that are damaged in ways it does not expect; here that is an error like others.
pub(crate) fn contain<T>(action: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|payload| {
        let message = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| payload.downcast_ref::<String>().cloned());
        Err(Failure::Panic(message.unwrap_or_else(|| "without a message".into())))
    })
}
