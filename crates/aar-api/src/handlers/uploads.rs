//! Pushes whose image may come in several goes, by the tus protocol (<https://tus.io/protocols/resumable-upload>, version
//! 1.0.0): core, creation, creation-with-upload, checksum, expiration, termination.
//!
//! An upload belongs to the certificate that began it.

use std::fmt::Display;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use aar_model::wire::{API_PREFIX, FINGERPRINT_HEADER, Operation, PushRequest, TUS_VERSION, tus};
use aar_model::{Digest, Hasher};
use aar_store::{BodyError, BodyStream, Push, UploadId, UploadState};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::Stream;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::http::request::Parts as Head;
use hyper::{HeaderMap, Method, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use sha1::{Digest as _, Sha1};
use uuid::Uuid;

use super::applications::watched;
use super::dispatch::carry_through;
use super::images::{PUSHING, check_stated, facts};
use crate::access::while_publisher;
use crate::answer::Answer;
use crate::api::{Api, Call};
use crate::body::ResponseBody;
use crate::error::ApiError;
use crate::request::{RequestBody, standard, text};

const PATH: &str = "/1.0/uploads";
const EXTENSIONS: &str = "creation,creation-with-upload,checksum,expiration,termination";
const CHECKSUM_ALGORITHMS: &str = "sha1,sha256";

/// Where a client cannot send every method, the protocol lets it name one in a header.
const METHOD_OVERRIDE: &str = "x-http-method-override";

/// Takes the method that the header names for the request's own.
pub(crate) fn follow_override(head: &mut Head) {
    if head.method == Method::POST
        && head.uri.path().starts_with(PATH)
        && let Some(method) = head.headers.get(METHOD_OVERRIDE)
        && let Ok(method) = Method::from_bytes(method.as_bytes())
    {
        head.method = method;
    }
}

/// Every answer names the protocol's version.
pub(crate) fn say_version(route: &str, answer: &mut Answer) {
    if route.starts_with(PATH) {
        insert(answer.headers_mut(), tus::RESUMABLE, HeaderValue::from_static(TUS_VERSION));
    }
}

/// `OPTIONS /1.0/uploads`: what of the protocol is spoken here.
pub(super) fn options() -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    insert(headers, tus::VERSION, HeaderValue::from_static(TUS_VERSION));
    insert(headers, tus::EXTENSION, HeaderValue::from_static(EXTENSIONS));
    insert(headers, tus::CHECKSUM_ALGORITHM, HeaderValue::from_static(CHECKSUM_ALGORITHMS));
    answer
}

/// `POST /1.0/uploads`
pub(super) async fn create(api: Arc<Api>, call: &Call<'_>, body: RequestBody) -> Result<Answer, ApiError> {
    check_version(call)?;
    let headers = &call.head.headers;
    let length = number(headers, tus::LENGTH)?.ok_or_else(|| {
        ApiError::bad_request("the header Upload-Length is missing; it holds the image's size in bytes")
    })?;
    let metadata = text(headers, tus::METADATA)?.unwrap_or_default();
    let push = Push { size: Some(length), ..read_metadata(metadata)? };
    let content = if standard(headers, &CONTENT_TYPE)?.is_some() {
        check_media_type(headers)?;
        Some(content(&api, call, body, length, 0)?)
    } else {
        None
    };
    let owner = call.caller.fingerprint();
    let id: UploadId = Uuid::new_v4().simple().to_string().parse().map_err(ApiError::internal)?;
    let (registry, metadata) = (Arc::clone(&api.parts.registry), metadata.to_owned());
    let (id, created) = carry_through(async move {
        let created = registry.create_upload(id.clone(), owner, metadata, push, length).await?;
        Ok((id, created))
    })
    .await?;
    let begun = id.clone();
    let (state, operation) = match content {
        None => (created, None),
        Some(content) => {
            let received = carry_through(async move {
                let received = receive(&api, &id, owner, 0, content).await;
                if received.is_err() {
                    // Nobody has been told its place, to go on with it or to end it.
                    let _ = api.parts.registry.remove_upload(&id, owner).await;
                }
                received
            });
            received.await?
        }
    };
    let mut answer = described(StatusCode::CREATED, &state, operation.as_ref())?;
    let location = HeaderValue::try_from(format!("{PATH}/{begun}")).map_err(ApiError::internal)?;
    answer.headers_mut().insert(LOCATION, location);
    Ok(answer)
}

/// `PATCH /1.0/uploads/{id}`
pub(super) async fn append(
    api: Arc<Api>,
    call: &Call<'_>,
    id: &str,
    body: RequestBody,
) -> Result<Answer, ApiError> {
    check_version(call)?;
    check_media_type(&call.head.headers)?;
    let offset = number(&call.head.headers, tus::OFFSET)?.ok_or_else(|| {
        ApiError::bad_request("the header Upload-Offset is missing; it says where the body belongs")
    })?;
    let (id, owner) = (parse_id(id)?, call.caller.fingerprint());
    let content = content(&api, call, body, u64::MAX, offset)?;
    let received = carry_through(async move { receive(&api, &id, owner, offset, content).await });
    let (state, operation) = received.await?;
    described(StatusCode::NO_CONTENT, &state, operation.as_ref())
}

/// `HEAD /1.0/uploads/{id}`
pub(super) async fn show(api: Arc<Api>, call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    check_version(call)?;
    let (id, owner) = (parse_id(id)?, call.caller.fingerprint());
    let shown = carry_through(async move {
        let state = api.parts.registry.upload(&id, owner).await?;
        // All of it came, and the registry ended before it had finished it.
        finish(&api, &id, owner, state).await
    });
    let (state, operation) = shown.await?;
    let mut answer = described(StatusCode::OK, &state, operation.as_ref())?;
    let headers = answer.headers_mut();
    insert(headers, tus::LENGTH, state.size.into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !state.metadata.is_empty() {
        insert(headers, tus::METADATA, HeaderValue::try_from(state.metadata).map_err(ApiError::internal)?);
    }
    Ok(answer)
}

/// `DELETE /1.0/uploads/{id}`
pub(super) async fn remove(api: Arc<Api>, call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    check_version(call)?;
    let (id, owner) = (parse_id(id)?, call.caller.fingerprint());
    carry_through(async move { Ok(api.parts.registry.remove_upload(&id, owner).await?) }).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What an upload goes on with, and whether it counts whole or not at all.
type Content = (BodyStream, bool);

/// Receives what belongs at `offset`, and finishes the upload where that was all.
async fn receive(
    api: &Api,
    id: &UploadId,
    owner: aar_store::Owner,
    offset: u64,
    (body, counts_whole): Content,
) -> Result<(UploadState, Option<Operation>), ApiError> {
    let state = api.parts.registry.append(id, owner, offset, body, counts_whole).await?;
    finish(api, id, owner, state).await
}

/// Finishes an upload where all of it has come.
async fn finish(
    api: &Api,
    id: &UploadId,
    owner: aar_store::Owner,
    state: UploadState,
) -> Result<(UploadState, Option<Operation>), ApiError> {
    if state.offset < state.size || state.pushed.is_some() {
        return Ok((state, None));
    }
    let finished = watched(api, PUSHING, &state.name, async {
        Ok(facts(&state.fingerprint, api.parts.registry.finish_upload(id, owner).await?))
    });
    let operation = finished.await?;
    Ok((state, Some(operation)))
}

/// Reads what is pushed from `Upload-Metadata`.
fn read_metadata(header: &str) -> Result<Push, ApiError> {
    let pairs = header.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| match pair.split_once(' ') {
        None => Ok((pair, String::new())),
        Some((key, value)) => STANDARD
            .decode(value.trim())
            .ok()
            .and_then(|value| String::from_utf8(value).ok())
            .map(|value| (key, value))
            .ok_or_else(|| ApiError::bad_request(format!("Upload-Metadata: `{key}` is not text in base64"))),
    });
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    for (at, (key, _)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(earlier, _)| earlier == key) {
            return Err(ApiError::bad_request(format!("Upload-Metadata: `{key}` comes more than once")));
        }
    }
    let find = |key| pairs.iter().find(|(given, _)| *given == key).map(|(_, value)| value.as_str());
    let request: PushRequest = match find("request") {
        None | Some("") => PushRequest::default(),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| ApiError::bad_request(format!("Upload-Metadata: `request`: {error}")))?,
    };
    let required = |key: &'static str| {
        find(key).ok_or_else(|| ApiError::bad_request(format!("Upload-Metadata does not say `{key}`")))
    };
    let push = Push {
        name: parsed("name", required("name")?)?,
        version: parsed("version", required("version")?)?,
        architecture: parsed("architecture", required("architecture")?)?,
        fingerprint: parsed("fingerprint", required("fingerprint")?)?,
        size: None,
        // It becomes a header's value.
        media_type: find("filetype").filter(|text| HeaderValue::try_from(*text).is_ok()).map(str::to_owned),
        request,
    };
    check_stated("Upload-Metadata: `request`", &push.request, &push.name, push.version)?;
    Ok(push)
}

fn parsed<T>(key: &str, value: &str) -> Result<T, ApiError>
where
    T: FromStr<Err: Display>,
{
    let wrong = |error| ApiError::bad_request(format!("Upload-Metadata: `{key}`: {error}"));
    value.parse().map_err(wrong)
}

/// The body, which is compared with the checksum that came with it.
fn content(
    api: &Arc<Api>,
    call: &Call<'_>,
    body: RequestBody,
    length: u64,
    offset: u64,
) -> Result<Content, ApiError> {
    if body.announced().is_some_and(|announced| announced > length.saturating_sub(offset)) {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body has more bytes than Upload-Length announces",
        ));
    }
    let Some(checksum) = text(&call.head.headers, tus::CHECKSUM)? else {
        return Ok((while_publisher(api, call.caller, body.into_stream()), false));
    };
    let invalid = || {
        ApiError::bad_request(
            "Upload-Checksum is written `sha1` or `sha256`, a space, and the checksum in base64",
        )
    };
    let (algorithm, expected) = checksum.split_once(' ').ok_or_else(invalid)?;
    let hash = match algorithm {
        "sha1" => Hash::Sha1(Sha1::default()),
        "sha256" => Hash::Sha256(Hasher::default()),
        _ => return Err(invalid()),
    };
    let expected = STANDARD.decode(expected.trim()).map_err(|_| invalid())?;
    let checked = Box::pin(Checked { body, hash: Some(hash), expected });
    Ok((while_publisher(api, call.caller, checked), true))
}

enum Hash {
    Sha1(Sha1),
    Sha256(Hasher),
}

/// A body that ends with an error where its checksum is another.
struct Checked {
    body: RequestBody,
    /// None once it was compared.
    hash: Option<Hash>,
    expected: Vec<u8>,
}

impl Stream for Checked {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(Pin::new(&mut self.body).poll_next(cx));
        match &chunk {
            Some(Ok(bytes)) => match &mut self.hash {
                Some(Hash::Sha1(hash)) => hash.update(bytes),
                Some(Hash::Sha256(hash)) => hash.update(bytes),
                None => {}
            },
            Some(Err(_)) => self.hash = None,
            None => {
                let is_right = match self.hash.take() {
                    Some(Hash::Sha1(hash)) => hash.finalize()[..] == self.expected[..],
                    Some(Hash::Sha256(hash)) => hash.finish().as_bytes()[..] == self.expected[..],
                    None => true,
                };
                if !is_right {
                    return Poll::Ready(Some(Err(BodyError::Checksum)));
                }
            }
        }
        Poll::Ready(chunk)
    }
}

fn check_version(call: &Call<'_>) -> Result<(), ApiError> {
    if text(&call.head.headers, tus::RESUMABLE)? == Some(TUS_VERSION) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::PRECONDITION_FAILED,
        "this is the tus protocol, version 1.0.0: send the header Tus-Resumable with it",
    )
    .with_header(HeaderName::from_static(tus::VERSION), HeaderValue::from_static(TUS_VERSION)))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    if standard(headers, &CONTENT_TYPE)?.is_some_and(|given| given == tus::MEDIA_TYPE) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body's Content-Type has to be application/offset+octet-stream",
    ))
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, ApiError> {
    let Some(given) = text(headers, name)? else { return Ok(None) };
    // `parse` takes a plus sign.
    let number = given.parse().ok().filter(|_| given.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .map(Some)
        .ok_or_else(|| ApiError::bad_request(format!("the header {name} is not a number of bytes")))
}

fn parse_id(id: &str) -> Result<UploadId, ApiError> {
    id.parse().map_err(|error: aar_store::InvalidUploadId| ApiError::not_found(error.to_string()))
}

/// How an upload stands, and what came of the push where it is finished.
fn described(
    status: StatusCode,
    state: &UploadState,
    operation: Option<&Operation>,
) -> Result<Answer, ApiError> {
    let mut answer = empty(status);
    let headers = answer.headers_mut();
    insert(headers, tus::OFFSET, state.offset.into());
    let expires = Timestamp::from_second(state.expires_at).map_err(ApiError::internal)?;
    let expires = DateTimePrinter::new().timestamp_to_rfc9110_string(&expires).map_err(ApiError::internal)?;
    insert(headers, tus::EXPIRES, HeaderValue::try_from(expires).map_err(ApiError::internal)?);
    if let Some(operation) = operation {
        let path = format!("{API_PREFIX}/operations/{}", operation.id);
        headers.insert(LOCATION, HeaderValue::try_from(path).map_err(ApiError::internal)?);
    }
    if state.offset == state.size {
        insert(headers, FINGERPRINT_HEADER, fingerprint(&state.fingerprint)?);
    }
    Ok(answer)
}

fn fingerprint(fingerprint: &Digest) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(fingerprint.to_string()).map_err(ApiError::internal)
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(ResponseBody::empty());
    *answer.status_mut() = status;
    answer
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: HeaderValue) {
    headers.insert(HeaderName::from_static(name), value);
}
