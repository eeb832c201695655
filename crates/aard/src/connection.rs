//! One connection: HTTP over a stream, from the first request to the last.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aar_api::{Api, Caller};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::activity::{Activity, Watched};
use crate::heads::HeadTimer;
use crate::shutdown::Place;
use crate::streams::Streams;

/// How long the head of a request may take on HTTP/1.1, from its first byte on.
const HEAD: Duration = Duration::from_secs(10);

/// How often a connection is looked after; one on which nothing happened between two looks is closed, so that a client may
/// be silent for this long between two requests.
const LOOK: Duration = Duration::from_secs(60);

/// How long a connection that was told to end may take.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes.
const HEAD_BYTES: usize = 64 << 10;

/// What a sender may have under way on HTTP/2: enough for 500 Mbit/s over 15 ms, and a bound for what is held here, which is
/// up to twice as much. HTTP/1.1 is only bound by what the kernel has under way.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
const FRAME_BYTES: u32 = 256 << 10;
const SEND_BUFFER_BYTES: usize = 256 << 10;
const STREAMS: u32 = 32;

/// Serves HTTP/1.1, and a WebSocket where the connection becomes one.
pub(crate) async fn serve_http1(stream: impl Stream, api: Arc<Api>, caller: Caller, mut place: Place) {
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let listener = Mutex::new(None);
    let serve = async |request| {
        let mut answer = answer(&api, &caller, &activity, request).await?;
        if let Some(here) = answer.body_mut().take_listener() {
            *listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(here);
        }
        Ok::<_, Infallible>(answer)
    };
    let connection = http1::Builder::new()
        .timer(HeadTimer::new(&activity))
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(io, service_fn(serve))
        .with_upgrades();
    look_after(connection, http1::UpgradeableConnection::graceful_shutdown, &activity, &mut place).await;
    if let Some(listener) = listener.into_inner().unwrap_or_else(PoisonError::into_inner) {
        listener.serve(place.stopped()).await;
    }
}

/// Serves HTTP/2.
pub(crate) async fn serve_http2(stream: impl Stream, api: Arc<Api>, caller: Caller, mut place: Place) {
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request| {
            let (api, caller, activity) = (Arc::clone(&api), caller.clone(), Arc::clone(&activity));
            async move { answer(&api, &caller, &activity, request).await }
        })
    };
    let connection = Streams::new(|executor| {
        http2::Builder::new(executor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .serve_connection(io, service)
    });
    let end = |mut streams: Pin<&mut Streams<_>>| http2::Connection::graceful_shutdown(streams.connection());
    look_after(connection, end, &activity, &mut place).await;
}

/// A stream that HTTP is served on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

async fn answer(
    api: &Arc<Api>,
    caller: &Caller,
    activity: &Arc<Activity>,
    request: Request<Incoming>,
) -> Result<hyper::Response<aar_api::ResponseBody>, Infallible> {
    let _working = activity.request();
    Ok(Arc::clone(api).handle(caller, request).await)
}

/// Drives a connection; tells it to end when the daemon stops or nothing happens any more.
async fn look_after<C>(connection: C, end: impl Fn(Pin<&mut C>), activity: &Activity, place: &mut Place)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut looks = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
    loop {
        tokio::select! {
            ended = &mut connection => return log_end(ended),
            () = place.stopped() => {
                end(connection.as_mut());
                // The daemon's own patience bounds this.
                return log_end(connection.await);
            }
            _ = looks.tick() => {
                if activity.was_idle() {
                    end(connection.as_mut());
                    let ended = tokio::time::timeout(LAST_WORDS, connection).await;
                    return ended.map_or((), log_end);
                }
            }
        }
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Places;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_served_without_waiting_for_a_timer() {
        let mut place = Places::new().take().await;
        // Timers are rounded up to milliseconds: in the middle of one, even one that is due is waited for.
        tokio::time::advance(Duration::from_micros(500)).await;
        let begun = Instant::now();
        look_after(async { Ok(()) }, |_| {}, &Activity::default(), &mut place).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
