//! Maintenance; on the Unix socket only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aar_model::wire::{RebuildReport, StorageReport, Sync};
use hyper::StatusCode;

use super::dispatch::carry_through;
use crate::answer::{self, Answer};
use crate::api::{Api, Call};
use crate::error::ApiError;
use crate::request::RequestBody;

/// How old an unused image is before it is removed, where the caller does not say.
const GRACE: Duration = Duration::from_secs(3600);

pub(super) async fn rebuild(api: Arc<Api>) -> Result<Answer, ApiError> {
    let begun = Instant::now();
    let found = carry_through(async move { Ok(api.parts.registry.rebuild().await?) }).await?;
    let report = RebuildReport {
        records: found.records as u64,
        changed: found.changed as u64,
        damaged: found.damaged as u64,
        elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    Ok(answer::json(StatusCode::OK, &Sync::new(report)))
}

pub(super) async fn collect_garbage(api: Arc<Api>, call: &Call<'_>) -> Result<Answer, ApiError> {
    let grace = call.query.read("grace")?.map_or(GRACE, Duration::from_secs);
    let dry_run = call.query.flag("dry-run")?.unwrap_or(false);
    let report =
        carry_through(async move { Ok(api.parts.registry.collect_garbage(grace, dry_run).await?) }).await?;
    Ok(answer::json(StatusCode::OK, &Sync::new(report)))
}

/// Ends where the caller goes away: nobody would read the report.
pub(super) async fn verify(api: &Api) -> Result<Answer, ApiError> {
    let report = api.parts.registry.verify().await?;
    Ok(answer::json(StatusCode::OK, &Sync::new(report)))
}

/// Ends where the caller goes away; another copy goes on from there. The body is a configuration with secrets.
pub(super) async fn copy_storage(api: &Api, body: RequestBody) -> Result<Answer, ApiError> {
    let (blobs, records) = (api.parts.open_storage)(body.text().await?).await?;
    let report = api.parts.registry.copy_to(blobs.as_ref(), records.as_ref()).await?;
    Ok(answer::json(StatusCode::OK, &Sync::new(report)))
}

/// Answers what was found, whatever it is: that the storage cannot be used is what the caller wants to know. Goes on where
/// the caller goes away, so that nothing is left in the storage.
pub(super) async fn check_storage(api: Arc<Api>) -> Result<Answer, ApiError> {
    let checks = carry_through(async move { Ok(api.parts.storage.check().await) }).await?;
    Ok(answer::json(StatusCode::OK, &Sync::new(StorageReport { checks })))
}
