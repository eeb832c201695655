use std::future::poll_fn;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{
    AlpnError, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode,
    SslVerifyMode, SslVersion, select_next_proto,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::batch::Batch;
use crate::{Identity, TimeLimits, TlsError, TlsStream};

/// The protocols that the server speaks over TLS, the preferred one first, each with its length before it.
const PROTOCOLS: &[u8] = b"\x02h2\x08http/1.1";
/// AES-128 first: twice 128 bits of security would cost more than they gain.
const TLS13_CIPHERS: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
const TLS12_CIPHERS: &str = "ECDHE+AESGCM+AES128:ECDHE+CHACHA20:ECDHE+AESGCM+AES256";
const GROUPS: &str = "X25519:P-256:P-384";
/// How many sessions are remembered, to be resumed.
const SESSIONS: i32 = 128;
/// How long the certificates may be together that a client shows, in bytes of DER. What OpenSSL makes of them takes many
/// times that, for as long as the connection or its session lasts.
const MAX_CERTIFICATES: usize = 32 * 1024;
/// The first byte of a TLS connection: a record that holds a handshake message.
const HANDSHAKE_RECORD: u8 = 0x16;

const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 56\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks TLS: use an address with https:// here\n";

/// Makes TLS connections of the sockets that a server accepts.
#[derive(Clone)]
pub struct Acceptor {
    context: SslContext,
    limits: TimeLimits,
}

impl Acceptor {
    /// An acceptor that shows `identity` and asks clients for a certificate, without insisting.
    pub fn new(identity: &Identity) -> Result<Self, TlsError> {
        let mut context = context(SslMethod::tls_server())?;
        identity.install(&mut context)?;
        context.set_options(SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::PRIORITIZE_CHACHA);
        // Any certificate will do here, expired or not, from whatever issuer: the handshake proves that the client owns
        // it, and whether it is trusted is asked at every request.
        context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        context.set_alpn_select_callback(|_, offered| {
            select_next_proto(PROTOCOLS, offered).ok_or(AlpnError::NOACK)
        });
        // Sessions are kept here, and what clients get is a session's number. To make a ticket that holds the session itself,
        // OpenSSL would decode the client's certificate a second time, which takes about as long as an RSA signature.
        context.set_options(SslOptions::NO_TICKET);
        context.set_session_id_context(b"aar")?;
        context.set_session_cache_mode(SslSessionCacheMode::SERVER);
        context.set_session_cache_size(SESSIONS);
        context.set_num_tickets(1)?;
        Ok(Self { context: context.build(), limits: TimeLimits::default() })
    }

    /// The same acceptor with other time limits.
    #[must_use]
    pub fn with_limits(self, limits: TimeLimits) -> Self {
        Self { limits, ..self }
    }

    /// Does the handshake. A client that does not speak TLS gets a plain-text answer that tells it to.
    pub async fn accept(&self, socket: TcpStream) -> Result<TlsStream, TlsError> {
        timeout(self.limits.handshake, self.handshake(socket)).await.map_err(|_| TlsError::TimedOut)?
    }

    async fn handshake(&self, socket: TcpStream) -> Result<TlsStream, TlsError> {
        socket.set_nodelay(true)?;
        let mut transport = Batch::new(socket, self.limits.stalled_write);
        if poll_fn(|cx| transport.poll_first_byte(cx)).await? != HANDSHAKE_RECORD {
            refuse_plain_text(transport.into_socket()).await?;
            return Err(TlsError::NotTls);
        }
        let stream = TlsStream::handshake(Ssl::new(&self.context)?, transport, |stream, cx| {
            Pin::new(stream).poll_accept(cx)
        })
        .await?;
        // OpenSSL forgets the session of a connection that ends without a goodbye.
        if stream.shown_certificates()? > MAX_CERTIFICATES {
            Err(TlsError::TooManyCertificates)
        } else {
            Ok(stream)
        }
    }
}

/// What both sides of a connection have in common.
pub(crate) fn context(method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContextBuilder::new(method)?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_ciphersuites(TLS13_CIPHERS)?;
    context.set_cipher_list(TLS12_CIPHERS)?;
    context.set_groups_list(GROUPS)?;
    context.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
    context.set_mode(SslMode::RELEASE_BUFFERS);
    context.set_read_ahead(true);
    Ok(context)
}

async fn refuse_plain_text(mut socket: TcpStream) -> std::io::Result<()> {
    socket.write_all(PLAIN_ANSWER).await?;
    socket.shutdown().await?;
    // Closing a socket that holds unread bytes would reset the connection, and the answer might not arrive.
    let mut rest = socket.take(1024 * 1024);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}
