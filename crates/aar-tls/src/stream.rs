use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use openssl::error::ErrorStack;
use openssl::ssl::{self, Ssl};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use crate::batch::Batch;
use crate::{Peer, TlsError};

/// What one TLS record carries at most.
const RECORD: usize = 16 * 1024;

/// A TLS connection over TCP.
///
/// What is written is sent at the latest when the stream is flushed. On HTTP/2, where every frame is flushed, the task that
/// flushes is woken instead, and what it has written is sent once it has nothing to add: it must read whenever it is woken,
/// before it writes. A write, flush or such a read that waits longer than
/// [`TimeLimits::stalled_write`](crate::TimeLimits) fails with [`io::ErrorKind::TimedOut`].
pub struct TlsStream {
    ssl: SslStream<Batch>,
    /// The beginning of the next record: the head of a message alone would cost a record of its own.
    record: Vec<u8>,
    flush: Flush,
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
        Ok(Self { ssl: stream, record: Vec::new(), flush: Flush::Done, peer, http2, close_sent: false })
    }

    /// Who is at the other end, if it has shown a certificate.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Whether HTTP/2 was agreed on. HTTP/1.1 else.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// How long the certificates are together that the client at the other end has shown, in bytes of DER.
    pub(crate) fn shown_certificates(&self) -> Result<usize, ErrorStack> {
        let ssl = self.ssl.ssl();
        let leaf = ssl.peer_certificate();
        let chain = ssl.peer_cert_chain().into_iter().flatten();
        leaf.as_deref().into_iter().chain(chain).map(|x509| Ok(x509.to_der()?.len())).sum()
    }

    /// Takes the next bytes, as many as fit into one record. A record that is full is encrypted.
    fn poll_write_record(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(RECORD - self.record.len());
        if count < RECORD && self.record.len() + count < RECORD {
            self.record.extend_from_slice(&bytes[..count]);
            return Poll::Ready(Ok(count));
        }
        ready!(self.ssl.get_mut().poll_room(cx))?;
        if self.record.is_empty() {
            return Pin::new(&mut self.ssl).poll_write(cx, &bytes[..count]);
        }
        self.record.extend_from_slice(&bytes[..count]);
        ready!(Pin::new(&mut self.ssl).poll_write(cx, &self.record))?;
        self.record.clear();
        Poll::Ready(Ok(count))
    }

    /// Whether there is something that was written and not sent.
    fn is_owed(&self) -> bool {
        !self.record.is_empty() || self.ssl.get_ref().is_owed()
    }

    /// Sends everything that was written.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.record.is_empty() {
            ready!(self.ssl.get_mut().poll_room(cx))?;
            ready!(Pin::new(&mut self.ssl).poll_write(cx, &self.record))?;
        }
        self.record = Vec::new();
        ready!(self.ssl.get_mut().poll_send(cx))?;
        self.flush = Flush::Done;
        Poll::Ready(Ok(()))
    }
}

/// What becomes of a flush on HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// Nothing was flushed, or something was written since.
    Done,
    /// What was flushed waits for the next turn of the task, which may write more.
    Asked,
    /// The turn has begun: unless it writes, what was flushed is sent.
    Due,
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.flush {
            Flush::Done => {}
            Flush::Asked => {
                this.flush = Flush::Due;
                cx.waker().wake_by_ref();
            }
            Flush::Due => {
                if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                    return Poll::Ready(Err(error));
                }
            }
        }
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
        this.flush = Flush::Done;
        let mut written = 0;
        for slice in slices {
            let mut rest = &**slice;
            while !rest.is_empty() {
                match this.poll_write_record(cx, rest) {
                    Poll::Ready(Ok(count)) => {
                        rest = &rest[count..];
                        written += count;
                    }
                    _ if written > 0 => return Poll::Ready(Ok(written)),
                    other => return other,
                }
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.http2 || this.flush == Flush::Due {
            return this.poll_send(cx);
        }
        // Where nothing is to be sent, waking would go round and round.
        if this.flush == Flush::Done && this.is_owed() {
            this.flush = Flush::Asked;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what was written, then says that there will be no more.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.close_sent {
            return Pin::new(this.ssl.get_mut()).poll_shutdown(cx);
        }
        ready!(this.poll_send(cx))?;
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
