//! The trust store; on the Unix socket only.

use std::sync::Arc;

use aar_model::wire::{AddCertificate, AddedCertificate, Sync};
use aar_model::{FingerprintPrefix, Role, TrustChange};
use aar_store::NewCertificate;
use hyper::StatusCode;

use super::dispatch::carry_through;
use crate::answer::{self, Answer};
use crate::api::{Api, Call};
use crate::error::ApiError;
use crate::request::RequestBody;

/// Who brings a certificate where the caller does not say.
const OPERATOR: &str = "operator";

pub(super) fn list(api: &Api, call: &Call<'_>) -> Result<Answer, ApiError> {
    let certificates = api.parts.trust.list(call.query.flag("revoked")?.unwrap_or(false));
    let total = certificates.len();
    Ok(answer::json(StatusCode::OK, &Sync::collection(certificates, total)))
}

pub(super) fn show(api: &Api, prefix: &str) -> Result<Answer, ApiError> {
    let certificate = api.parts.trust.get(&parse(prefix)?)?;
    Ok(answer::json(StatusCode::OK, &Sync::new(certificate)))
}

pub(super) async fn add(api: Arc<Api>, body: RequestBody) -> Result<Answer, ApiError> {
    let Some(new): Option<AddCertificate> = body.json().await? else {
        return Err(ApiError::bad_request("the body is empty; it holds the certificate as JSON"));
    };
    let (der, common_name) = (api.parts.read_certificate)(&new.certificate).map_err(ApiError::bad_request)?;
    let certificate = NewCertificate {
        der,
        name: new.name.or(common_name).unwrap_or_default(),
        role: new.role.unwrap_or(Role::Client),
        source: new.source.unwrap_or_else(|| OPERATOR.into()),
    };
    let (certificate, change) =
        carry_through(async move { Ok(api.parts.trust.add(certificate).await?) }).await?;
    tracing::info!(fingerprint = %certificate.fingerprint, role = %certificate.role, ?change, "a certificate was added");
    let status = if change == TrustChange::Added { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer::json(status, &Sync::new(AddedCertificate { change, certificate })))
}

pub(super) async fn remove(api: Arc<Api>, call: &Call<'_>, prefix: &str) -> Result<Answer, ApiError> {
    let prefix = parse(prefix)?;
    let source: Option<String> = call.query.read("source")?;
    let certificate = carry_through(async move {
        Ok(match source {
            Some(source) => api.parts.trust.withdraw(&prefix, &source).await?,
            None => api.parts.trust.remove(&prefix).await?,
        })
    })
    .await?;
    Ok(answer::json(StatusCode::OK, &Sync::new(certificate)))
}

pub(super) async fn revoke(api: Arc<Api>, prefix: &str) -> Result<Answer, ApiError> {
    let prefix = parse(prefix)?;
    let certificate = carry_through(async move { Ok(api.parts.trust.revoke(&prefix).await?) }).await?;
    Ok(answer::json(StatusCode::OK, &Sync::new(certificate)))
}

fn parse(prefix: &str) -> Result<FingerprintPrefix, ApiError> {
    prefix.parse().map_err(|error: aar_model::InvalidPrefix| ApiError::bad_request(error.to_string()))
}
