use std::io;

use aar_model::Fingerprint;
use openssl::error::ErrorStack;
use openssl::ssl;

use crate::CertificateError;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// OpenSSL refuses what it was set up with, such as a key that is too weak.
    #[error("cannot set up TLS")]
    Setup(#[from] ErrorStack),
    /// The socket failed or was closed.
    #[error("the connection failed during the TLS handshake")]
    Io(#[from] io::Error),
    /// The peer took too long over the handshake.
    #[error("the TLS handshake took too long")]
    TimedOut,
    /// What the peer said first is not TLS; it got a plain-text answer that says so.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The two sides do not agree, or one of them broke the protocol.
    #[error("the TLS handshake failed: {reason}")]
    Handshake {
        /// OpenSSL's word for it.
        reason: String,
    },
    /// The peer's certificate cannot be read.
    #[error("cannot read the peer's certificate")]
    PeerCertificate(#[from] CertificateError),
    /// The client showed so many certificates, or such long ones, that keeping them would take too much memory.
    #[error("the client shows more than 32 KiB of certificates: its own is enough")]
    TooManyCertificates,
    /// The server showed no certificate.
    #[error("the server shows no certificate")]
    NoServerCertificate,
    /// The server is not the one that was pinned.
    #[error("the server's certificate has fingerprint {actual}, not {pinned} as pinned")]
    NotPinned {
        /// The fingerprint that the server was expected to have.
        pinned: Fingerprint,
        /// The fingerprint that it has.
        actual: Fingerprint,
    },
}

impl From<ssl::Error> for TlsError {
    fn from(error: ssl::Error) -> Self {
        match error.into_io_error() {
            Ok(error) => Self::Io(error),
            Err(error) => Self::Handshake {
                reason: error
                    .ssl_error()
                    .and_then(|stack| stack.errors().first())
                    .and_then(openssl::error::Error::reason)
                    .unwrap_or("the peer closed the connection")
                    .to_owned(),
            },
        }
    }
}
