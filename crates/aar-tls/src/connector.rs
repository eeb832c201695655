use std::net::IpAddr;
use std::pin::Pin;

use aar_model::Fingerprint;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::acceptor::context;
use crate::batch::Batch;
use crate::{Identity, TimeLimits, TlsError, TlsStream};

/// The protocol that the client speaks over TLS, with its length before it.
const PROTOCOLS: &[u8] = b"\x08http/1.1";

/// Makes TLS connections to servers that it can tell from others.
#[derive(Clone)]
pub struct Connector {
    context: SslContext,
    /// The one server's certificate; where there is none, the system's authorities vouch for the host's name.
    pinned: Option<Fingerprint>,
    limits: TimeLimits,
}

impl Connector {
    /// A connector that shows the certificate of `client`, if any, and goes through with the one server whose certificate
    /// has the fingerprint `pinned`. Nothing else of the server's certificate counts: not its names, dates or issuer.
    pub fn new(client: Option<&Identity>, pinned: Fingerprint) -> Result<Self, TlsError> {
        let mut context = context(SslMethod::tls_client())?;
        if let Some(identity) = client {
            identity.install(&mut context)?;
        }
        context.set_verify(SslVerifyMode::NONE);
        context.set_alpn_protos(PROTOCOLS)?;
        Ok(Self { context: context.build(), pinned: Some(pinned), limits: TimeLimits::default() })
    }

    /// A connector to servers on the internet: their certificates are from an authority that the system trusts and for the
    /// host that is connected to. It shows no certificate of its own.
    pub fn public() -> Result<Self, TlsError> {
        let mut context = context(SslMethod::tls_client())?;
        context.set_default_verify_paths()?;
        context.set_verify(SslVerifyMode::PEER);
        context.set_alpn_protos(PROTOCOLS)?;
        Ok(Self { context: context.build(), pinned: None, limits: TimeLimits::default() })
    }

    /// The same connector with other time limits.
    #[must_use]
    pub fn with_limits(self, limits: TimeLimits) -> Self {
        Self { limits, ..self }
    }

    /// Does the handshake. `host` is told to the server where it is a DNS name.
    pub async fn connect(&self, socket: TcpStream, host: &str) -> Result<TlsStream, TlsError> {
        timeout(self.limits.handshake, self.handshake(socket, host)).await.map_err(|_| TlsError::TimedOut)?
    }

    async fn handshake(&self, socket: TcpStream, host: &str) -> Result<TlsStream, TlsError> {
        socket.set_nodelay(true)?;
        let mut ssl = Ssl::new(&self.context)?;
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            ssl.param_mut().set_ip(address)?;
        } else {
            ssl.set_hostname(host)?;
            ssl.param_mut().set_host(host)?;
        }
        let transport = Batch::new(socket, self.limits.stalled_write);
        let stream =
            TlsStream::handshake(ssl, transport, |stream, cx| Pin::new(stream).poll_connect(cx)).await?;
        let actual = stream.peer().ok_or(TlsError::NoServerCertificate)?.fingerprint;
        match self.pinned {
            Some(pinned) if pinned != actual => Err(TlsError::NotPinned { pinned, actual }),
            _ => Ok(stream),
        }
    }
}
