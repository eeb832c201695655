//! Events: what has changed and what is being worked on, told over a WebSocket to whoever listens.

use std::fmt;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aar_model::wire::{API_PREFIX, Event as Message, LifecycleEvent, Operation};
use aar_store::{Action, Event, Viewer};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use crate::access::{Access, Caller};
use crate::api::Api;
use crate::metrics::Listening;

/// How often a listener is looked after: it is pinged, and cut off where it said nothing since or is trusted no more.
const LOOK: Duration = Duration::from_secs(15);

/// How long a listener may take to take an event, or the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest message of a listener, which has nothing to say but pongs, in bytes.
const MESSAGE_BYTES: usize = 4 << 10;

/// Which events a listener wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) lifecycle: bool,
    pub(crate) operation: bool,
}

/// A listener whose connection is about to become a WebSocket. It hears of everything from now on.
pub struct Listener {
    api: Arc<Api>,
    caller: Caller,
    kinds: Kinds,
    upgrade: OnUpgrade,
    changes: Receiver<Event>,
    operations: Receiver<Arc<Operation>>,
    _listening: Listening,
}

impl Listener {
    pub(crate) fn new(api: &Arc<Api>, caller: &Caller, kinds: Kinds, upgrade: OnUpgrade) -> Self {
        Self {
            caller: caller.clone(),
            kinds,
            upgrade,
            changes: api.parts.registry.follow(),
            operations: api.operations.follow(),
            _listening: api.metrics.listening(),
            api: Arc::clone(api),
        }
    }

    /// Tells events until the listener goes, is cut off, or `stop` is ready. To be called once the connection has been
    /// served as HTTP, which is what hands it over.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) {
        let upgraded = match (&mut self.upgrade).await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection did not become a WebSocket"
                );
                return;
            }
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(MESSAGE_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES));
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
        if let ControlFlow::Break(Some(close)) = self.tell(&mut socket, stop).await {
            tracing::debug!(peer = %self.caller.peer, reason = close.reason.as_str(), "a listener is sent away");
            let _ = timeout(PATIENCE, socket.close(Some(close))).await;
        }
    }

    /// Breaks with what the listener is told at the end, or without where it is gone already.
    async fn tell(
        &mut self,
        socket: &mut WebSocketStream<TokioIo<Upgraded>>,
        stop: impl Future<Output = ()>,
    ) -> ControlFlow<Option<CloseFrame>> {
        let mut stop = pin!(stop);
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        let mut is_heard = true;
        loop {
            let message = tokio::select! {
                change = self.changes.recv(), if self.kinds.lifecycle => {
                    let change = received(change)?;
                    let concerned = change.for_clients || self.access()?.viewer() == Viewer::Publisher;
                    concerned.then(|| lifecycle(&change))
                }
                operation = self.operations.recv(), if self.kinds.operation => {
                    Some(render("operation", SystemTime::now(), received(operation)?.as_ref()))
                }
                frame = socket.next() => {
                    let Some(Ok(_)) = frame else { return ControlFlow::Break(None) };
                    is_heard = true;
                    None
                }
                _ = looks.tick() => {
                    if !std::mem::replace(&mut is_heard, false) {
                        return ControlFlow::Break(None);
                    }
                    Some(Frame::Ping(tungstenite::Bytes::new()))
                }
                () = &mut stop => return away(CloseCode::Away, "the registry stops; listen again in a while"),
            };
            let Some(message) = message else { continue };
            self.access()?;
            let Ok(Ok(())) = timeout(PATIENCE, socket.send(message)).await else {
                return ControlFlow::Break(None);
            };
        }
    }

    /// What the listener may see just now.
    fn access(&self) -> ControlFlow<Option<CloseFrame>, Access> {
        let access = Access::of(&self.caller, self.api.parts.trust.as_ref());
        if access.is_trusted() {
            ControlFlow::Continue(access)
        } else {
            away(CloseCode::Policy, "not trusted any more")
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("caller", &self.caller).finish_non_exhaustive()
    }
}

fn received<T>(received: Result<T, RecvError>) -> ControlFlow<Option<CloseFrame>, T> {
    match received {
        Ok(received) => ControlFlow::Continue(received),
        Err(RecvError::Lagged(_)) => {
            away(CloseCode::Again, "too slow, events are missing: list what there is, and listen again")
        }
        Err(RecvError::Closed) => away(CloseCode::Away, "the registry stops"),
    }
}

fn away<T>(code: CloseCode, reason: &'static str) -> ControlFlow<Option<CloseFrame>, T> {
    ControlFlow::Break(Some(CloseFrame { code, reason: reason.into() }))
}

fn lifecycle(event: &Event) -> Frame {
    let mut source = match event.action {
        Action::RegistryRebuilt => format!("{API_PREFIX}/registry/applications"),
        _ => format!("{API_PREFIX}/applications"),
    };
    if let Some(application) = &event.application {
        source = format!("{source}/{application}");
    }
    if let Some(version) = event.version {
        source = format!("{source}/{version}");
    }
    render("lifecycle", event.at, &LifecycleEvent { action: name(event.action).into(), source })
}

fn name(action: Action) -> &'static str {
    match action {
        Action::ApplicationCreated => "application-created",
        Action::ApplicationUpdated => "application-updated",
        Action::ApplicationRemoved => "application-removed",
        Action::VersionAdded => "application-version-added",
        Action::VersionUpdated => "application-version-updated",
        Action::VersionPublished => "application-version-published",
        Action::VersionWithdrawn => "application-version-withdrawn",
        Action::VersionRemoved => "application-version-removed",
        Action::RegistryRebuilt => "registry-rebuilt",
    }
}

fn render(kind: &str, at: SystemTime, metadata: &impl Serialize) -> Frame {
    let timestamp = Timestamp::try_from(at).unwrap_or_default().to_string();
    let message = Message { kind: kind.into(), timestamp, metadata };
    // Maps with text keys and plain values: JSON can say them all.
    #[allow(clippy::expect_used)]
    Frame::text(serde_json::to_string(&message).expect("an event is representable as JSON"))
}
