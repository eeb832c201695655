//! TLS for the registry, on OpenSSL.
//!
//! An [`Acceptor`] and a [`Connector`] turn TCP sockets into [`TlsStream`]s. Peers are known by the SHA-256 fingerprint
//! of their certificates, never by a chain to an authority: the server takes whatever certificate a client shows and
//! leaves the judgement to the trust store; the client pins the server's. [`Identity`] is one's own certificate with
//! its key, [`Certificate`] anybody's.

mod acceptor;
mod batch;
mod certificate;
mod connector;
mod error;
mod identity;
mod limits;
mod stream;

pub use acceptor::Acceptor;
pub use certificate::{Certificate, CertificateError, Peer};
pub use connector::Connector;
pub use error::TlsError;
pub use identity::{Identity, IdentityError};
pub use limits::TimeLimits;
pub use stream::TlsStream;
