//! The way to the store: straight, or through the proxy that `https_proxy` and its kin name, but for what `no_proxy` does.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_0_14::Uri;
use hyper_0_14::client::HttpConnector;
use hyper_0_14::service::Service;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// For a proxy to reach the store.
const TUNNEL: Duration = Duration::from_secs(10);
/// As much as a proxy may say before the tunnel, in bytes.
const LONGEST: usize = 8 * 1024;

/// Connects to a host, if need be by a tunnel.
#[derive(Clone)]
pub(crate) struct Connector {
    http: HttpConnector,
    proxies: Arc<Matcher>,
}

impl Connector {
    pub(crate) fn new(http: HttpConnector) -> Self {
        Self { http, proxies: Arc::new(Matcher::from_env()) }
    }
}

impl Service<Uri> for Connector {
    type Response = TcpStream;
    type Error = Error;
    type Future = BoxFuture<'static, Result<TcpStream, Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let proxy = target.to_string().parse().ok().and_then(|target| self.proxies.intercept(&target));
        let Some(proxy) = proxy else {
            let connecting = self.http.call(target);
            return Box::pin(async { Ok(connecting.await?) });
        };
        let connecting = proxy.uri().to_string().parse().map(|address| self.http.call(address));
        Box::pin(async move {
            let mut stream =
                connecting?.await.map_err(|error| format!("the proxy cannot be reached: {error}"))?;
            timeout(TUNNEL, tunnel(&mut stream, &target, &proxy))
                .await
                .map_err(|_| format!("the proxy did not reach the store within {} s", TUNNEL.as_secs()))??;
            Ok(stream)
        })
    }
}

/// Asks the proxy for a tunnel, and waits until it is there.
async fn tunnel(stream: &mut TcpStream, target: &Uri, proxy: &Intercept) -> Result<(), Error> {
    let host = target.host().ok_or("the address has no host")?;
    let port = target.port_u16().unwrap_or(if target.scheme_str() == Some("http") { 80 } else { 443 });
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(password) = proxy.basic_auth().and_then(|value| value.to_str().ok()) {
        request = request + "Proxy-Authorization: " + password + "\r\n";
    }
    stream.write_all((request + "\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows is the store's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == LONGEST {
            return Err("the proxy's answer does not end".into());
        }
        answer.push(stream.read_u8().await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "the proxy hung up".into(),
            _ => Error::from(error),
        })?);
    }
    let answer = String::from_utf8_lossy(&answer);
    match answer.split(' ').nth(1) {
        Some(status) if status.starts_with('2') && answer.starts_with("HTTP/1.") => Ok(()),
        _ => Err(format!("the proxy answers `{}`", answer.lines().next().unwrap_or_default().escape_debug())
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A proxy that answers `answer`, and what it was asked.
    async fn proxy(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap().0;
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (address, asked)
    }

    fn connector(proxy: &str, except: &str) -> Connector {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let proxies = Matcher::builder().all(format!("http://user:secret@{proxy}")).no(except).build();
        Connector { http, proxies: Arc::new(proxies) }
    }

    #[tokio::test]
    async fn the_store_is_reached_through_the_proxy_and_its_first_bytes_are_not_lost() {
        let (address, asked) = proxy("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nstore").await;
        let target = "https://aar0.s3.eu-west-3.amazonaws.com/key".parse().unwrap();
        let mut stream = connector(&address, "").call(target).await.unwrap();
        let mut read = String::new();
        stream.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "store");
        assert_eq!(
            asked.await.unwrap(),
            "CONNECT aar0.s3.eu-west-3.amazonaws.com:443 HTTP/1.1\r\n\
             Host: aar0.s3.eu-west-3.amazonaws.com:443\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn what_needs_no_proxy_is_reached_straight() {
        let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("http://{}/", store.local_addr().unwrap()).parse().unwrap();
        connector("127.0.0.1:9", "127.0.0.0/8,.internal").call(target).await.unwrap();
        store.accept().await.unwrap();
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_told_without_its_password() {
        let target = || "https://store.example".parse().unwrap();
        for (answer, told) in [
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                "`HTTP/1.1 407 Proxy Authentication Required`",
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "`SSH-2.0-OpenSSH_9.2`"),
            ("HTTP/1.1 200 OK\r\n", "hung up"),
        ] {
            let (address, _asked) = proxy(answer).await;
            let error = connector(&address, "").call(target()).await.unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("secret"), "{error}");
        }
        let error = connector("127.0.0.1:9", "").call(target()).await.unwrap_err().to_string();
        assert!(error.starts_with("the proxy cannot be reached") && !error.contains("secret"), "{error}");
    }
}
