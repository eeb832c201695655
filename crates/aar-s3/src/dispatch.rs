//! Requests on their way: rusoto sets no time limits, neither to connect nor for a transfer that stalls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::proxy::Connector;
use futures_util::{StreamExt, stream};
use hyper_0_14::client::HttpConnector;
use hyper_tls::HttpsConnector;
use rusoto_core::ByteStream;
use rusoto_core::request::{
    DispatchSignedRequest, DispatchSignedRequestFuture, HttpClient, HttpDispatchError, HttpResponse,
};
use rusoto_core::signature::{SignedRequest, SignedRequestPayload};
use tokio::time::{Instant, sleep_until, timeout};

/// To connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Without a byte either way.
const STALL: Duration = Duration::from_secs(30);
/// Until an upload of many parts is put together.
const ASSEMBLY: Duration = Duration::from_secs(300);

/// Sends requests, and gives those up that get nowhere.
pub(crate) struct Dispatcher {
    http: Arc<HttpClient<HttpsConnector<Connector>>>,
    clock: Clock,
}

impl Dispatcher {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { http: Arc::new(HttpClient::from_connector(connector())), clock }
    }
}

pub(crate) fn connector() -> HttpsConnector<Connector> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    http.set_keepalive(Some(STALL));
    HttpsConnector::new_with_connector(Connector::new(http))
}

impl DispatchSignedRequest for Dispatcher {
    fn dispatch(&self, mut request: SignedRequest, limit: Option<Duration>) -> DispatchSignedRequestFuture {
        let (http, clock) = (self.http.clone(), self.clock.clone());
        let patience = if request.method() == "POST" { ASSEMBLY } else { STALL };
        let progress = Progress::default();
        request.payload = request.payload.map(|payload| progress.follow(payload));
        Box::pin(async move {
            let mut response = tokio::select! {
                response = http.dispatch(request, limit) => response?,
                () = progress.stalled(patience) => {
                    return Err(stalled(patience));
                }
            };
            if let Some(date) = response.headers.get("date") {
                clock.note(date);
            }
            response.body = limited(response.body);
            Ok(HttpResponse { ..response })
        })
    }
}

fn stalled(patience: Duration) -> HttpDispatchError {
    HttpDispatchError::new(format!("nothing came or went for {} s", patience.as_secs()))
}

/// Fails where the body stalls.
fn limited(body: ByteStream) -> ByteStream {
    ByteStream::new(stream::unfold(body, async |mut body| match timeout(STALL, body.next()).await {
        Ok(chunk) => chunk.map(|chunk| (chunk, body)),
        Err(_) => Some((Err(std::io::Error::other(stalled(STALL))), body)),
    }))
}

/// When the last piece of a request's body was taken.
#[derive(Clone)]
struct Progress(Arc<Mutex<Instant>>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Progress {
    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A body of the same bytes that notes when they are taken.
    fn follow(&self, payload: SignedRequestPayload) -> SignedRequestPayload {
        let SignedRequestPayload::Stream(body) = payload else { return payload };
        let progress = self.clone();
        SignedRequestPayload::Stream(ByteStream::new(body.inspect(move |_| {
            *progress.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        })))
    }

    /// Waits until nothing has been taken for so long.
    async fn stalled(&self, patience: Duration) {
        loop {
            let end = self.last() + patience;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}
