//! What is done from time to time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aar_model::wire::StorageOutcome;
use aar_s3::S3Store;
use aar_store::{Blobs as _, Registry, StorageCheck, Trust};

use crate::daemon::log_reconciled;

/// How often the collector looks for images that nothing holds, and for how long such an image is left alone.
const COLLECT: Duration = Duration::from_secs(24 * 3600);
const GRACE: Duration = Duration::from_secs(3600);

/// How often it is written down when certificates were last seen.
const SAVE_SEEN: Duration = Duration::from_secs(300);

/// How often a bucket is searched for what uploads have left: other processes may have been cut off meanwhile.
const SWEEP: Duration = Duration::from_secs(24 * 3600);

/// How often uploads are looked for that nobody goes on with.
const EXPIRE: Duration = Duration::from_secs(3600);

/// How long after a failure the storage is tried again, at first and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Tries to reach a storage that was out of reach at the start, until it answers.
pub(crate) async fn recover(registry: &Registry) {
    let mut pause = FIRST_RETRY;
    while registry.is_degraded() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_RETRY);
        match registry.recover().await {
            Ok(found) => log_reconciled(found),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                retry_s = pause.as_secs(),
                "the storage still cannot be used"
            ),
        }
    }
}

/// Tries the storage, and again once it has recovered, and says what has to be mended. That it is out of reach is told
/// elsewhere.
pub(crate) async fn check(storage: Arc<dyn StorageCheck>, registry: Arc<Registry>) {
    let begins_degraded = registry.is_degraded();
    log_findings(storage.as_ref()).await;
    if begins_degraded {
        while registry.is_degraded() {
            tokio::time::sleep(FIRST_RETRY).await;
        }
        log_findings(storage.as_ref()).await;
    }
}

async fn log_findings(storage: &dyn StorageCheck) {
    let findings = storage.check().await;
    let failed = findings.iter().filter(|found| found.outcome == StorageOutcome::Failed).count();
    for found in findings {
        if found.outcome == StorageOutcome::Failed && found.advice.is_some() {
            tracing::error!(
                check = found.check,
                resource = found.resource,
                problem = found.detail,
                to_do = found.advice,
                "the storage does not work as it should"
            );
        }
    }
    tracing::info!(failed, "the storage was tried");
}

/// Aborts what uploads have left in a bucket, daily, for as long as it is polled. The start of the registry does so, too.
pub(crate) async fn sweep(bucket: S3Store) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match bucket.sweep_uploads().await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "removed what unfinished uploads had left"),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot look for what unfinished uploads have left"
            ),
        }
    }
}

/// Runs the collector, at the start and daily, for as long as it is polled.
pub(crate) async fn collect(registry: &Registry) {
    let mut ticks = tokio::time::interval(COLLECT);
    loop {
        ticks.tick().await;
        match registry.collect_garbage(GRACE, false).await {
            Ok(report) if report.removed.is_empty() => {}
            Ok(report) => {
                tracing::info!(
                    images = report.removed.len(),
                    bytes = report.bytes,
                    "removed images that nothing holds"
                );
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for images that nothing holds"
                );
            }
        }
    }
}

/// Removes uploads that were left unfinished, at the start and hourly, for as long as it is polled.
pub(crate) async fn expire_uploads(registry: &Registry) {
    let mut ticks = tokio::time::interval(EXPIRE);
    loop {
        ticks.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match registry.expire_uploads(i64::try_from(now).unwrap_or(i64::MAX)).await {
            Ok(0) => {}
            Ok(expired) => tracing::info!(expired, "removed uploads that have expired"),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot remove uploads that have expired"
            ),
        }
    }
}

/// Writes down when certificates were last seen, for as long as it is polled.
pub(crate) async fn save_seen(trust: Arc<dyn Trust>) {
    let mut ticks = tokio::time::interval(SAVE_SEEN);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = trust.save_seen().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot write down when certificates were last seen"
            );
        }
    }
}
