//! The streams of an HTTP/2 connection, run in the task of the connection.
//!
//! In tasks of their own they would be on another thread than the connection more often than not: images would then cross
//! from one core to another, and both threads wait for each other's locks, which halves the rate. As it is, they end with
//! the connection, too.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the streams that a connection opens; hyper bounds their number.
#[derive(Clone)]
pub(crate) struct StreamExecutor(UnboundedSender<Stream>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        // Once the connection has ended there is nobody left to run it for.
        let _ = self.0.send(Box::pin(stream));
    }
}

/// A connection with its streams, as one future.
pub(crate) struct Streams<C> {
    connection: Pin<Box<C>>,
    opened: UnboundedReceiver<Stream>,
    running: FuturesUnordered<Stream>,
}

impl<C> Streams<C> {
    /// Makes the connection, which is to use the executor that it is made with.
    pub(crate) fn new(connect: impl FnOnce(StreamExecutor) -> C) -> Self {
        let (sender, opened) = unbounded_channel();
        Self {
            connection: Box::pin(connect(StreamExecutor(sender))),
            opened,
            running: FuturesUnordered::new(),
        }
    }

    /// The connection.
    pub(crate) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }
}

impl<C: Future> Future for Streams<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        loop {
            // What the streams have to say goes out with the connection's turn.
            while let Poll::Ready(Some(())) = this.running.poll_next_unpin(cx) {}
            if let Poll::Ready(ended) = this.connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            let Poll::Ready(Some(stream)) = this.opened.poll_recv(cx) else { return Poll::Pending };
            this.running.push(stream);
        }
    }
}
