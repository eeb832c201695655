//! The socket under TLS, with a buffer that turns many small writes into few system calls.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest TLS record: 16 KiB, its header, and what encryption adds.
const MAX_RECORD: usize = 16 * 1024 + 64;
/// What is sent by one system call, in bytes: more of it would not stay in the processor's nearest cache until it is copied.
const SENT: usize = 2 * MAX_RECORD;
/// Up to here a write is taken for a message of the handshake or a small answer, not for the beginning of much.
const SMALL: usize = 4 * 1024;

/// A TCP socket that gathers what is written. What is read goes past it: OpenSSL, which reads ahead, fetches a record or
/// more at a time and decrypts it in its own buffer.
///
/// Writing never blocks, so that OpenSSL never has to be called again with the very bytes of a refused write: whoever
/// writes waits for [`Batch::poll_room`] first and sends with [`Batch::poll_send`] afterwards. The buffer exists only while
/// there is something in it, which keeps idle connections small.
pub(crate) struct Batch {
    socket: TcpStream,
    outgoing: Vec<u8>,
    /// How much of `outgoing` the socket has taken.
    sent: usize,
    stall: Stall,
}

impl Batch {
    pub(crate) fn new(socket: TcpStream, stalled_write: Duration) -> Self {
        let stall = Stall { limit: stalled_write, since: None, timer: None };
        Self { socket, outgoing: Vec::new(), sent: 0, stall }
    }

    /// The first byte that the peer sent; it is yet to be read.
    pub(crate) fn poll_first_byte(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u8>> {
        let mut first = [0];
        match ready!(self.socket.poll_peek(cx, &mut ReadBuf::new(&mut first)))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(first[0])),
        }
    }

    /// Waits until one more record can be written.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.len() + MAX_RECORD <= SENT { Poll::Ready(Ok(())) } else { self.poll_drain(cx) }
    }

    /// Waits until the socket has taken everything that was written.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        self.forget_sent();
        Poll::Ready(Ok(()))
    }

    /// Whether there is something that the socket has not taken.
    pub(crate) fn is_owed(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.outgoing.get(self.sent..) {
            match Pin::new(&mut self.socket).poll_write(cx, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(n) => {
                    self.sent += n;
                    self.stall.since = None;
                }
                Poll::Pending => return self.stall.poll(cx),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, and `bytes` after it, as far as the socket takes it at once. Answers how many of `bytes` it took. A
    /// failure will be met again by whoever writes next.
    fn try_send_with(&mut self, bytes: &[u8]) -> usize {
        let waiting = &self.outgoing[self.sent..];
        let Ok(count) = self.socket.try_write_vectored(&[IoSlice::new(waiting), IoSlice::new(bytes)]) else {
            return 0;
        };
        self.stall.since = None;
        let Some(taken) = count.checked_sub(waiting.len()) else {
            self.sent += count;
            return 0;
        };
        self.outgoing.clear();
        self.sent = 0;
        taken
    }

    fn forget_sent(&mut self) {
        self.outgoing = Vec::new();
        self.sent = 0;
    }
}

impl AsyncRead for Batch {
    /// The end of the stream is an error: a peer says goodbye before it, and OpenSSL does not read on after that.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.get_mut().socket).poll_read(cx, into))?;
        if into.filled().len() == before {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Batch {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut rest = bytes;
        if this.is_owed() && this.outgoing.len() + bytes.len() + MAX_RECORD > SENT {
            // The last record of a batch goes out with those before it, and is not copied.
            rest = &bytes[this.try_send_with(bytes)..];
        }
        if rest.len() > SMALL && this.outgoing.is_empty() {
            this.outgoing.reserve_exact(SENT);
        }
        this.outgoing.extend_from_slice(rest);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Sends what the socket takes at once, without waiting: OpenSSL flushes at the end of its own messages, also of those
    /// that a read gives rise to, and must not take the place of a writer that waits.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(rest @ [_, ..]) = this.outgoing.get(this.sent..)
            && let Ok(n) = this.socket.try_write(rest)
        {
            this.sent += n;
            this.stall.since = None;
            if this.sent == this.outgoing.len() {
                this.forget_sent();
            }
        }
        // A failure will be met again by whoever writes next.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

/// Watches for a peer that does not take what is sent to it.
struct Stall {
    limit: Duration,
    /// When the socket began to refuse bytes.
    since: Option<Instant>,
    /// Set for some time not after the limit is reached, and set anew when it fires too early: a busy connection is refused
    /// thousands of times a second, and starting a timer each time would cost more than the writes.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Waits for the limit, which is an error.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
