//! Who calls, and what they may do. Decided anew for every request, so that trusting and revoking act at once.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use aar_model::{Fingerprint, Role};
use aar_store::{BodyError, BodyStream, Standing, Trust, Viewer};
use futures_util::stream;

use crate::api::Api;
use crate::error::ApiError;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where it is.
    pub peer: Peer,
    /// What it showed.
    pub identity: Identity,
}

/// Where a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// On the network. What a forwarded-for header says is not believed.
    Network(SocketAddr),
    /// On the daemon's Unix socket.
    Socket,
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The daemon's Unix socket: file permissions vouch for it.
    Administrator,
    /// No certificate.
    Anonymous,
    /// A certificate; times are Unix seconds.
    Certificate {
        /// SHA-256 over the leaf's DER.
        fingerprint: Fingerprint,
        /// Valid from.
        not_before: i64,
        /// Valid until.
        not_after: i64,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Socket => f.write_str("socket"),
        }
    }
}

impl Caller {
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        match self.identity {
            Identity::Certificate { fingerprint, .. } => Some(fingerprint),
            Identity::Administrator | Identity::Anonymous => None,
        }
    }
}

/// An image on its way in, which ends with an error once its sender may not push any more. The end is looked at as well:
/// a slow sender must not outlive its certificate.
pub(crate) fn while_publisher(api: &Arc<Api>, caller: &Caller, mut body: BodyStream) -> BodyStream {
    let (api, caller) = (Arc::clone(api), caller.clone());
    Box::pin(stream::poll_fn(move |cx| {
        let next = ready!(body.as_mut().poll_next(cx));
        Poll::Ready(match Access::of(&caller, api.parts.trust.as_ref()) {
            Access::Administrator | Access::Trusted(Role::Publisher) => next,
            Access::Trusted(Role::Client) => Some(Err(BodyError::Forbidden)),
            Access::Untrusted(reason) => Some(Err(BodyError::Untrusted(reason))),
        })
    }))
}

/// What is needed for a request, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Nothing,
    Read,
    Write,
    Administer,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Administrator,
    Trusted(Role),
    Untrusted(&'static str),
}

impl Access {
    /// What `caller` may do just now.
    pub(crate) fn of(caller: &Caller, trust: &dyn Trust) -> Self {
        match caller.identity {
            Identity::Administrator => Self::Administrator,
            Identity::Anonymous => Self::Untrusted(
                "no client certificate was shown; show one that the registry's operator has added with `aar trust add`",
            ),
            Identity::Certificate { fingerprint, not_before, not_after } => {
                match trust.standing(&fingerprint) {
                    Standing::Revoked => Self::Untrusted(
                        "the client certificate is revoked, which is final; make a new key and certificate",
                    ),
                    Standing::Unknown => Self::Untrusted(
                        "the client certificate is not known; the registry's operator adds it with `aar trust add`",
                    ),
                    Standing::Trusted(role) => match unix_now() {
                        now if now < not_before => Self::Untrusted(
                            "the client certificate is not valid yet; set the clock, or renew the certificate",
                        ),
                        now if now > not_after => {
                            Self::Untrusted("the client certificate has expired; renew it, or set the clock")
                        }
                        _ => {
                            trust.note_seen(&fingerprint);
                            Self::Trusted(role)
                        }
                    },
                }
            }
        }
    }

    /// Lets the caller pass, or says why not.
    pub(crate) fn require(self, need: Need, method: &hyper::Method) -> Result<(), ApiError> {
        match (self, need) {
            (Self::Administrator, _)
            | (_, Need::Nothing)
            | (Self::Trusted(_), Need::Read)
            | (Self::Trusted(Role::Publisher), Need::Write) => Ok(()),
            (Self::Untrusted(reason), _) => Err(ApiError::untrusted(reason)),
            (Self::Trusted(role), _) => Err(ApiError::forbidden(format!(
                "a {role} may not do this ({method} needs the role publisher); ask the registry's operator"
            ))),
        }
    }

    pub(crate) fn is_trusted(self) -> bool {
        !matches!(self, Self::Untrusted(_))
    }

    pub(crate) fn role(self) -> Option<Role> {
        match self {
            Self::Administrator => Some(Role::Publisher),
            Self::Trusted(role) => Some(role),
            Self::Untrusted(_) => None,
        }
    }

    /// With whose eyes the registry is read.
    pub(crate) fn viewer(self) -> Viewer {
        if self.role() == Some(Role::Publisher) { Viewer::Publisher } else { Viewer::Client }
    }
}

fn unix_now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
