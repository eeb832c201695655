//! How fast bytes may move.

use std::io;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::Io;

/// What was not used of the last moments may be used at once.
const BURST: Duration = Duration::from_millis(100);
/// How much moves at a time: a slow limit makes no long pauses, and the last piece, which nothing waits for, is small.
const PIECE: usize = 16 * 1024;

/// A limit that all connections of its clients share, whichever way their bytes go.
#[derive(Debug)]
pub struct RateLimit {
    bytes_per_second: NonZeroU64,
    /// When everything that has moved would have moved at the limit.
    paid_until: Mutex<Instant>,
}

impl RateLimit {
    /// A limit, in bytes a second.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, paid_until: Mutex::new(Instant::now()) }
    }

    /// Takes note that bytes have moved; answers when the next may.
    fn spend(&self, bytes: usize) -> Instant {
        #[allow(clippy::cast_precision_loss)] // far below what can be measured
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *paid_until = (*paid_until).max(now.checked_sub(BURST).unwrap_or(now)) + takes;
        *paid_until
    }
}

/// A connection under a limit.
pub(crate) struct Limited {
    io: Box<dyn Io>,
    limit: Arc<RateLimit>,
    until_read: Option<Pin<Box<Sleep>>>,
    until_write: Option<Pin<Box<Sleep>>>,
}

impl Limited {
    pub(crate) fn new(io: Box<dyn Io>, limit: Arc<RateLimit>) -> Self {
        Self { io, limit, until_read: None, until_write: None }
    }
}

/// Waits until a pause is over.
fn poll_pause(pause: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    if let Some(sleep) = pause {
        ready!(sleep.as_mut().poll(cx));
        *pause = None;
    }
    Poll::Ready(())
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(poll_pause(&mut this.until_read, cx));
        let mut piece = ReadBuf::new(into.initialize_unfilled_to(into.remaining().min(PIECE)));
        ready!(Pin::new(&mut this.io).poll_read(cx, &mut piece))?;
        let read = piece.filled().len();
        into.advance(read);
        let next = this.limit.spend(read);
        this.until_read = (next > Instant::now()).then(|| Box::pin(sleep_until(next)));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Limited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(poll_pause(&mut this.until_write, cx));
        let piece = &bytes[..bytes.len().min(PIECE)];
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, piece))?;
        let next = this.limit.spend(written);
        this.until_write = (next > Instant::now()).then(|| Box::pin(sleep_until(next)));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_share_one_limit_in_both_directions() {
        let limit = Arc::new(RateLimit::new(NonZeroU64::new(1_000_000).unwrap()));
        let begun = Instant::now();
        let connection = || async {
            let (near, mut far) = duplex(64 * 1024);
            let mut near = Limited::new(Box::new(near), Arc::clone(&limit));
            let other = tokio::spawn(async move {
                let mut taken = vec![0; 500_000];
                far.read_exact(&mut taken).await.unwrap();
                far.write_all(&taken).await.unwrap();
            });
            near.write_all(&vec![7; 500_000]).await.unwrap();
            let mut back = vec![0; 500_000];
            near.read_exact(&mut back).await.unwrap();
            other.await.unwrap();
        };
        tokio::join!(connection(), connection());
        let taken = begun.elapsed().as_secs_f64();
        assert!((1.8..2.2).contains(&taken), "2 MB at 1 MB/s took {taken} s");
    }
    #[tokio::test(start_paused = true)]
    async fn what_is_read_at_a_time_does_not_go_past_the_limit() {
        let limit = Arc::new(RateLimit::new(NonZeroU64::new(1_000_000).unwrap()));
        let begun = Instant::now();
        let connection = || async {
            // All of it is there at once, as from a peer nearby.
            let (near, mut far) = duplex(500_000);
            far.write_all(&vec![7; 500_000]).await.unwrap();
            let mut near = Limited::new(Box::new(near), Arc::clone(&limit));
            let mut taken = Vec::with_capacity(500_000);
            while taken.len() < 500_000 {
                near.read_buf(&mut taken).await.unwrap();
            }
        };
        tokio::join!(connection(), connection(), connection(), connection());
        let taken = begun.elapsed().as_secs_f64();
        assert!((1.8..2.1).contains(&taken), "2 MB at 1 MB/s took {taken} s");
    }
}
