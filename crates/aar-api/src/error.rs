//! One function a source of errors turns it into HTTP.

use std::borrow::Cow;
use std::error::Error as StdError;

use aar_model::wire::tus;
use aar_store::{BodyError, Cause, CopyError, Error, RegistryError, TrustError};
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_RANGE, HeaderName, HeaderValue, RETRY_AFTER};

/// A request that is not done: the status, what the caller is told, and what only the log says.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
    /// For the log: callers are not told of paths and operating system errors.
    pub(crate) cause: Option<Cause>,
}

/// Seconds after which a caller may try again where the store is out of reach.
const RETRY_AFTER_SECONDS: u16 = 30;

/// Seconds after which a caller may try again where an upload is held up.
const UPLOAD_RETRY_AFTER_SECONDS: u16 = 1;

/// The status that tus has for it.
fn checksum_mismatch() -> StatusCode {
    StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST)
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), header: None, cause: None }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// `reason` says what mends it, too.
    pub(crate) fn untrusted(reason: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, format!("not trusted: {reason}"))
    }

    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {allowed}"))
            .with_header(ALLOW, HeaderValue::from_static(allowed))
    }

    pub(crate) fn upgrade_required(message: &'static str, name: HeaderName, value: &'static str) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, message).with_header(name, HeaderValue::from_static(value))
    }

    pub(crate) fn too_large(limit: &str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is too large; the limit is {limit}"))
    }

    pub(crate) fn range_not_satisfiable(size: u64) -> Self {
        let error = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, format!("the image has {size} bytes"));
        match HeaderValue::try_from(format!("bytes */{size}")) {
            Ok(value) => error.with_header(CONTENT_RANGE, value),
            Err(_) => error,
        }
    }

    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        let message = "the registry failed; its log says why under this request's X-Request-Id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message).with_cause(cause)
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    fn with_cause(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    fn try_again(message: &'static str, cause: impl Into<Cause>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS.into())
            .with_cause(cause)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) => Self::not_found(error.to_string()),
            Error::Mismatch { .. } => Self::bad_request(format!("{error}; nothing was kept")),
            Error::TooLarge(_, ref cause) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{error}: {cause}"))
            }
            Error::NoSpace(cause) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "no space is left in the registry's storage; nothing was kept",
            )
            .with_cause(cause),
            Error::OutOfReach(cause) => Self::try_again("the registry's storage is out of reach", cause),
            Error::Denied { .. } => Self::try_again("the registry may not use its storage", error),
            Error::Corrupt { .. } => Self::try_again(
                "the registry's storage is damaged; its operator runs `aar maintenance verify`",
                error,
            ),
            Error::Io { .. } => Self::try_again("the registry's storage failed", error),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Invalid(message) => Self::bad_request(message),
            RegistryError::NotFound(message) => Self::not_found(message),
            RegistryError::Conflict(message) => Self::new(StatusCode::CONFLICT, message),
            RegistryError::PreconditionFailed(_) => {
                Self::new(StatusCode::PRECONDITION_FAILED, error.to_string())
            }
            RegistryError::WrongOffset(offset) => Self::new(StatusCode::CONFLICT, error.to_string())
                .with_header(HeaderName::from_static(tus::OFFSET), offset.into()),
            RegistryError::Locked => Self::new(StatusCode::LOCKED, error.to_string())
                .with_header(RETRY_AFTER, UPLOAD_RETRY_AFTER_SECONDS.into()),
            RegistryError::TooMany(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
            RegistryError::TooLong(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            RegistryError::Interrupted => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                .with_header(RETRY_AFTER, UPLOAD_RETRY_AFTER_SECONDS.into()),
            RegistryError::Body(BodyError::Checksum) => Self::new(checksum_mismatch(), error.to_string()),
            RegistryError::Body(BodyError::Untrusted(reason)) => Self::untrusted(reason),
            RegistryError::Body(BodyError::Forbidden) => Self::forbidden(error.to_string()),
            RegistryError::Body(BodyError::Idle(_)) => {
                Self::new(StatusCode::REQUEST_TIMEOUT, error.to_string())
            }
            RegistryError::Body(body) => {
                let BodyError::Cut(cause) = body else { return Self::bad_request(body.to_string()) };
                Self::bad_request("the body was cut off").with_cause(cause)
            }
            RegistryError::Store(error) => error.into(),
        }
    }
}

/// Administrators are told the cause, too: it is theirs to mend.
impl From<CopyError> for ApiError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Unsettled => Self::new(StatusCode::CONFLICT, error.to_string()),
            CopyError::Source(error) => error.into(),
            CopyError::Target(error @ Error::NoSpace(_)) => {
                let message = format!("cannot copy to the other storage: {}", chain(&error));
                Self::new(StatusCode::INSUFFICIENT_STORAGE, message)
            }
            CopyError::Target(_) => {
                let message = format!("{}; mend it, then copy again to go on", chain(&error));
                Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
                    .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS.into())
            }
        }
    }
}

impl From<TrustError> for ApiError {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::NotFound(_) => Self::not_found(error.to_string()),
            TrustError::Ambiguous { .. } => Self::bad_request(error.to_string()),
            TrustError::Revoked(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            TrustError::Store(error) => error.into(),
        }
    }
}

/// The whole chain of an error in one line.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
