//! Paths: which there are, what they take, and who may call them.

use std::borrow::Cow;

use hyper::Method;
use percent_encoding::percent_decode_str;

use crate::access::{Need, Peer};
use crate::error::ApiError;

/// A path of the API with its variable parts, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Root,
    Service,
    Status,
    Version,
    Applications,
    Application(String),
    Image(String, String),
    Manifest(String, String),
    RegistryApplications,
    RegistryApplication(String),
    Uploads,
    Upload(String),
    Events,
    Operations,
    Operation(String),
    OperationWait(String),
    Certificates,
    Certificate(String),
    RevokeCertificate(String),
    Rebuild,
    CollectGarbage,
    Verify,
    CopyStorage,
    CheckStorage,
    Metrics,
    Summary,
}

impl Route {
    /// Finds the route of a path, as `peer` may know it: administration exists on the Unix socket only.
    pub(crate) fn find(path: &str, peer: Peer) -> Result<Self, ApiError> {
        // The targets `*` and `host:port` are no paths.
        if !path.starts_with('/') {
            return Err(unknown());
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments = path.split('/').skip(1).map(decode).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let route = match segments.as_slice() {
            [] => Self::Root,
            ["1.0"] => Self::Service,
            ["1.0", "status"] => Self::Status,
            ["1.0", "version"] => Self::Version,
            ["1.0", "applications"] => Self::Applications,
            ["1.0", "applications", name] => Self::Application((*name).into()),
            ["1.0", "applications", name, version] => Self::Image((*name).into(), (*version).into()),
            ["1.0", "applications", name, version, "manifest"] => {
                Self::Manifest((*name).into(), (*version).into())
            }
            ["1.0", "registry", "applications"] => Self::RegistryApplications,
            ["1.0", "registry", "applications", name] => Self::RegistryApplication((*name).into()),
            ["1.0", "uploads"] => Self::Uploads,
            ["1.0", "uploads", id] => Self::Upload((*id).into()),
            ["1.0", "events"] => Self::Events,
            ["1.0", "operations"] => Self::Operations,
            ["1.0", "operations", id] => Self::Operation((*id).into()),
            ["1.0", "operations", id, "wait"] => Self::OperationWait((*id).into()),
            ["1.0", "certificates"] => Self::Certificates,
            ["1.0", "certificates", fingerprint] => Self::Certificate((*fingerprint).into()),
            ["1.0", "certificates", fingerprint, "revoke"] => Self::RevokeCertificate((*fingerprint).into()),
            ["1.0", "maintenance", "rebuild"] => Self::Rebuild,
            ["1.0", "maintenance", "collect-garbage"] => Self::CollectGarbage,
            ["1.0", "maintenance", "verify"] => Self::Verify,
            ["1.0", "maintenance", "copy-storage"] => Self::CopyStorage,
            ["1.0", "maintenance", "check-storage"] => Self::CheckStorage,
            ["1.0", "metrics"] => Self::Metrics,
            ["1.0", "summary"] => Self::Summary,
            _ => return Err(unknown()),
        };
        if route.is_administration() && peer != Peer::Socket {
            return Err(unknown());
        }
        Ok(route)
    }

    /// The path as a pattern: what metrics are counted by.
    pub(crate) fn pattern(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Service => "/1.0",
            Self::Status => "/1.0/status",
            Self::Version => "/1.0/version",
            Self::Applications => "/1.0/applications",
            Self::Application(_) => "/1.0/applications/{name}",
            Self::Image(..) => "/1.0/applications/{name}/{version}",
            Self::Manifest(..) => "/1.0/applications/{name}/{version}/manifest",
            Self::RegistryApplications => "/1.0/registry/applications",
            Self::RegistryApplication(_) => "/1.0/registry/applications/{name}",
            Self::Uploads => "/1.0/uploads",
            Self::Upload(_) => "/1.0/uploads/{id}",
            Self::Events => "/1.0/events",
            Self::Operations => "/1.0/operations",
            Self::Operation(_) => "/1.0/operations/{id}",
            Self::OperationWait(_) => "/1.0/operations/{id}/wait",
            Self::Certificates => "/1.0/certificates",
            Self::Certificate(_) => "/1.0/certificates/{fingerprint}",
            Self::RevokeCertificate(_) => "/1.0/certificates/{fingerprint}/revoke",
            Self::Rebuild => "/1.0/maintenance/rebuild",
            Self::CollectGarbage => "/1.0/maintenance/collect-garbage",
            Self::Verify => "/1.0/maintenance/verify",
            Self::CopyStorage => "/1.0/maintenance/copy-storage",
            Self::CheckStorage => "/1.0/maintenance/check-storage",
            Self::Metrics => "/1.0/metrics",
            Self::Summary => "/1.0/summary",
        }
    }

    /// What `method` needs on this path.
    ///
    /// # Errors
    /// The path does not take the method.
    pub(crate) fn need(&self, method: &Method) -> Result<Need, ApiError> {
        let allowed = match self {
            Self::Root
            | Self::Service
            | Self::Status
            | Self::Version
            | Self::Manifest(..)
            | Self::RegistryApplications
            | Self::Operations
            | Self::Operation(_)
            | Self::OperationWait(_)
            | Self::Metrics
            | Self::Summary => "GET, HEAD",
            Self::Uploads => "OPTIONS, POST",
            Self::Upload(_) => "HEAD, OPTIONS, PATCH, DELETE",
            Self::Events => "GET",
            Self::Applications => "GET, HEAD, POST, DELETE",
            Self::Application(_) => "GET, HEAD, PATCH, DELETE",
            Self::Image(..) => "GET, HEAD, PUT, PATCH, DELETE",
            Self::RegistryApplication(_) => "DELETE",
            Self::Certificates => "GET, HEAD, POST",
            Self::Certificate(_) => "GET, HEAD, DELETE",
            Self::RevokeCertificate(_)
            | Self::Rebuild
            | Self::CollectGarbage
            | Self::Verify
            | Self::CopyStorage
            | Self::CheckStorage => "POST",
        };
        if !allowed.split(", ").any(|name| name == method.as_str()) {
            return Err(ApiError::method_not_allowed(allowed));
        }
        Ok(match self {
            Self::Root | Self::Service | Self::Status | Self::Version => Need::Nothing,
            Self::Uploads | Self::Upload(_) => Need::Write,
            _ if self.is_administration() => Need::Administer,
            _ if matches!(*method, Method::GET | Method::HEAD) => Need::Read,
            _ => Need::Write,
        })
    }

    /// The parameters that `method` takes in the query.
    pub(crate) fn parameters(&self, method: &Method) -> &'static [&'static str] {
        match (self, method) {
            (Self::Applications, &Method::GET | &Method::HEAD) => LIST_PARAMETERS,
            (Self::Image(..), &Method::PATCH) => &[],
            (Self::Image(..), _) => &["architecture"],
            (Self::RegistryApplications | Self::Operations, _) => &["recursion"],
            (Self::Events, _) => &["type"],
            (Self::OperationWait(_), _) => &["timeout"],
            (Self::Certificates, &Method::GET | &Method::HEAD) => &["recursion", "revoked"],
            (Self::Certificate(_), &Method::DELETE) => &["source"],
            (Self::CollectGarbage, _) => &["dry-run", "grace"],
            _ => &[],
        }
    }

    fn is_administration(&self) -> bool {
        matches!(
            self,
            Self::Certificates
                | Self::Certificate(_)
                | Self::RevokeCertificate(_)
                | Self::Rebuild
                | Self::CollectGarbage
                | Self::Verify
                | Self::CopyStorage
                | Self::CheckStorage
                | Self::Metrics
                | Self::Summary
        )
    }
}

const LIST_PARAMETERS: &[&str] = &[
    "recursion",
    "offset",
    "limit",
    "id",
    "name",
    "status",
    "instance_type",
    "boot_package",
    "published",
    "immutable",
    "abi",
    "addons",
    "inhibit_auto_updates",
    "tags",
    "parent_image_variant",
    "architecture",
    "vm",
];

fn unknown() -> ApiError {
    ApiError::not_found("there is no such path; the API begins at /1.0")
}

fn decode(segment: &str) -> Result<Cow<'_, str>, ApiError> {
    percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| ApiError::bad_request("the path is not UTF-8 once it is percent-decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: Peer =
        Peer::Network(std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1));

    #[test]
    fn administration_is_not_on_the_network() {
        for path in [
            "/1.0/certificates",
            "/1.0/certificates/00",
            "/1.0/certificates/00/revoke",
            "/1.0/maintenance/verify",
            "/1.0/maintenance/copy-storage",
            "/1.0/maintenance/check-storage",
            "/1.0/metrics",
            "/1.0/summary",
        ] {
            assert!(Route::find(path, Peer::Socket).is_ok(), "{path}");
            let error = Route::find(path, NETWORK).unwrap_err();
            assert_eq!(error.status, 404, "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_stays_within_its_segment() {
        let route = Route::find("/1.0/applications/..%2f..%2fetc", NETWORK).unwrap();
        assert_eq!(route, Route::Application("../../etc".into()));
        assert!(
            Route::find("/1.0/applications/../status", NETWORK)
                .is_ok_and(|r| r == Route::Image("..".into(), "status".into()))
        );
        assert_eq!(Route::find("/1.0/applications/%ff", NETWORK).unwrap_err().status, 400);
    }

    #[test]
    fn a_target_that_is_no_path_is_not_found() {
        for target in ["", "*", "registry:443", "1.0/status"] {
            assert_eq!(Route::find(target, NETWORK).unwrap_err().status, 404, "{target}");
        }
    }

    #[test]
    fn a_path_says_which_methods_it_takes() {
        let error = Route::Status.need(&Method::DELETE).unwrap_err();
        assert_eq!((error.status.as_u16(), error.header.unwrap().1), (405, "GET, HEAD".parse().unwrap()));
        assert_eq!(Route::Image(String::new(), String::new()).need(&Method::PUT).unwrap(), Need::Write);
        assert_eq!(Route::Certificates.need(&Method::GET).unwrap(), Need::Administer);
    }
}
