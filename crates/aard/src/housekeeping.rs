//! What is done from time to time.

use std::sync::Arc;
use std::time::Duration;

use aar_store::{Registry, Trust};

/// How often the collector looks for images that nothing holds, and for how long such an image is left alone.
const COLLECT: Duration = Duration::from_secs(24 * 3600);
const GRACE: Duration = Duration::from_secs(3600);

/// How often it is written down when certificates were last seen.
const SAVE_SEEN: Duration = Duration::from_secs(300);

/// Runs the collector, at the start and daily, for as long as it is polled.
pub(crate) async fn collect(registry: Arc<Registry>) {
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
