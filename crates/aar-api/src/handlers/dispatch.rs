//! From routes to handlers.

use std::sync::Arc;

use aar_model::{AppName, Version};
use hyper::Method;

use super::{
    applications, certificates, events, images, maintenance, operations, registry, service, uploads,
};
use crate::answer::Answer;
use crate::api::{Api, Call};
use crate::error::ApiError;
use crate::request::RequestBody;
use crate::route::Route;

/// Answers a call that its caller may make.
pub(crate) async fn handle(
    api: Arc<Api>,
    call: Call<'_>,
    route: Route,
    body: RequestBody,
) -> Result<Answer, ApiError> {
    let method = &call.head.method;
    match route {
        Route::Root => Ok(service::root()),
        Route::Service => Ok(service::service(&call)),
        Route::Status => service::status(&api),
        Route::Version => Ok(service::version()),
        Route::Applications if *method == Method::POST => images::create(api, &call, body).await,
        Route::Applications if *method == Method::DELETE => applications::delete_several(api, body).await,
        Route::Applications => applications::list(&api, &call),
        Route::Application(name) => {
            let name = parse_name(&name)?;
            match *method {
                Method::PATCH => applications::change(api, &call, name, body).await,
                Method::DELETE => applications::delete(api, name, body).await,
                _ => applications::show(&api, &call, &name),
            }
        }
        Route::Image(name, version) => {
            let (name, version) = (parse_name(&name)?, parse_version(&version)?);
            match *method {
                Method::PUT => images::push(api, &call, name, version, body).await,
                Method::PATCH => applications::change_version(api, name, version, body).await,
                Method::DELETE => applications::delete_version(api, &call, name, version, body).await,
                _ => images::pull(&api, &call, &name, version).await,
            }
        }
        Route::Manifest(name, version) => {
            applications::manifest(&api, &call, &parse_name(&name)?, parse_version(&version)?)
        }
        Route::RegistryApplications => registry::list(&api, &call),
        Route::RegistryApplication(name) => applications::delete(api, parse_name(&name)?, body).await,
        Route::Uploads if *method == Method::OPTIONS => Ok(uploads::options()),
        Route::Uploads => uploads::create(api, &call, body).await,
        Route::Upload(id) => match *method {
            Method::OPTIONS => Ok(uploads::options()),
            Method::PATCH => uploads::append(api, &call, &id, body).await,
            Method::DELETE => uploads::remove(api, &call, &id).await,
            _ => uploads::show(api, &call, &id).await,
        },
        Route::Events => events::listen(&api, &call),
        Route::Operations => operations::list(&api, &call),
        Route::Operation(id) => operations::show(&api, &id).await,
        Route::OperationWait(id) => operations::wait(&api, &call, &id).await,
        Route::Certificates if *method == Method::POST => certificates::add(api, body).await,
        Route::Certificates => certificates::list(&api, &call),
        Route::Certificate(prefix) if *method == Method::DELETE => {
            certificates::remove(api, &call, &prefix).await
        }
        Route::Certificate(prefix) => certificates::show(&api, &prefix),
        Route::RevokeCertificate(prefix) => certificates::revoke(api, &prefix).await,
        Route::Rebuild => maintenance::rebuild(api).await,
        Route::CollectGarbage => maintenance::collect_garbage(api, &call).await,
        Route::Verify => maintenance::verify(&api).await,
        Route::CopyStorage => maintenance::copy_storage(&api, body).await,
        Route::CheckStorage => maintenance::check_storage(api).await,
        Route::Metrics => service::metrics(&api),
        Route::Summary => service::summary(&api),
    }
}

pub(super) fn parse_name(name: &str) -> Result<AppName, ApiError> {
    name.parse().map_err(|error: aar_model::InvalidName| ApiError::bad_request(error.to_string()))
}

pub(super) fn parse_version(version: &str) -> Result<Version, ApiError> {
    version.parse().map_err(|error: aar_model::InvalidVersion| ApiError::bad_request(error.to_string()))
}

/// Runs a change in a task of its own, so that it is carried through even where the caller goes away.
pub(super) async fn carry_through<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.unwrap_or_else(|panic| Err(ApiError::internal(panic)))
}
