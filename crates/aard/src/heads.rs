//! How long the head of a request may take.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::activity::Activity;

/// hyper's clock for heads, which it starts when it begins to wait for one: this one starts at the head's first byte, so
/// that a connection may stay open for longer between two requests.
#[derive(Debug)]
pub(crate) struct HeadTimer {
    activity: Arc<Activity>,
}

impl HeadTimer {
    pub(crate) fn new(activity: &Arc<Activity>) -> Self {
        Self { activity: Arc::clone(activity) }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, limit: Duration) -> Pin<Box<dyn Sleep>> {
        self.activity.expect_head();
        Box::pin(Head { activity: Arc::clone(&self.activity), limit, running: None })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

/// Ends when a head has taken too long. hyper asks each time that it has read and wants more.
struct Head {
    activity: Arc<Activity>,
    limit: Duration,
    running: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Sleep for Head {}

impl Future for Head {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.running.is_none() && self.activity.head_has_begun() {
            self.running = Some(Box::pin(tokio::time::sleep(self.limit)));
        }
        self.running.as_mut().map_or(Poll::Pending, |running| running.as_mut().poll(cx))
    }
}
