//! What S3 says, told so that somebody can mend it.
//!
//! rusoto knows few of S3's errors by name. Most arrive as a status and a document, which are read here. Nothing else is
//! kept of an answer: S3 repeats what was signed in some of them.

use std::fmt::Debug;

use aar_store::{Cause, Error};
use jiff::Timestamp;
use rusoto_core::RusotoError;
use rusoto_core::request::BufferedHttpResponse;

use crate::action::Action;

/// What keeps the registry from its bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S3Error {
    /// The policy does not permit it.
    #[error("{permission} on {resource} is denied; add it to the policy of the registry's user or role")]
    Denied {
        /// The action that is missing.
        permission: &'static str,
        /// What it has to be permitted on.
        resource: String,
    },
    /// The access key or its secret is wrong.
    #[error("the store does not accept the access key ({code}); check access-key and secret-access-key")]
    WrongKey {
        /// S3's name of the error.
        code: String,
    },
    /// The bucket lies elsewhere.
    #[error("bucket {bucket} is not in region {region}; {}", advice(right.as_deref()))]
    WrongRegion {
        /// The bucket.
        bucket: String,
        /// The region that is configured.
        region: String,
        /// The region that S3 names.
        right: Option<String>,
    },
    /// The clocks of registry and store differ too much for signatures.
    #[error("the registry's clock is {}; set the machine's clock by NTP", wrong_by(*seconds_ahead))]
    ClockSkew {
        /// How much the registry's clock is ahead of the store's.
        seconds_ahead: Option<i64>,
    },
    /// There is no such bucket.
    #[error("there is no bucket {bucket}; create it, or correct bucket, region or endpoint")]
    NoBucket {
        /// The bucket.
        bucket: String,
    },
    /// The credentials of an instance profile have expired.
    #[error("the credentials have expired ({code}); new ones are fetched from the instance profile")]
    Expired {
        /// S3's name of the error.
        code: String,
    },
    /// There are no credentials.
    #[error("there are no credentials: {0}")]
    NoCredentials(String),
    /// No answer came.
    #[error("no answer from the store: {0}")]
    Unreachable(String),
    /// An answer came that cannot be understood.
    #[error("the store's answer makes no sense: {0}")]
    Garbled(String),
    /// No object can hold the image.
    #[error("an object has 5 TiB at most")]
    TooBig(u64),
    /// Any other refusal.
    #[error("the store answers {status} {code}: {message}")]
    Refused {
        /// HTTP's status.
        status: u16,
        /// S3's name of the error.
        code: String,
        /// S3's words.
        message: String,
    },
}

fn advice(right: Option<&str>) -> String {
    match right {
        Some(right) => format!("set region to {right}"),
        None => "set region to where it was created".into(),
    }
}

fn wrong_by(seconds_ahead: Option<i64>) -> String {
    match seconds_ahead {
        Some(seconds @ 0..) => format!("{seconds} s ahead of the store's"),
        Some(seconds) => format!("{} s behind the store's", seconds.unsigned_abs()),
        None => "too far from the store's".into(),
    }
}

/// The bucket that a request was for, as errors name it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) region: String,
    pub(crate) bucket: String,
}

impl S3Error {
    pub(crate) fn new<E: Debug>(error: RusotoError<E>, action: Action, place: &Place) -> Self {
        match error {
            RusotoError::Unknown(response) => Self::answered(&response, action, place),
            // The few errors that rusoto knows are named as S3 names them, and do not keep the status.
            RusotoError::Service(error) => {
                let text = format!("{error:?}");
                let code = text.split('(').next().unwrap_or_default();
                Self::refused(404, code, String::new(), action, place)
            }
            RusotoError::HttpDispatch(error) => Self::Unreachable(error.to_string()),
            RusotoError::Credentials(error) => Self::NoCredentials(error.message),
            RusotoError::Validation(problem) | RusotoError::ParseError(problem) => Self::Garbled(problem),
            RusotoError::Blocking => Self::Garbled("rusoto could not send the request".into()),
        }
    }

    fn answered(response: &BufferedHttpResponse, action: Action, place: &Place) -> Self {
        let body = String::from_utf8_lossy(&response.body);
        let status = response.status.as_u16();
        let code = element(&body, "Code").unwrap_or_default();
        if status == 301
            || matches!(code, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
        {
            let header = response.headers.get("x-amz-bucket-region").map(String::as_str);
            let right = header.or_else(|| element(&body, "Region"));
            if status == 301 || right.is_some_and(|right| right != place.region) {
                return Self::WrongRegion {
                    bucket: place.bucket.clone(),
                    region: place.region.clone(),
                    right: right.map(sanitised),
                };
            }
        }
        if code == "RequestTimeTooSkewed" {
            let server: Option<Timestamp> = element(&body, "ServerTime").and_then(|time| time.parse().ok());
            let ahead = server.map(|server| Timestamp::now().as_second() - server.as_second());
            return Self::ClockSkew { seconds_ahead: ahead };
        }
        let message = element(&body, "Message").map(sanitised).unwrap_or_default();
        Self::refused(status, code, message, action, place)
    }

    fn refused(status: u16, code: &str, message: String, action: Action, place: &Place) -> Self {
        match code {
            "NoSuchBucket" => Self::NoBucket { bucket: place.bucket.clone() },
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" => Self::WrongKey { code: code.into() },
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken" => {
                Self::Expired { code: code.into() }
            }
            // Stores on a file system answer so where another request removes the folder with its last object meanwhile.
            "NoSuchKey" if action == Action::PutObject => {
                Self::Garbled("it misses an object that is being written".into())
            }
            // An answer to HEAD has no document.
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "" if status == 403 => Self::Denied {
                permission: action.permission(),
                resource: action.resource(&place.region, &place.bucket),
            },
            _ => Self::Refused { status, code: sanitised(code), message },
        }
    }

    /// Whether there is no such object or upload.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, code, .. }
            if matches!(code.as_str(), "" | "NoSuchKey" | "NotFound" | "NoSuchUpload"))
    }

    /// Whether the store itself says that there is no such upload; a 404 without a name may be of something before it.
    pub(crate) fn is_no_upload(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "NoSuchUpload")
    }

    /// Whether there may be more behind it: an answer to HEAD has no document, and a wrong key looks like any refusal.
    pub(crate) fn is_unexplained(&self) -> bool {
        matches!(self, Self::Denied { .. })
            || matches!(self, Self::Refused { status: 400, code, .. } if code.is_empty())
    }

    /// Whether the same request may succeed when it is sent again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Garbled(_) | Self::Expired { .. } => true,
            Self::Refused { status, code, .. } => {
                matches!(status, 409 | 429 | 500 | 502..=504)
                    || matches!(code.as_str(), "RequestTimeout" | "BadDigest" | "IncompleteBody" | "SlowDown")
            }
            _ => false,
        }
    }

    /// The store's error for this one, which came up when `verb` was done to `key`.
    pub(crate) fn at(self, verb: &str, key: &str) -> Error {
        let action = format!("{verb} `{key}`");
        match &self {
            Self::Denied { permission, resource } => {
                Error::Denied { action: format!("{permission} on {resource}"), source: self.into() }
            }
            Self::Refused { status, code, .. }
                if *status == 507 || code.contains("Quota") || code.contains("StorageFull") =>
            {
                Error::NoSpace(self.into())
            }
            &Self::TooBig(size) => Error::TooLarge(size, self.into()),
            Self::NoCredentials(_) => Error::OutOfReach(self.into()),
            passing if passing.may_pass() => Error::OutOfReach(self.into()),
            Self::WrongKey { .. } | Self::ClockSkew { .. } | Self::Refused { status: 403, .. } => {
                Error::Denied { action, source: self.into() }
            }
            _ => Error::Io { action, source: self.into() },
        }
    }
}

/// The store's error for an object that cannot be what the registry wrote.
pub(crate) fn corrupt(key: &str, problem: impl Into<Cause>) -> Error {
    Error::Corrupt { what: format!("`{key}`"), source: problem.into() }
}

/// The text of the first element of this name that holds nothing but text.
pub(crate) fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text.trim())
}

/// What of foreign words is fit for a line of log.
pub(crate) fn sanitised(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use aar_store::Error;
    use hyper_0_14::{HeaderMap, StatusCode};
    use rusoto_core::RusotoError;
    use rusoto_core::request::BufferedHttpResponse;
    use rusoto_s3::GetObjectError;

    use super::{Place, S3Error};
    use crate::action::Action;

    #[test]
    fn a_denied_action_names_permission_and_resource() {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>User: \
                    arn:aws:iam::123456789012:user/aar is not authorized to perform: s3:AbortMultipartUpload\
                    </Message><RequestId>4442587FB7D0A2F9</RequestId></Error>";
        let error = answered(403, body, Action::AbortMultipartUpload).at("write", "k");
        assert_eq!(error.to_string(), "the store denies s3:AbortMultipartUpload on arn:aws:s3:::aar0/*");
        let error = answered(403, "", Action::ListBucket).at("list", "k");
        assert_eq!(error.to_string(), "the store denies s3:ListBucket on arn:aws:s3:::aar0");
    }

    #[test]
    fn a_wrong_region_names_the_right_one() {
        let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is \
                         malformed; the region 'us-east-1' is wrong; expecting 'eu-west-3'</Message>\
                         <Region>eu-west-3</Region></Error>";
        let moved = "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access must be \
                     addressed using the specified endpoint.</Message><Endpoint>aar0.s3.eu-west-3.amazonaws.com\
                     </Endpoint></Error>";
        for (status, body, header) in
            [(400, malformed, None), (301, moved, Some("eu-west-3")), (301, "", Some("eu-west-3"))]
        {
            let mut headers = HeaderMap::default();
            if let Some(region) = header {
                headers.insert("x-amz-bucket-region", region.to_owned());
            }
            let error = error(status, body, headers, Action::ListBucket);
            assert_eq!(
                error.to_string(),
                "bucket aar0 is not in region us-east-1; set region to eu-west-3",
                "{status}"
            );
            assert!(matches!(error.at("list", "k"), Error::Io { .. }));
        }
    }

    #[test]
    fn a_wrong_clock_is_told_with_its_direction() {
        let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and \
                    the current time is too large.</Message><RequestTime>20200101T000000Z</RequestTime>\
                    <ServerTime>2020-01-01T00:00:00Z</ServerTime>\
                    <MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds></Error>";
        let error = answered(403, body, Action::PutObject);
        assert!(matches!(error, S3Error::ClockSkew { seconds_ahead: Some(100_000_000..) }), "{error:?}");
        assert!(error.to_string().contains("s ahead of the store's"));
        assert!(matches!(error.at("write", "k"), Error::Denied { .. }));
    }

    #[test]
    fn a_wrong_key_shows_nothing_of_what_was_signed() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not \
                    match</Message><AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 S3CRET\
                    </StringToSign><SignatureProvided>S3CRET</SignatureProvided></Error>";
        let error = answered(403, body, Action::PutObject);
        assert_eq!(error, S3Error::WrongKey { code: "SignatureDoesNotMatch".into() });
        assert!(!format!("{error:?} {error}").contains("S3CRET"));
    }

    #[test]
    fn what_may_pass_by_itself_is_out_of_reach_and_tried_again() {
        let code = |code| format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
        for (status, name) in [(503, "SlowDown"), (500, "InternalError"), (400, "ExpiredToken"), (502, "")] {
            let error = answered(status, &code(name), Action::PutObject);
            assert!(error.may_pass(), "{error:?}");
            assert!(matches!(error.at("write", "k"), Error::OutOfReach(_)), "{status} {name}");
        }
        for name in ["RequestTimeout", "BadDigest"] {
            assert!(answered(400, &code(name), Action::PutObject).may_pass());
        }
        for (status, name) in [(403, "AccessDenied"), (400, "InvalidArgument"), (501, "NotImplemented")] {
            assert!(!answered(status, &code(name), Action::PutObject).may_pass(), "{status} {name}");
        }
    }

    #[test]
    fn a_full_store_has_no_space() {
        for (status, code) in [(507, "XMinioStorageFull"), (403, "QuotaExceeded"), (507, "")] {
            let body = format!("<Error><Code>{code}</Code></Error>");
            let error = answered(status, &body, Action::PutObject);
            assert!(matches!(error.at("write", "k"), Error::NoSpace(_)), "{status} {code}");
        }
    }

    #[test]
    fn a_missing_object_is_told_from_a_missing_bucket() {
        let typed = RusotoError::Service(GetObjectError::NoSuchKey("gone".into()));
        assert!(S3Error::new(typed, Action::GetObject, &place()).is_missing());
        assert!(answered(404, "", Action::GetObject).is_missing());
        let body = "<Error><Code>NoSuchBucket</Code><BucketName>aar0</BucketName></Error>";
        let error = answered(404, body, Action::GetObject);
        assert!(!error.is_missing());
        assert_eq!(error, S3Error::NoBucket { bucket: "aar0".into() });
    }

    #[test]
    fn foreign_words_cannot_forge_lines_of_log() {
        let body = format!("<Error><Code>a\nb</Code><Message>\x1b[2J{}</Message></Error>", "x".repeat(5000));
        let text = answered(418, &body, Action::PutObject).to_string();
        assert!(!text.contains(char::is_control) && text.len() < 700, "{text}");
    }

    fn answered(status: u16, body: &str, action: Action) -> S3Error {
        error(status, body, HeaderMap::default(), action)
    }

    fn error(status: u16, body: &str, headers: HeaderMap<String>, action: Action) -> S3Error {
        let status = StatusCode::from_u16(status).unwrap();
        let response = BufferedHttpResponse { status, body: body.to_owned().into(), headers };
        S3Error::new(RusotoError::<GetObjectError>::Unknown(response), action, &place())
    }

    fn place() -> Place {
        Place { region: "us-east-1".into(), bucket: "aar0".into() }
    }
}
