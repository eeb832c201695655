//! What a store can do wrong, and when it is to.

use std::time::Duration;

use super::iam::Call;

/// Which requests a rule is about. All that is said must hold.
#[derive(Debug, Clone)]
pub struct When {
    operation: Option<String>,
    action: Option<String>,
    key: Option<String>,
    skip: usize,
    times: usize,
}

impl When {
    /// Every request.
    pub fn always() -> Self {
        Self { operation: None, action: None, key: None, skip: 0, times: usize::MAX }
    }

    /// Requests for one operation, such as `UploadPart`.
    pub fn operation(name: &str) -> Self {
        Self { operation: Some(name.into()), ..Self::always() }
    }

    /// Requests that need an action, such as `s3:PutObject`.
    pub fn action(name: &str) -> Self {
        Self { action: Some(name.into()), ..Self::always() }
    }

    /// Only for keys that contain this.
    #[must_use]
    pub fn key(mut self, part: &str) -> Self {
        self.key = Some(part.into());
        self
    }

    /// Not for the first so many.
    #[must_use]
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Only for so many, after those that are skipped.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Whether this request is one; counts it.
    pub(super) fn takes(&mut self, call: &Call) -> bool {
        let about = self.operation.as_ref().is_none_or(|name| *name == call.operation)
            && self
                .action
                .as_ref()
                .is_none_or(|name| call.permissions.iter().any(|needed| needed.action == *name))
            && self.key.as_ref().is_none_or(|part| call.key.as_ref().is_some_and(|key| key.contains(part)));
        if !about {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let left = self.times > 0;
        self.times = self.times.saturating_sub(1);
        left
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset; the store never hears of the request.
    ResetBefore,
    /// The store carries the request out; then the connection is reset instead of an answer.
    ResetAfter,
    /// An error, without asking the store.
    Refuse(Refusal),
    /// Nothing is read and nothing sent for a time once the request's head is there; then it goes on.
    Stall(Duration),
    /// The answer stops half-way for a time, then goes on.
    StallAnswer(Duration),
    /// The connection is closed half-way through the answer.
    Truncate,
    /// Status 200, with a body that is an error; the store has carried the request out only where `forward` says so.
    ErrorBehind200 {
        /// Whether the store gets the request.
        forward: bool,
    },
    /// The answer has a header that is not ASCII.
    HeaderNotAscii,
    /// The answer has another entity tag than the object.
    WrongEtag,
}

/// An error as S3 answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// S3's code, such as `SlowDown`.
    pub code: &'static str,
    /// The message.
    pub message: String,
    /// Further elements of the XML.
    pub more: String,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Fault {
    /// 500: try again.
    pub fn internal_error() -> Self {
        Self::refusal(500, "InternalError", "We encountered an internal error. Please try again.")
    }

    /// 503: too many requests.
    pub fn slow_down() -> Self {
        Self::refusal(503, "SlowDown", "Please reduce your request rate.")
    }

    /// 403: a permission is missing.
    pub fn access_denied() -> Self {
        Self::refusal(403, "AccessDenied", "Access Denied")
    }

    /// 403: the clock of who signed is off.
    pub fn request_time_too_skewed() -> Self {
        let message = "The difference between the request time and the current time is too large.";
        Self::refusal(403, "RequestTimeTooSkewed", message)
    }

    /// 400: temporary credentials have ended.
    pub fn expired_token() -> Self {
        Self::refusal(400, "ExpiredToken", "The provided token has expired.")
    }

    /// 400: signed for another region than the bucket's, which the error names.
    pub fn authorization_header_malformed(region: &str) -> Self {
        let message =
            format!("The authorization header is malformed; the region is wrong; expecting '{region}'");
        let more = format!("<Region>{region}</Region>");
        Self::wrong_region(400, "AuthorizationHeaderMalformed", &message, region, more)
    }

    /// 301: the bucket is in another region, which a header names.
    pub fn permanent_redirect(region: &str) -> Self {
        let message =
            "The bucket you are attempting to access must be addressed using the specified endpoint.";
        let more = format!("<Endpoint>s3.{region}.amazonaws.com</Endpoint>");
        Self::wrong_region(301, "PermanentRedirect", message, region, more)
    }

    /// 404: there is no such bucket.
    pub fn no_such_bucket() -> Self {
        Self::refusal(404, "NoSuchBucket", "The specified bucket does not exist")
    }

    /// 403: the access key is unknown.
    pub fn invalid_access_key_id() -> Self {
        Self::refusal(
            403,
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
        )
    }

    fn refusal(status: u16, code: &'static str, message: &str) -> Self {
        let (more, headers) = (String::new(), Vec::new());
        Self::Refuse(Refusal { status, code, message: message.into(), more, headers })
    }

    fn wrong_region(status: u16, code: &'static str, message: &str, region: &str, more: String) -> Self {
        let headers = vec![("x-amz-bucket-region", region.to_owned())];
        Self::Refuse(Refusal { status, code, message: message.into(), more, headers })
    }
}
