//! Images: in and out.

use std::sync::Arc;

use aar_model::wire::{FINGERPRINT_HEADER, PushRequest, REQUEST_HEADER};
use aar_model::{AppName, Architecture, Digest, Version};
use aar_store::{Download, Downloads, Push, Pushed, StoredImage};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
};
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::applications::operate;
use super::dispatch::parse_name;
use crate::access::while_publisher;
use crate::answer::{Answer, quoted};
use crate::api::{Api, Call};
use crate::body::ResponseBody;
use crate::conditional::{Wanted, none_match_hits, range};
use crate::error::ApiError;
use crate::request::{RequestBody, standard, text};

/// What the operation of a push is called.
pub(super) const PUSHING: &str = "Pushing application version";

/// `PUT /1.0/applications/{name}/{version}?architecture=`
pub(super) async fn push(
    api: Arc<Api>,
    call: &Call<'_>,
    name: AppName,
    version: Version,
    body: RequestBody,
) -> Result<Answer, ApiError> {
    let request = push_request(&call.head.headers)?.unwrap_or_default();
    check_stated("X-AMS-Request", &request, &name, version)?;
    let architecture = match call.query.read("architecture")? {
        Some(architecture) => architecture,
        None => stated_architecture(&request)?
            .ok_or_else(|| ApiError::bad_request("add ?architecture= with x86_64 or aarch64"))?,
    };
    receive(api, call, (name, version, architecture), request, body).await
}

/// `POST /1.0/applications`
pub(super) async fn create(api: Arc<Api>, call: &Call<'_>, body: RequestBody) -> Result<Answer, ApiError> {
    let missing = |what: &str| ApiError::bad_request(format!("X-AMS-Request does not say {what}"));
    let request = push_request(&call.head.headers)?.ok_or_else(|| {
        ApiError::bad_request("the header X-AMS-Request is missing; it names what is pushed")
    })?;
    let name = request.application.get("name").and_then(Value::as_str);
    let name = parse_name(name.ok_or_else(|| missing("`application.name`, a text"))?)?;
    let number = request.version.get("number").and_then(Value::as_i64);
    let version = Version::try_from(number.ok_or_else(|| missing("`version.number`, a number"))?)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let architecture = stated_architecture(&request)?.ok_or_else(|| missing("`version.architecture`"))?;
    receive(api, call, (name, version, architecture), request, body).await
}

async fn receive(
    api: Arc<Api>,
    call: &Call<'_>,
    (name, version, architecture): (AppName, Version, Architecture),
    request: PushRequest,
    body: RequestBody,
) -> Result<Answer, ApiError> {
    let headers = &call.head.headers;
    let fingerprint: Digest = text(headers, FINGERPRINT_HEADER)?
        .ok_or_else(|| {
            ApiError::bad_request("the header X-AMS-Fingerprint is missing; it holds the image's SHA-256")
        })?
        .parse()
        .map_err(|error| ApiError::bad_request(format!("X-AMS-Fingerprint: {error}")))?;
    let media_type = standard(headers, &CONTENT_TYPE)?.and_then(|value| value.to_str().ok());
    let push = Push {
        name: name.clone(),
        version,
        architecture,
        fingerprint,
        size: body.announced(),
        media_type: media_type.map(str::to_owned),
        request,
    };
    let registry = Arc::clone(&api.parts.registry);
    let body = while_publisher(&api, call.caller, body.into_stream());
    operate(api, PUSHING, name, async move { Ok(facts(&fingerprint, registry.push(push, body).await?)) })
        .await
}

/// What the operation of a push tells.
pub(super) fn facts(fingerprint: &Digest, pushed: Pushed) -> Map<String, Value> {
    let facts = json!({ "fingerprint": fingerprint, "size": pushed.size, "existed": pushed.existed });
    if let Value::Object(facts) = facts { facts } else { Map::new() }
}

/// `GET /1.0/applications/{name}/{version}?architecture=`; HEAD is answered from the index.
pub(super) async fn pull(
    api: &Api,
    call: &Call<'_>,
    name: &AppName,
    version: Version,
) -> Result<Answer, ApiError> {
    let headers = &call.head.headers;
    let architecture = call.query.read("architecture")?;
    let stored = api.parts.registry.image(name, version, architecture, call.access.viewer())?;
    let image = &stored.image;
    let etag = quoted(&image.fingerprint.to_string());

    if standard(headers, &IF_NONE_MATCH)?
        .is_some_and(|tags| none_match_hits(tags.as_bytes(), etag.as_bytes()))
    {
        return Ok(described(StatusCode::NOT_MODIFIED, &stored, etag, ResponseBody::empty()));
    }
    if let Some(downloads) = &api.parts.downloads
        && call.head.method == Method::GET
    {
        return redirect(downloads.as_ref(), &stored).await;
    }
    // A part of another image than the caller has the rest of would be of no use: then it gets the whole.
    let same = standard(headers, &IF_RANGE)?.is_none_or(|tag| tag == etag);
    let wanted = match standard(headers, &RANGE)? {
        Some(header) if same => range(header.as_bytes(), image.size),
        _ => Wanted::Whole,
    };
    let (status, part) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..image.size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => return Err(ApiError::range_not_satisfiable(image.size)),
    };
    let length = part.end - part.start;
    let content_range = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), image.size);
    let body = if call.head.method == Method::HEAD {
        ResponseBody::empty()
    } else {
        let bytes = api.parts.registry.read(image, part).await?;
        ResponseBody::image(bytes, length, api.metrics.sending(&stored, length, call.id))
    };
    let mut answer = described(status, &stored, etag, body);
    answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    if status == StatusCode::PARTIAL_CONTENT {
        insert(answer.headers_mut(), CONTENT_RANGE, content_range);
    }
    Ok(answer)
}

/// Sends the caller to where the image lies; a range is asked for there.
async fn redirect(downloads: &dyn Downloads, stored: &StoredImage) -> Result<Answer, ApiError> {
    let StoredImage { application, version, image } = stored;
    let download = Download {
        image: &image.fingerprint,
        media_type: &image.media_type,
        file_name: &image.file_name(application, *version),
    };
    let url = downloads.url(&download).await?;
    let mut location = HeaderValue::try_from(url.reveal()).map_err(ApiError::internal)?;
    location.set_sensitive(true);
    let mut answer = Response::new(ResponseBody::empty());
    *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = answer.headers_mut();
    headers.insert(LOCATION, location);
    // The URL opens the image for a while, and for whoever has it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    insert(headers, HeaderName::from_static(FINGERPRINT_HEADER), image.fingerprint.to_string());
    Ok(answer)
}

fn described(status: StatusCode, stored: &StoredImage, etag: HeaderValue, body: ResponseBody) -> Answer {
    let StoredImage { application, version, image } = stored;
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(ETAG, etag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    insert(headers, CONTENT_TYPE, image.media_type.clone());
    // Without quotes, which AMS's clients would take for a part of the name; all its characters may stand so.
    let disposition = format!("attachment; filename={}", image.file_name(application, *version));
    insert(headers, CONTENT_DISPOSITION, disposition);
    insert(headers, HeaderName::from_static(FINGERPRINT_HEADER), image.fingerprint.to_string());
    answer
}

/// Sets a header whose value the registry has checked when it came in.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// Refuses metadata of another application or version than is pushed.
pub(super) fn check_stated(
    place: &str,
    request: &PushRequest,
    name: &AppName,
    version: Version,
) -> Result<(), ApiError> {
    let stated = |field: &Map<String, Value>, key| field.get(key).cloned().filter(|value| !value.is_null());
    if stated(&request.application, "name").is_some_and(|stated| stated != name.as_str()) {
        return Err(ApiError::bad_request(format!(
            "{place} names another application than is pushed, {name}"
        )));
    }
    if stated(&request.version, "number").is_some_and(|stated| stated != version.number()) {
        return Err(ApiError::bad_request(format!(
            "{place} names another version than is pushed, {version}"
        )));
    }
    Ok(())
}

fn push_request(headers: &HeaderMap) -> Result<Option<PushRequest>, ApiError> {
    match text(headers, REQUEST_HEADER)? {
        None | Some("") => Ok(None),
        Some(json) => serde_json::from_str(json)
            .map(Some)
            .map_err(|error| ApiError::bad_request(format!("X-AMS-Request: {error}"))),
    }
}

/// The architecture that the metadata of a push names, where it names one.
fn stated_architecture(request: &PushRequest) -> Result<Option<Architecture>, ApiError> {
    let only = |list: Option<&Value>| match list.and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => Some(only.clone()),
        _ => None,
    };
    let stated = request.version.get("architecture").cloned();
    let stated = stated.or_else(|| only(request.application.get("architectures")));
    let Some(stated) = stated.as_ref().and_then(Value::as_str) else { return Ok(None) };
    stated
        .parse()
        .map(Some)
        .map_err(|error: aar_model::InvalidArchitecture| ApiError::bad_request(error.to_string()))
}
