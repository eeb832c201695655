//! Listening to what changes.

use std::fmt;
use std::io;
use std::time::Duration;

use aar_model::wire::{API_PREFIX, Event, LifecycleEvent};
use futures_util::StreamExt as _;
use hyper::header::HeaderValue;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::Client;
use crate::client::{AGENT, CALL_LIMIT, within};
use crate::connection::Io;
use crate::error::{Error, Result};

/// How long the registry may say nothing: it pings four times as often.
const SILENCE: Duration = Duration::from_secs(60);
/// The largest event, in bytes; they are some hundred.
const EVENT_BYTES: usize = 64 * 1024;

/// What a registry tells of its changes.
pub struct Events {
    socket: WebSocketStream<Box<dyn Io>>,
}

impl Client {
    /// Listens to changes of what the registry holds from now on.
    pub async fn events(&self) -> Result<Events> {
        within(Some(CALL_LIMIT), self.listen()).await
    }

    async fn listen(&self) -> Result<Events> {
        let (authority, prefix) = (self.endpoint.authority(), &self.prefix);
        // No more than the form of an address: the connection is there already, over TLS.
        let address = format!("ws://{authority}{prefix}{API_PREFIX}/events?type=lifecycle");
        let mut request = address.into_client_request().map_err(|e| Error::Protocol(e.to_string()))?;
        request.headers_mut().insert("user-agent", HeaderValue::from_static(AGENT));
        let config = WebSocketConfig::default()
            .read_buffer_size(EVENT_BYTES / 16)
            .max_message_size(Some(EVENT_BYTES))
            .max_frame_size(Some(EVENT_BYTES));
        let io = self.endpoint.dial().await?;
        match client_async_with_config(request, io, Some(config)).await {
            Ok((socket, _)) => Ok(Events { socket }),
            Err(tungstenite::Error::Http(answer)) => {
                Err(Error::refused(answer.status(), answer.body().as_deref().unwrap_or_default()))
            }
            Err(error) => Err(Error::Interrupted(error.into())),
        }
    }
}

impl Events {
    /// The next change.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where the registry goes, or is silent for a minute. What has changed since is to be found out
    /// by looking.
    pub async fn next(&mut self) -> Result<LifecycleEvent> {
        loop {
            let message = match timeout(SILENCE, self.socket.next()).await {
                Err(_) => return Err(Error::silent(SILENCE.as_secs())),
                Ok(None) => return Err(gone("the registry has ended it")),
                Ok(Some(Err(error))) => return Err(Error::Interrupted(error.into())),
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => {
                    let event: Event<LifecycleEvent> =
                        serde_json::from_str(&text).map_err(|e| Error::Protocol(e.to_string()))?;
                    return Ok(event.metadata);
                }
                Message::Close(Some(close)) => return Err(gone(&close.reason)),
                // Pings are answered with the next look at the socket.
                _ => {}
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

fn gone(why: &str) -> Error {
    Error::Interrupted(io::Error::new(io::ErrorKind::ConnectionAborted, why).into())
}
