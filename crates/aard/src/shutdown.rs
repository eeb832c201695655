//! Stopping: everybody hears of it, and the last one to end is waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Connections that may be open at once. Each that has not shown a request is closed within seconds, so that more than
/// this cannot be held by those who only connect.
const CONNECTIONS: u32 = 10_000;

/// The place of one connection, and its ear for the end.
pub(crate) struct Place {
    stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Returns when the daemon stops.
    pub(crate) async fn stopped(&mut self) {
        // An error says that the daemon is gone already.
        let _ = self.stop.wait_for(|stopped| *stopped).await;
    }
}

/// Hands out places for connections.
#[derive(Clone)]
pub(crate) struct Places {
    stop: watch::Sender<bool>,
    permits: Arc<Semaphore>,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self { stop: watch::Sender::new(false), permits: Arc::new(Semaphore::new(CONNECTIONS as usize)) }
    }

    /// Waits for a place.
    pub(crate) async fn take(&self) -> Place {
        // The semaphore is never closed.
        #[allow(clippy::expect_used)]
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is open");
        Place { stop: self.stop.subscribe(), _permit: permit }
    }

    /// Tells every connection to end after what it is doing, and waits for them, for `patience` at most. Answers how many
    /// did not make it.
    pub(crate) async fn stop(&self, patience: Duration) -> usize {
        self.stop.send_replace(true);
        let all = tokio::time::timeout(patience, self.permits.acquire_many(CONNECTIONS)).await;
        if all.is_ok() { 0 } else { CONNECTIONS as usize - self.permits.available_permits() }
    }
}
