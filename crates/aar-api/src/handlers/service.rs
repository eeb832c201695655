//! The service itself: what anybody may know, and the metrics.

use aar_model::wire::{RESUMABLE_UPLOADS, ServiceStatus, Summary, Sync, VersionInfo};
use aar_store::Viewer;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::answer::{self, Answer};
use crate::api::{Api, Call};
use crate::body::ResponseBody;
use crate::error::ApiError;

/// Extensions that AMS's clients look for before they use what these name.
const EXTENSIONS: &[&str] =
    &["application_image_export", "registry", RESUMABLE_UPLOADS, "zip_archive_support"];

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
    Ok(answer::json(StatusCode::OK, &Sync::new(state(api))))
}

pub(super) fn summary(api: &Api) -> Result<Answer, ApiError> {
    let registry = &api.parts.registry;
    let mut applications = 0;
    registry.applications(Viewer::Publisher, &mut |_| applications += 1)?;
    let totals = registry.totals();
    let summary = Summary {
        state: state(api).into(),
        address: api.address(),
        storage: api.parts.storage_name.clone(),
        applications,
        images: totals.images,
        bytes: totals.bytes,
    };
    Ok(answer::json(StatusCode::OK, &Sync::new(summary)))
}

fn state(api: &Api) -> &'static str {
    if api.parts.registry.is_degraded() { "degraded" } else { "ready" }
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
