//! One HTTP/1.1 connection, over TLS or a Unix socket.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aar_tls::{Connector, TlsError};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use crate::error::{Cause, Error, Result};
use crate::rate::{Limited, RateLimit};

/// For TCP, TLS and HTTP together.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// A peer that has vanished is noticed after so long, also while nothing is due from it.
const DEAD_AFTER: Duration = Duration::from_secs(60);
/// Bounds what is read ahead of a consumer that is slower than the network.
const BUFFER: usize = 256 * 1024;

/// A request's body.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// A request.
pub(crate) type Request = hyper::Request<Body>;

/// Where a registry is, or the store of its images, and how fast bytes may move from and to there.
pub(crate) struct Endpoint {
    place: Place,
    limit: Option<Arc<RateLimit>>,
}

enum Place {
    /// A host on the network.
    Tls { connector: Connector, host: String, port: u16 },
    /// A store that is reached without TLS: its URLs are signed, and the images are verified.
    Plain { host: String, port: u16 },
    /// The daemon on this machine.
    Unix(PathBuf),
}

impl Endpoint {
    /// A host on the network.
    pub(crate) fn tls(connector: Connector, host: String, port: u16) -> Self {
        Self { place: Place::Tls { connector, host, port }, limit: None }
    }

    /// The daemon on this machine.
    pub(crate) fn unix(path: PathBuf) -> Self {
        Self { place: Place::Unix(path), limit: None }
    }

    /// The same under a limit.
    pub(crate) fn limited(self, limit: Option<Arc<RateLimit>>) -> Self {
        Self { limit, ..self }
    }

    /// The limit.
    pub(crate) fn limit(&self) -> Option<Arc<RateLimit>> {
        self.limit.clone()
    }

    /// Where the registry sends its clients for an image.
    pub(crate) fn of_store(url: &Url) -> Result<Self> {
        let wrong = || Error::Protocol("it sends to an address for the image that cannot be used".to_owned());
        let host = url.host_str().ok_or_else(wrong)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(wrong)?;
        match url.scheme() {
            "http" => Ok(Self { place: Place::Plain { host, port }, limit: None }),
            "https" => {
                let connector = Connector::public().map_err(|e| Error::Protocol(e.to_string()))?;
                Ok(Self::tls(connector, host, port))
            }
            _ => Err(wrong()),
        }
    }

    /// The address, for people.
    fn address(&self) -> String {
        match &self.place {
            Place::Tls { host, port, .. } | Place::Plain { host, port } => format!("{host}:{port}"),
            Place::Unix(path) => path.display().to_string(),
        }
    }

    /// What the header `Host` says.
    pub(crate) fn authority(&self) -> String {
        match self.place {
            Place::Tls { .. } | Place::Plain { .. } => self.address(),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the connection took too long to open");
        match timeout(CONNECT_LIMIT, self.open()).await {
            Ok(connection) => connection,
            Err(_) => Err(self.unreachable(late())),
        }
    }

    async fn open(&self) -> Result<Connection> {
        let io = self.dial().await?;
        let io = match self.limit() {
            None => io,
            Some(limit) => Box::new(Limited::new(io, limit)),
        };
        let io = TokioIo::new(AnswerFirst { io, closed: false });
        let mut builder = http1::Builder::new();
        let (sender, driver) =
            builder.max_buf_size(BUFFER).handshake(io).await.map_err(|e| self.unreachable(e))?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // An error reaches whoever waits for the answer.
            let _ = driver.await;
        });
        Ok(Connection { sender, _task: task })
    }

    /// Opens what bytes go through; no limit counts there.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Io>> {
        Ok(match &self.place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(|e| self.unreachable(e))?),
            Place::Plain { host, port } => Box::new(self.tcp(host, *port).await?),
            Place::Tls { connector, host, port } => {
                let tcp = self.tcp(host, *port).await?;
                Box::new(connector.connect(tcp, bare(host)).await.map_err(|e| self.no_tls(e))?)
            }
        })
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream> {
        let tcp = TcpStream::connect((bare(host), port)).await.map_err(|e| self.unreachable(e))?;
        tune(&tcp).map_err(|e| self.unreachable(e))?;
        Ok(tcp)
    }

    fn no_tls(&self, error: TlsError) -> Error {
        match error {
            TlsError::NotPinned { pinned, actual } => {
                Error::Pin { address: self.address(), expected: pinned, presented: actual }
            }
            other => self.unreachable(other),
        }
    }

    fn unreachable(&self, source: impl Into<Cause>) -> Error {
        Error::Unreachable { what: "the registry", address: self.address(), source: source.into() }
    }
}

/// The host without the brackets that an IPv6 address has in a URL.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Lets the kernel tell when the peer has vanished, and sends small requests at once.
fn tune(tcp: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, DEAD_AFTER / 2)?;
    sockopt::set_tcp_keepintvl(tcp, DEAD_AFTER / 6)?;
    sockopt::set_tcp_keepcnt(tcp, 3)?;
    let millis = u32::try_from(DEAD_AFTER.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(tcp, millis)?;
    Ok(())
}

/// An open connection. Dropped, it closes, whatever is under way.
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    _task: JoinSet<()>,
}

/// Why a connection gave no answer.
pub(crate) struct NoAnswer {
    /// What went wrong.
    pub(crate) error: hyper::Error,
    /// Whether the request was never sent, so that nothing can have come of it.
    pub(crate) unsent: bool,
}

impl Connection {
    /// Whether it still stands and waits for a request.
    pub(crate) async fn is_usable(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request,
    ) -> std::result::Result<Response<Incoming>, NoAnswer> {
        self.sender.try_send_request(request).await.map_err(|mut refused| {
            let unsent = refused.take_message().is_some();
            NoAnswer { error: refused.into_error(), unsent }
        })
    }
}

/// What bytes go through.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Lets an answer be read that came before the peer stopped listening: a registry that refuses a push answers and closes
/// while the body is still on its way. Once the peer has closed, writing waits instead of failing, and the end of the
/// reading side, which is sure to come, ends the connection.
struct AnswerFirst {
    io: Box<dyn Io>,
    closed: bool,
}

impl AnswerFirst {
    fn write<T>(
        &mut self,
        step: impl FnOnce(Pin<&mut dyn Io>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.closed {
            return Poll::Pending;
        }
        match step(Pin::new(&mut *self.io)) {
            Poll::Ready(Err(e))
                if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.closed = true;
                Poll::Pending
            }
            done => done,
        }
    }
}

impl AsyncRead for AnswerFirst {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for AnswerFirst {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|io| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|io| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|io| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
