use std::time::Duration;

/// How long a peer may keep a connection waiting.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimits {
    /// From the accepted or connected socket to the end of the handshake; by default 10 s.
    pub handshake: Duration,
    /// How long a write may go without the peer taking a byte; by default 60 s.
    pub stalled_write: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(10), stalled_write: Duration::from_secs(60) }
    }
}
