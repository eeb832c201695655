//! The streams of an HTTP/2 connection, run in the task of the connection.
//!
//! In tasks of their own they would be on another thread than the connection more often than not: images would then cross
//! from one core to another, and both threads wait for each other's locks, which halves the rate. As it is, they end with
//! the connection, too.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use hyper::rt::Executor;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How often connection and streams wake each other before other connections get their turn.
const TURNS: usize = 16;

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
    signal: Arc<Signal>,
    waker: Waker,
}

impl<C> Streams<C> {
    /// Makes the connection, which is to use the executor that it is made with.
    pub(crate) fn new(connect: impl FnOnce(StreamExecutor) -> C) -> Self {
        let (sender, opened) = unbounded_channel();
        let signal = Arc::new(Signal::default());
        Self {
            connection: Box::pin(connect(StreamExecutor(sender))),
            opened,
            running: FuturesUnordered::new(),
            waker: Arc::clone(&signal).into(),
            signal,
        }
    }

    /// The connection.
    pub(crate) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }
}

impl<C: Future> Streams<C> {
    fn turn(&mut self) -> Poll<C::Output> {
        let cx = &mut Context::from_waker(&self.waker);
        while let Poll::Ready(Some(stream)) = self.opened.poll_recv(cx) {
            self.running.push(stream);
        }
        // What the streams have to say goes out with the connection's turn.
        while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {}
        self.connection.as_mut().poll(cx)
    }
}

impl<C: Future> Future for Streams<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        this.signal.task.register(cx.waker());
        for _ in 0..TURNS {
            this.signal.begin();
            if let Poll::Ready(ended) = this.turn() {
                return Poll::Ready(ended);
            }
            if this.signal.is_over() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Whether there is something to do for a connection or its streams.
///
/// They wake each other all the time. Passed on to the runtime while the task is at work, each time would rouse another
/// thread, to look for a task that this one goes on with itself.
#[derive(Default)]
struct Signal {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Signal {
    const ASLEEP: u8 = 0;
    const AT_WORK: u8 = 1;
    const WOKEN: u8 = 2;

    /// Not merely stored: whoever woke has something to show, and this is where it is seen.
    fn begin(&self) {
        self.state.swap(Self::AT_WORK, Ordering::AcqRel);
    }

    /// Whether nobody was woken since the turn began. From now on the task is.
    fn is_over(&self) -> bool {
        self.state.compare_exchange(Self::AT_WORK, Self::ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(Self::WOKEN, Ordering::AcqRel) == Self::ASLEEP {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A task that only counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Woken {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls a connection that wakes itself when it is polled for the first `wakes` times, and keeps its waker. Answers
    /// how often it was polled.
    fn poll_connection(wakes: usize, task: &Arc<Woken>, kept: &mut Option<Waker>) -> usize {
        let mut polled = 0;
        let mut streams = Streams::new(|_executor| {
            poll_fn(|cx| {
                polled += 1;
                if polled <= wakes {
                    cx.waker().wake_by_ref();
                }
                *kept = Some(cx.waker().clone());
                Poll::<()>::Pending
            })
        });
        let task = Arc::clone(task).into();
        assert!(Pin::new(&mut streams).poll(&mut Context::from_waker(&task)).is_pending());
        drop(streams);
        polled
    }

    #[test]
    fn what_is_woken_at_work_goes_on_without_the_runtime() {
        let (task, mut kept) = (Arc::new(Woken::default()), None);
        assert_eq!(poll_connection(3, &task, &mut kept), 4);
        assert_eq!(task.count(), 0);
    }

    #[test]
    fn a_connection_that_never_rests_lets_others_work() {
        let (task, mut kept) = (Arc::new(Woken::default()), None);
        assert_eq!(poll_connection(usize::MAX, &task, &mut kept), TURNS);
        assert_eq!(task.count(), 1);
    }

    #[test]
    fn a_connection_at_rest_is_woken_through_the_runtime() {
        let (task, mut kept) = (Arc::new(Woken::default()), None);
        poll_connection(0, &task, &mut kept);
        let waker = kept.unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(task.count(), 1);
    }
}
