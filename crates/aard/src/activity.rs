//! Whether anything happens on a connection.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection does: bytes that move, and requests that are being worked on.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    moved: AtomicBool,
    received: AtomicBool,
    requests: AtomicUsize,
}

/// A request that is being worked on.
pub(crate) struct Request(Arc<Activity>);

impl Activity {
    /// Notes that a request is being worked on, until what this answers is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> Request {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Request(Arc::clone(self))
    }

    /// Notes that nothing of a request has come yet.
    pub(crate) fn expect_head(&self) {
        self.received.store(false, Ordering::Relaxed);
    }

    /// Whether anything has come since the head of a request was last expected.
    pub(crate) fn head_has_begun(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether nothing has happened since this was last asked.
    pub(crate) fn was_idle(&self) -> bool {
        !self.moved.swap(false, Ordering::Relaxed) && self.requests.load(Ordering::Relaxed) == 0
    }

    fn note<T>(&self, polled: &Poll<Result<T>>) {
        if polled.is_ready() {
            self.moved.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.moved.store(true, Ordering::Relaxed);
    }
}

/// A stream whose activity is noted.
pub(crate) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.activity.received.store(true, Ordering::Relaxed);
        }
        self.activity.note(&polled);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.note(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.note(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
