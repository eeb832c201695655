//! One connection: HTTP over a stream, from the first request to the last.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use aar_api::{Api, Caller};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::activity::{Activity, Watched};
use crate::shutdown::Place;
use crate::streams::Streams;

/// How long the head of a request may take, which is also how long HTTP/1.1 connections stay open between requests.
const HEAD: Duration = Duration::from_secs(10);

/// How often a connection is looked after; one on which nothing happened between two looks is closed.
const LOOK: Duration = Duration::from_secs(60);

/// How long a connection that was told to end may take.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes.
const HEAD_BYTES: usize = 64 << 10;

/// What a sender may have under way on HTTP/2: enough for 1 Gbit/s over 15 ms, and a bound for what is held here, which is
/// up to twice as much.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const FRAME_BYTES: u32 = 256 << 10;
const SEND_BUFFER_BYTES: usize = 256 << 10;
const STREAMS: u32 = 32;

/// Serves HTTP/1.1.
pub(crate) async fn serve_http1(stream: impl Stream, api: Arc<Api>, caller: Caller, place: Place) {
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(io, service_fn(|request| answer(&api, &caller, &activity, request)));
    look_after(connection, http1::Connection::graceful_shutdown, &activity, place).await;
}

/// Serves HTTP/2.
pub(crate) async fn serve_http2(stream: impl Stream, api: Arc<Api>, caller: Caller, place: Place) {
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
    look_after(connection, end, &activity, place).await;
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
async fn look_after<C>(connection: C, end: impl Fn(Pin<&mut C>), activity: &Activity, mut place: Place)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut looks = tokio::time::interval(LOOK);
    looks.tick().await;
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
