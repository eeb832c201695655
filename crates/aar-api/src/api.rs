//! The way of a request.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aar_model::wire::REQUEST_ID_HEADER;
use aar_store::{Blobs, Cause, Downloads, Records, Registry, RegistryError, StorageCheck, Trust};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Body;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::http::request::Parts as Head;
use hyper::{Method, Request, Response, StatusCode};
use uuid::Uuid;

use crate::access::{Access, Caller};
use crate::answer::{self, Answer};
use crate::body::ResponseBody;
use crate::cache::AnswerCache;
use crate::error::{ApiError, chain};
use crate::handlers;
use crate::metrics::Metrics;
use crate::operations::Operations;
use crate::request::{Query, RequestBody};
use crate::route::Route;

/// Reads a certificate: the DER and the subject's common name, or what is wrong.
pub type ReadCertificate = fn(&str) -> Result<(Vec<u8>, Option<String>), String>;

/// Opens the storage that a configuration asks for, given as the text of its file. The text holds secrets; errors do not.
pub type OpenStorage = Box<dyn Fn(String) -> BoxFuture<'static, Result<Opened, RegistryError>> + Send + Sync>;

/// A storage that is open.
pub type Opened = (Arc<dyn Blobs>, Arc<dyn Records>);

/// What the API is made of.
pub struct Parts {
    /// The registry.
    pub registry: Arc<Registry>,
    /// Where clients are sent for images; where it is absent, the registry serves them itself.
    pub downloads: Option<Arc<dyn Downloads>>,
    /// Where images are kept, for people.
    pub storage_name: String,
    /// Where the API is served on the network, for people.
    pub address: String,
    /// Tries the storage.
    pub storage: Arc<dyn StorageCheck>,
    /// The trust store.
    pub trust: Arc<dyn Trust>,
    /// Reads a certificate that is PEM or base64.
    pub read_certificate: ReadCertificate,
    /// Opens the storage that the registry is to be copied to.
    pub open_storage: OpenStorage,
    /// When the server's own certificate expires, Unix seconds.
    pub certificate_not_after: i64,
}

/// The API. One serves all connections.
pub struct Api {
    pub(crate) parts: Parts,
    pub(crate) operations: Operations,
    pub(crate) answers: AnswerCache,
    pub(crate) metrics: Metrics,
    address: Mutex<String>,
    stopping: AtomicBool,
    /// Tells the requests of this process from those of others.
    id_prefix: u32,
    next_id: AtomicU64,
}

/// A request whose caller may do what it asks.
pub(crate) struct Call<'a> {
    pub(crate) head: &'a Head,
    pub(crate) query: Query<'a>,
    pub(crate) caller: &'a Caller,
    pub(crate) access: Access,
    pub(crate) id: &'a str,
    pub(crate) route: &'static str,
}

impl Api {
    /// Makes the API.
    pub fn new(parts: Parts) -> Self {
        Self {
            metrics: Metrics::new(parts.certificate_not_after),
            address: Mutex::new(parts.address.clone()),
            parts,
            operations: Operations::default(),
            answers: AnswerCache::new(),
            stopping: AtomicBool::new(false),
            id_prefix: Uuid::new_v4().as_fields().0,
            next_id: AtomicU64::new(0),
        }
    }

    /// From now on `/1.0/status` says that the daemon stops.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Whoever sends one goes on once the registry is back, which must not wait for it.
        self.parts.registry.interrupt_uploads();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The API is served elsewhere on the network from now on.
    pub fn set_address(&self, address: String) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    pub(crate) fn address(&self) -> String {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server shows another certificate from now on, which expires at `not_after`, Unix seconds.
    pub fn set_certificate_not_after(&self, not_after: i64) {
        self.metrics.set_certificate_not_after(not_after);
    }

    /// The metrics in Prometheus's text format.
    pub fn render_metrics(&self) -> Result<String, std::fmt::Error> {
        self.metrics.render(&self.parts.registry, self.parts.trust.as_ref())
    }

    /// Answers a request. What it changes is carried through even where the caller goes away and this is dropped.
    pub async fn handle<B>(self: Arc<Self>, caller: &Caller, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes, Error: Into<Cause>> + Send + 'static,
    {
        let begun = Instant::now();
        let id = format!("{:08x}-{:x}", self.id_prefix, self.next_id.fetch_add(1, Ordering::Relaxed));
        let (mut head, body) = request.into_parts();
        // As HTTP sees it: whoever sends another method gets a body.
        let is_head = head.method == Method::HEAD;
        handlers::follow_override(&mut head);
        let access = Access::of(caller, self.parts.trust.as_ref());

        // A body that does not belong to a read has to be taken care of all the same.
        let cached = if body.is_end_stream() { self.cached(&head, access) } else { None };
        let (route, outcome) = if let Some((route, answer)) = cached {
            (route, Ok(answer))
        } else {
            let body = RequestBody::new(body, &head.headers, self.metrics.receiving());
            Arc::clone(&self).dispatch(caller, access, &head, body, &id).await
        };
        let mut answer =
            outcome.as_ref().map_or_else(answer::error, |_| Response::new(ResponseBody::empty()));
        let failure = match outcome {
            Ok(done) => {
                answer = done;
                None
            }
            Err(error) => Some(error),
        };
        if is_head {
            withhold_body(&mut answer);
        }
        handlers::say_version(route, &mut answer);
        self.metrics.answered(&head.method, route, answer.status(), begun.elapsed());
        log(&id, caller, &head, answer.status(), failure.as_ref(), begun);
        if let Ok(id) = HeaderValue::try_from(id) {
            answer.headers_mut().insert(REQUEST_ID_HEADER, id);
        }
        answer
    }

    /// The answer to a read that was rendered before, since when nothing has changed.
    fn cached(&self, head: &Head, access: Access) -> Option<(&'static str, Answer)> {
        if !access.is_trusted() || !matches!(head.method, Method::GET | Method::HEAD) {
            return None;
        }
        let target = head.uri.path_and_query()?.as_str();
        let rendered = self.answers.get(self.parts.registry.generation(), access.viewer(), target)?;
        Some((rendered.route, answer::rendered(rendered, &head.headers)))
    }

    async fn dispatch(
        self: Arc<Self>,
        caller: &Caller,
        access: Access,
        head: &Head,
        body: RequestBody,
        id: &str,
    ) -> (&'static str, Result<Answer, ApiError>) {
        let route = match Route::find(head.uri.path(), caller.peer) {
            Ok(route) => route,
            Err(error) => return ("unknown", Err(error)),
        };
        let pattern = route.pattern();
        let query = route
            .need(&head.method)
            .and_then(|need| access.require(need, &head.method))
            .and_then(|()| Query::parse(head.uri.query(), route.parameters(&head.method)));
        let outcome = match query {
            Ok(query) => {
                let call = Call { head, query, caller, access, id, route: pattern };
                handlers::handle(self, call, route, body).await
            }
            Err(error) => Err(error),
        };
        (pattern, outcome)
    }
}

/// The answer to HEAD is that to GET without its body.
fn withhold_body(answer: &mut Answer) {
    let length = answer.body().size_hint().exact();
    *answer.body_mut() = ResponseBody::empty();
    if let Some(length) = length
        && answer.status() != StatusCode::NOT_MODIFIED
    {
        answer.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

/// Says once what came of a request: refusals for whoever watches over trust, failures with their cause, changes.
fn log(
    id: &str,
    caller: &Caller,
    head: &Head,
    status: StatusCode,
    failure: Option<&ApiError>,
    begun: Instant,
) {
    macro_rules! entry {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                request_id = id,
                peer = %caller.peer,
                fingerprint = caller.fingerprint().map(tracing::field::display),
                method = %head.method,
                path = head.uri.path(),
                status = status.as_u16(),
                elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                reason = failure.map(|failure| failure.message.as_ref()),
                cause = failure.and_then(|failure| failure.cause.as_deref()).map(|cause| chain(cause)),
                $message
            )
        };
    }
    match status.as_u16() {
        401 | 403 => entry!(warn, "request refused"),
        500.. => entry!(error, "request failed"),
        400.. => entry!(info, "request not done"),
        _ if matches!(head.method, Method::GET | Method::HEAD) => entry!(debug, "request answered"),
        _ => entry!(info, "request carried out"),
    }
}
