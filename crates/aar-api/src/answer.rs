//! Answers: the envelope around what is answered, and the headers that go with it.

use aar_model::Digest;
use aar_model::wire::{API_PREFIX, Async, Error, Operation};
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use hyper::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use crate::body::ResponseBody;
use crate::cache::Rendered;
use crate::error::ApiError;

/// An answer on its way out.
pub(crate) type Answer = Response<ResponseBody>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers an object in its envelope.
pub(crate) fn json(status: StatusCode, envelope: &impl Serialize) -> Answer {
    let mut answer = Response::new(ResponseBody::bytes(encode(envelope)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Answers an operation.
pub(crate) fn operation(operation: Operation) -> Answer {
    let location = HeaderValue::try_from(format!("{API_PREFIX}/operations/{}", operation.id));
    let mut answer = json(StatusCode::ACCEPTED, &Async::from(operation));
    if let Ok(location) = location {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// Answers an error.
pub(crate) fn error(error: &ApiError) -> Answer {
    let mut answer = json(error.status, &Error::new(error.status.as_u16(), error.message.as_ref()));
    if let Some((name, value)) = &error.header {
        answer.headers_mut().insert(name, value.clone());
    }
    answer
}

/// Renders an object in its envelope, to be answered once or more.
pub(crate) fn render(envelope: &impl Serialize, route: &'static str) -> Rendered {
    let body = encode(envelope);
    let sha256 = Digest::of(&body).to_string();
    Rendered { etag: quoted(&sha256[..32]), body, route, manifest_sha256: None }
}

/// Answers what was rendered, or that the caller has it already.
pub(crate) fn rendered(rendered: Rendered, request: &HeaderMap) -> Answer {
    let known = request
        .get(hyper::header::IF_NONE_MATCH)
        .is_some_and(|tags| crate::conditional::none_match_hits(tags.as_bytes(), rendered.etag.as_bytes()));
    let mut answer = if known {
        let mut answer = Response::new(ResponseBody::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        let mut answer = Response::new(ResponseBody::bytes(rendered.body));
        answer.headers_mut().insert(CONTENT_TYPE, JSON);
        answer
    };
    let headers = answer.headers_mut();
    headers.insert(ETAG, rendered.etag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Some(sha256) = rendered.manifest_sha256 {
        headers.insert(aar_model::wire::MANIFEST_SHA256_HEADER, sha256);
    }
    answer
}

/// An entity tag.
pub(crate) fn quoted(tag: &str) -> HeaderValue {
    // Tags are hex digits.
    #[allow(clippy::expect_used)]
    HeaderValue::try_from(format!("\"{tag}\"")).expect("hex digits are fit for a header")
}

fn encode(envelope: &impl Serialize) -> Bytes {
    // Maps with text keys and plain values: JSON can say them all.
    #[allow(clippy::expect_used)]
    serde_json::to_vec(envelope).expect("an envelope is representable as JSON").into()
}
