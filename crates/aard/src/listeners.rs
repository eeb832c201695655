//! Listening: on the network with TLS, and on the administrators' Unix socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aar_api::{Api, Caller, Identity, Peer};
use aar_config::ListenAddr;
use aar_tls::{Acceptor, TlsStream};
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket, UnixListener, lookup_host};

use crate::connection::{serve_http1, serve_http2};
use crate::shutdown::Places;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// How long accepting rests after it failed, as it does where file descriptors run out.
const REST: Duration = Duration::from_millis(100);

/// Takes a port of the network.
pub(crate) async fn bind(address: &ListenAddr) -> Result<TcpListener> {
    let listen = async || -> io::Result<TcpListener> {
        let address = lookup_host((address.host(), address.port())).await?.next();
        let address = address.ok_or_else(|| io::Error::other("the host has no address"))?;
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().await.with_context(|| format!("cannot listen on {address}"))
}

/// Accepts connections from the network for as long as it is polled.
pub(crate) async fn serve_network(
    listener: TcpListener,
    acceptor: Arc<ArcSwap<Acceptor>>,
    api: Arc<Api>,
    places: Places,
) {
    loop {
        let place = places.take().await;
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                rest(&error).await;
                continue;
            }
        };
        let acceptor = acceptor.load_full();
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            match acceptor.accept(socket).await {
                Ok(stream) => {
                    let caller = Caller { peer: Peer::Network(peer), identity: identity(&stream) };
                    if stream.is_http2() {
                        serve_http2(stream, api, caller, place).await;
                    } else {
                        serve_http1(stream, api, caller, place).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "no TLS connection came about");
                }
            }
        });
    }
}

/// Accepts connections of administrators for as long as it is polled.
pub(crate) async fn serve_socket(listener: UnixListener, api: Arc<Api>, places: Places) {
    loop {
        let place = places.take().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let caller = Caller { peer: Peer::Socket, identity: Identity::Administrator };
                tokio::spawn(serve_http1(stream, Arc::clone(&api), caller, place));
            }
            Err(error) => rest(&error).await,
        }
    }
}

async fn rest(error: &io::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "cannot accept a connection");
    tokio::time::sleep(REST).await;
}

fn identity(stream: &TlsStream) -> Identity {
    stream.peer().map_or(Identity::Anonymous, |peer| Identity::Certificate {
        fingerprint: peer.fingerprint,
        not_before: peer.not_before,
        not_after: peer.not_after,
    })
}
