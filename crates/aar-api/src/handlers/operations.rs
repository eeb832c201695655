//! Operations: the list, one, and waiting for one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aar_model::wire::{API_PREFIX, Operation, Sync};
use hyper::StatusCode;

use crate::answer::{self, Answer};
use crate::api::{Api, Call};
use crate::error::ApiError;

/// The longest wait for an operation: a caller that wants more asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

pub(super) fn list(api: &Api, call: &Call<'_>) -> Result<Answer, ApiError> {
    let operations = api.operations.list();
    let total = operations.len();
    if !call.query.flag("recursion")?.unwrap_or(false) {
        let urls: Vec<_> = operations.iter().map(|o| format!("{API_PREFIX}/operations/{}", o.id)).collect();
        return Ok(answer::json(StatusCode::OK, &Sync::collection(urls, total)));
    }
    let mut by_status = BTreeMap::<String, Vec<&Operation>>::new();
    for operation in &operations {
        by_status.entry(operation.status.to_lowercase()).or_default().push(operation);
    }
    Ok(answer::json(StatusCode::OK, &Sync::collection(by_status, total)))
}

pub(super) async fn show(api: &Api, id: &str) -> Result<Answer, ApiError> {
    answer_one(api.operations.wait(id, None).await)
}

pub(super) async fn wait(api: &Api, call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    // Negative, as AMS's clients send it, is without end.
    let seconds = call.query.read::<i64>("timeout")?.and_then(|seconds| u64::try_from(seconds).ok());
    let patience = seconds.map_or(LONGEST_WAIT, Duration::from_secs).min(LONGEST_WAIT);
    answer_one(api.operations.wait(id, Some(patience)).await)
}

fn answer_one(operation: Option<Arc<Operation>>) -> Result<Answer, ApiError> {
    let operation = operation.ok_or_else(|| {
        ApiError::not_found("there is no such operation; those that ended a while ago are forgotten")
    })?;
    Ok(answer::json(StatusCode::OK, &Sync::new(operation.as_ref())))
}
