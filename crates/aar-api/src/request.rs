//! What a request brings: headers, query, body.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aar_store::{BodyError, BodyStream, Cause};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::HeaderMap;
use hyper::header::{AsHeaderName, EXPECT, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::error::ApiError;
use crate::metrics::Received;

/// How long a body may pause.
const BODY_IDLE: Duration = Duration::from_secs(60);

/// The largest body that is read into memory, in bytes.
const WHOLE_LIMIT: usize = 1 << 20;

/// How long a body that nobody wants is read on, so that a sender which does not listen while it sends gets its answer:
/// in all, and from one piece to the next.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_IDLE: Duration = Duration::from_secs(5);

/// A request's only value of a header.
///
/// # Errors
/// It comes more than once: whichever counted, an attacker could have meant the other.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: impl AsHeaderName + Copy + Into<Cow<'a, str>>,
) -> Result<Option<&'a HeaderValue>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(ApiError::bad_request(format!("the header {} comes more than once", name.into()))),
    }
}

/// A header's only value as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, ApiError> {
    let Some(value) = single(headers, name)? else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some).map_err(|_| ApiError::bad_request(format!("the header {name} is not UTF-8")))
}

/// A standard header's only value.
pub(crate) fn standard<'a>(
    headers: &'a HeaderMap,
    name: &'static HeaderName,
) -> Result<Option<&'a HeaderValue>, ApiError> {
    single(headers, name.as_str())
}

/// The parameters of a query.
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads a query; `known` are the parameters that the path takes.
    ///
    /// # Errors
    /// A parameter is not known, or comes twice.
    pub(crate) fn parse(query: Option<&'a str>, known: &[&str]) -> Result<Self, ApiError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_ref()) {
                let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                return Err(ApiError::bad_request(format!(
                    "the parameter `{}` is not known here; known: {known}",
                    name.chars().take(64).collect::<String>()
                )));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiError::bad_request(format!("the parameter `{name}` comes more than once")));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_ref())
    }

    /// The value of a parameter, read as what it stands for.
    pub(crate) fn read<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Some(value) = self.get(name) else { return Ok(None) };
        value
            .parse()
            .map(Some)
            .map_err(|error| ApiError::bad_request(format!("the parameter `{name}`: {error}")))
    }

    /// The value of a parameter that is on or off: `1`, `true`, `0`, `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(_) => Err(ApiError::bad_request(format!("the parameter `{name}` is `true` or `false`"))),
        }
    }
}

/// The body of a request, with a limit on its pauses. Where nobody reads it to its end it is read on for a while and
/// thrown away when this is dropped, unless the sender waits to be asked for it.
pub(crate) struct RequestBody {
    /// None once it has ended.
    body: Option<UnsyncBoxBody<Bytes, Cause>>,
    /// Made when nothing comes for the first time, armed while nothing comes.
    idle: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// The sender keeps the body back until it is told to go on, which reading does.
    kept_back: bool,
    received: Received,
}

impl RequestBody {
    pub(crate) fn new<B>(body: B, headers: &HeaderMap, received: Received) -> Self
    where
        B: Body<Data = Bytes, Error: Into<Cause>> + Send + 'static,
    {
        let body = (!body.is_end_stream()).then(|| body.map_err(Into::into).boxed_unsync());
        let kept_back =
            headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self { body, idle: None, waiting: false, kept_back, received }
    }

    /// The body as the registry takes an image.
    pub(crate) fn into_stream(self) -> BodyStream {
        Box::pin(self)
    }

    /// Bytes that the sender announced.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.as_ref().map_or(Some(0), |body| body.size_hint().exact())
    }

    /// Reads a JSON body; an empty one is the default.
    pub(crate) async fn json<T: DeserializeOwned + Default>(self) -> Result<T, ApiError> {
        let bytes = self.whole("1 MiB for JSON").await?;
        if bytes.is_empty() {
            return Ok(T::default());
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::bad_request(format!("the body's JSON: {error}")))
    }

    /// Reads a body of text. Errors show nothing of it.
    pub(crate) async fn text(self) -> Result<String, ApiError> {
        let bytes = self.whole("1 MiB for text").await?;
        String::from_utf8(bytes.into()).map_err(|_| ApiError::bad_request("the body is not UTF-8"))
    }

    async fn whole(mut self, limit: &str) -> Result<BytesMut, ApiError> {
        let too_large = || ApiError::too_large(limit);
        if self.announced().is_some_and(|size| size > WHOLE_LIMIT as u64) {
            return Err(too_large());
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.next().await {
            let chunk = chunk.map_err(aar_store::RegistryError::from)?;
            if bytes.len() + chunk.len() > WHOLE_LIMIT {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            this.kept_back = false;
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => {
                    this.waiting = false;
                    match frame {
                        // Trailers say nothing here.
                        Some(Ok(frame)) => {
                            if let Ok(data) = frame.into_data() {
                                this.received.add(data.len());
                                return Poll::Ready(Some(Ok(data)));
                            }
                        }
                        Some(Err(error)) => {
                            this.body = None;
                            return Poll::Ready(Some(Err(BodyError::Cut(error))));
                        }
                        None => this.body = None,
                    }
                }
                Poll::Pending => {
                    let idle = this.idle.get_or_insert_with(|| Box::pin(sleep(BODY_IDLE)));
                    if !this.waiting {
                        this.waiting = true;
                        idle.as_mut().reset(Instant::now() + BODY_IDLE);
                    }
                    ready!(idle.as_mut().poll(cx));
                    this.body = None;
                    return Poll::Ready(Some(Err(BodyError::Idle(BODY_IDLE.as_secs()))));
                }
            }
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !self.kept_back
        {
            // Ends by itself: after LINGER, with the body, or with the connection.
            tokio::spawn(timeout(LINGER, discard(body)));
        }
    }
}

async fn discard(mut body: UnsyncBoxBody<Bytes, Cause>) {
    while let Ok(Some(Ok(_))) = timeout(LINGER_IDLE, body.frame()).await {}
}
