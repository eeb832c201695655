//! Metrics for Prometheus over plain HTTP, where the configuration gives them an address.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aar_api::Api;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

const HEAD: Duration = Duration::from_secs(10);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the metrics for as long as it is polled, one connection at a time: a scrape is over in a moment, and more than
/// one at once is nobody's need.
pub(crate) async fn serve(listener: TcpListener, api: Arc<Api>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .keep_alive(false)
            .serve_connection(
                TokioIo::new(socket),
                service_fn(async |request| Ok::<_, Infallible>(answer(&api, &request))),
            );
        let _ = tokio::time::timeout(2 * HEAD, connection).await;
    }
}

fn answer(api: &Api, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics" | "/1.0/metrics") => match api.render_metrics() {
            Ok(text) => (StatusCode::OK, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "cannot render the metrics\n".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    response
}
