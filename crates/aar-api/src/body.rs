//! Bodies of answers: bytes that are there, an image that is read while it is sent, or what becomes of the connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aar_store::{ByteStream, Error};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::events::Listener;
use crate::metrics::Sent;

/// The body of an answer.
pub struct ResponseBody(Kind);

enum Kind {
    Bytes(Bytes),
    Listener(Option<Box<Listener>>),
    Image { bytes: ByteStream, remaining: u64, sent: Sent },
}

impl ResponseBody {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self(Kind::Bytes(Bytes::new()))
    }

    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }

    /// Nothing: the connection becomes a WebSocket.
    pub(crate) fn listener(listener: Listener) -> Self {
        Self(Kind::Listener(Some(Box::new(listener))))
    }

    /// The listener that the connection is for once this is answered, where it is one.
    pub fn take_listener(&mut self) -> Option<Box<Listener>> {
        match &mut self.0 {
            Kind::Listener(listener) => listener.take(),
            Kind::Bytes(_) | Kind::Image { .. } => None,
        }
    }

    /// `length` bytes that `bytes` yields.
    pub(crate) fn image(bytes: ByteStream, length: u64, sent: Sent) -> Self {
        Self(Kind::Image { bytes, remaining: length, sent })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(match &mut self.0 {
            Kind::Listener(_) => None,
            Kind::Bytes(bytes) if bytes.is_empty() => None,
            Kind::Bytes(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Kind::Image { bytes, remaining, sent } => match ready!(bytes.as_mut().poll_next(cx)) {
                None => None,
                Some(Ok(chunk)) => {
                    *remaining -= chunk.len() as u64;
                    sent.add(chunk.len());
                    Some(Ok(Frame::data(chunk)))
                }
                Some(Err(error)) => {
                    sent.fail(&error);
                    Some(Err(error))
                }
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Listener(_) => true,
            Kind::Bytes(bytes) => bytes.is_empty(),
            Kind::Image { remaining, .. } => *remaining == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Kind::Listener(_) => 0,
            Kind::Bytes(bytes) => bytes.len() as u64,
            Kind::Image { remaining, .. } => *remaining,
        })
    }
}
