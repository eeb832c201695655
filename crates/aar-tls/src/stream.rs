use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use openssl::ssl::{self, Ssl};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use crate::batch::Batch;
use crate::{Peer, TlsError};

/// What one TLS record carries at most.
const RECORD: usize = 16 * 1024;

/// A TLS connection over TCP.
///
/// What is written is sent at the latest when the stream is flushed. A write or flush that waits longer than
/// [`TimeLimits::stalled_write`](crate::TimeLimits) fails with [`io::ErrorKind::TimedOut`].
pub struct TlsStream {
    ssl: SslStream<Batch>,
    peer: Option<Peer>,
    http2: bool,
    close_sent: bool,
}

impl TlsStream {
    pub(crate) async fn handshake(
        ssl: Ssl,
        transport: Batch,
        step: impl Fn(&mut SslStream<Batch>, &mut Context<'_>) -> Poll<Result<(), ssl::Error>>,
    ) -> Result<Self, TlsError> {
        let mut stream = SslStream::new(ssl, transport)?;
        let done = poll_fn(|cx| {
            let done = step(&mut stream, cx);
            // The peer answers only what it has got; after a failure that is an alert, sent if the socket takes it now.
            let sent = stream.get_mut().poll_send(cx);
            if !matches!(done, Poll::Ready(Err(_))) {
                ready!(sent)?;
            }
            done.map_err(TlsError::from)
        });
        done.await?;
        let peer = match stream.ssl().peer_certificate() {
            Some(x509) => Some(Peer::new(&x509, &x509.to_der()?)?),
            None => None,
        };
        let http2 = stream.ssl().selected_alpn_protocol() == Some(b"h2");
        Ok(Self { ssl: stream, peer, http2, close_sent: false })
    }

    /// Who is at the other end, if it has shown a certificate.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Whether HTTP/2 was agreed on. HTTP/1.1 else.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Writes one record of the next bytes.
    fn poll_write_record(&mut self, cx: &mut Context<'_>, rest: &Slices<'_>) -> Poll<io::Result<usize>> {
        ready!(self.ssl.get_mut().poll_room(cx))?;
        SCRATCH.with_borrow_mut(|scratch| Pin::new(&mut self.ssl).poll_write(cx, rest.record(scratch)))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        while into.remaining() > 0 {
            let filled = into.filled().len();
            match Pin::new(&mut this.ssl).poll_read(cx, into) {
                Poll::Ready(Ok(())) if into.filled().len() > filled => {}
                // What was read counts first; the end, an error or the lack of data will be found again.
                _ if filled > before => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    /// Where small slices are put together to one record.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(RECORD));
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut rest = Slices::new(slices);
        let mut written = 0;
        while !rest.is_empty() {
            match this.poll_write_record(cx, &rest) {
                Poll::Ready(Ok(n)) => {
                    rest.advance(n);
                    written += n;
                }
                _ if written > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().ssl.get_mut().poll_send(cx)
    }

    /// Sends what was written, then says that there will be no more.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.close_sent {
            return Pin::new(this.ssl.get_mut()).poll_shutdown(cx);
        }
        // Called a second time, OpenSSL would wait for the peer to say the same.
        this.close_sent = true;
        Pin::new(&mut this.ssl).poll_shutdown(cx)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("peer", &self.peer)
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}

/// What is left of the slices of a vectored write.
struct Slices<'a> {
    first: &'a [u8],
    others: &'a [IoSlice<'a>],
}

impl<'a> Slices<'a> {
    fn new(slices: &'a [IoSlice<'a>]) -> Self {
        let mut this = Self { first: &[], others: slices };
        this.advance(0);
        this
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The bytes of the next record: from the first slice as it is where it fills a record or is the last, else gathered
    /// in `scratch`, because a record for the head of a message alone would cost more than a copy.
    fn record<'s>(&self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        if self.first.len() >= RECORD || self.others.is_empty() {
            return &self.first[..self.first.len().min(RECORD)];
        }
        scratch.clear();
        for slice in std::iter::once(self.first).chain(self.others.iter().map(|slice| &**slice)) {
            let room = RECORD - scratch.len();
            scratch.extend_from_slice(&slice[..slice.len().min(room)]);
            if scratch.len() == RECORD {
                break;
            }
        }
        scratch
    }

    fn advance(&mut self, mut count: usize) {
        while let [next, others @ ..] = self.others
            && count >= self.first.len()
        {
            count -= self.first.len();
            self.first = next;
            self.others = others;
        }
        self.first = &self.first[count..];
    }
}
