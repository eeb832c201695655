//! The service itself: what anybody may know, and the metrics.

use aar_model::wire::{ServiceStatus, Sync, VersionInfo};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::answer::{self, Answer};
use crate::api::{Api, Call};
use crate::body::ResponseBody;
use crate::error::ApiError;

/// Extensions that AMS's clients look for before they use what these name.
const EXTENSIONS: &[&str] = &["application_image_export", "registry", "zip_archive_support"];

pub(super) fn root() -> Answer {
    answer::json(StatusCode::OK, &Sync::new(["/1.0"]))
}

pub(super) fn service(call: &Call<'_>) -> Answer {
    let status = ServiceStatus {
        api_extensions: EXTENSIONS.iter().map(|name| (*name).to_owned()).collect(),
        api_status: "stable".into(),
        api_version: "1.0".into(),
        auth: if call.access.is_trusted() { "trusted" } else { "untrusted" }.into(),
        auth_methods: vec!["2waySSL".into()],
        role: call.access.role(),
    };
    answer::json(StatusCode::OK, &Sync::new(status))
}

pub(super) fn status(api: &Api) -> Result<Answer, ApiError> {
    if api.is_stopping() {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopping"));
    }
    let state = if api.parts.registry.is_degraded() { "degraded" } else { "ready" };
    Ok(answer::json(StatusCode::OK, &Sync::new(state)))
}

pub(super) fn version() -> Answer {
    let version = VersionInfo { version: env!("CARGO_PKG_VERSION").into() };
    answer::json(StatusCode::OK, &Sync::new(version))
}

pub(super) fn metrics(api: &Api) -> Result<Answer, ApiError> {
    let text = api.render_metrics().map_err(ApiError::internal)?;
    let mut answer = Response::new(ResponseBody::bytes(Bytes::from(text)));
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(openmetrics));
    Ok(answer)
}
