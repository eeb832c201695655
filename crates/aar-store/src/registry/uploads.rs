//! Pushes whose image may come in several goes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aar_model::wire::Image;
use aar_model::{AppName, Digest, Fingerprint};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::core::{Registry, now};
use super::error::{BodyError, RegistryError};
use super::media_type;
use super::push::{BodyStream, Push, Pushed, admit};
use crate::{Error, Incoming, Note, Result, UploadId};

/// Uploads of one certificate that are not finished, at most; and as many that are finished are remembered.
const MOST: usize = 64;

/// Seconds that an upload is kept after its latest byte.
const LIFE: i64 = 24 * 3600;

/// How long the sender of an upload may be silent before another request may take its place: its connection may be dead
/// without anybody having been told. A request waits a little longer for that.
const SILENCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a request waits while what came is made durable, or made an image; and how often it looks.
const LONG_PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// Bytes of an image by which is told what it is packed in.
const HEAD: u64 = 16;

/// Whose an upload is: a certificate's, or nobody's where it came by the daemon's Unix socket.
pub type Owner = Option<Fingerprint>;

/// How an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadState {
    /// The application that is pushed.
    pub name: AppName,
    /// The image that is pushed.
    pub fingerprint: Digest,
    /// Bytes that have come.
    pub offset: u64,
    /// Bytes of the image.
    pub size: u64,
    /// What the publisher sent about it, as it came.
    pub metadata: String,
    /// Until when it is kept, Unix seconds, unless more comes.
    pub expires_at: i64,
    /// What came of the push, once it is finished.
    pub pushed: Option<Pushed>,
}

/// The uploads of a registry.
#[derive(Debug, Default)]
pub(super) struct UploadTable {
    entries: Mutex<HashMap<UploadId, Arc<Entry>>>,
    /// Nothing more is received.
    stopped: AtomicBool,
}

impl UploadTable {
    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Entry {
    id: UploadId,
    owner: Owner,
    image: Digest,
    size: u64,
    finished: AtomicBool,
    /// Held by whoever receives, finishes or removes it.
    state: tokio::sync::Mutex<State>,
    /// When the latest byte came, while more is waited for.
    heard: Mutex<Option<Instant>>,
    /// Tells whoever receives to end.
    interrupt: Notify,
}

#[derive(Debug)]
struct State {
    about: About,
    /// Not known after a failure: then the store has to be asked.
    offset: Option<u64>,
    touched_at: i64,
    removed: bool,
}

/// What the note of an upload says about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct About {
    owner: Owner,
    metadata: String,
    push: Push,
    pushed: Option<Pushed>,
}

impl Registry {
    /// Begins an upload of `size` bytes for `owner`, who described it with `metadata`. What can never be committed is
    /// refused.
    pub async fn create_upload(
        &self,
        id: UploadId,
        owner: Owner,
        metadata: String,
        push: Push,
        size: u64,
    ) -> Result<UploadState, RegistryError> {
        self.refuse_degraded()?;
        if size == 0 {
            return Err(RegistryError::Invalid("an image of no bytes cannot be pushed".into()));
        }
        admit(&self.documents(&push.name)?, &push)?;
        let image = push.fingerprint;
        let about = About { owner, metadata, push, pushed: None };
        let note = Note::new(to_value(&about), image, size);
        let entry = Arc::new(Entry::new(id.clone(), about, &note));
        {
            let mut uploads = self.uploads.lock();
            let unfinished = uploads.values().filter(|entry| entry.owner == owner && !entry.is_finished());
            if unfinished.count() >= MOST {
                return Err(RegistryError::TooMany(MOST));
            }
            uploads.insert(id.clone(), Arc::clone(&entry));
        }
        if let Err(error) = self.blobs.uploads().create(&id, note).await {
            self.uploads.lock().remove(&id);
            return Err(error.into());
        }
        let state = entry.state.lock().await;
        Ok(entry.shown(&state, 0))
    }

    /// How an upload stands. Where a request is receiving it, waits for that, or takes its place.
    pub async fn upload(&self, id: &UploadId, owner: Owner) -> Result<UploadState, RegistryError> {
        let entry = self.entry(id, owner)?;
        let mut state = entry.turn().await?;
        if state.about.pushed.is_some() && !self.has(&state.about.push)? {
            // Whoever asks would take it for pushed.
            self.discard(&entry, &mut state).await?;
            return Err(no_upload());
        }
        let offset = self.offset(&entry, &mut state).await?;
        Ok(entry.shown(&state, offset))
    }

    /// Receives what follows the first `offset` bytes of an upload. What comes is kept also where the body breaks off; a body
    /// that `counts_whole` is kept to its end or not at all.
    pub async fn append(
        &self,
        id: &UploadId,
        owner: Owner,
        offset: u64,
        body: BodyStream,
        counts_whole: bool,
    ) -> Result<UploadState, RegistryError> {
        let entry = self.entry(id, owner)?;
        let mut state = entry.turn().await?;
        match self.append_to(&entry, &mut state, offset, body, counts_whole).await {
            Err(RegistryError::Store(Error::NotFound(_))) => {
                // Somebody has cleared the store. What is lost cannot be gone on with.
                self.discard(&entry, &mut state).await?;
                Err(no_upload())
            }
            outcome => outcome,
        }
    }

    async fn append_to(
        &self,
        entry: &Entry,
        state: &mut State,
        offset: u64,
        mut body: BodyStream,
        counts_whole: bool,
    ) -> Result<UploadState, RegistryError> {
        let known = self.offset(entry, state).await?;
        if offset != known {
            return Err(RegistryError::WrongOffset(known));
        }
        if known == entry.size {
            while let Some(chunk) = body.next().await.transpose()? {
                if !chunk.is_empty() {
                    return Err(RegistryError::TooLong(entry.size));
                }
            }
            return Ok(entry.shown(state, known));
        }
        // Known again once it is kept.
        state.offset = None;
        let mut incoming = self.blobs.uploads().resume(&entry.id, !counts_whole).await?;
        let kept = incoming.offset();
        if kept != offset {
            // Some of it was lost.
            incoming.give_up().await;
            state.offset = Some(kept);
            return Err(RegistryError::WrongOffset(kept));
        }
        let received = entry.receive(incoming.as_mut(), body, &self.uploads.stopped).await;
        entry.heard(false);
        match &received {
            Err(Failure::Store(_) | Failure::TooLong) => incoming.give_up().await,
            Err(_) if counts_whole => incoming.give_up().await,
            _ => {
                state.offset = Some(incoming.keep().await?);
                state.touched_at = now();
            }
        }
        match received {
            Ok(()) => {
                let offset = self.offset(entry, state).await?;
                Ok(entry.shown(state, offset))
            }
            Err(Failure::Store(error)) => Err(error.into()),
            Err(Failure::Body(error)) => Err(error.into()),
            Err(Failure::TooLong) => Err(RegistryError::TooLong(entry.size)),
            Err(Failure::Interrupted) => Err(RegistryError::Interrupted),
        }
    }

    /// Finishes an upload of which all has come: the push is committed. May be repeated.
    pub async fn finish_upload(&self, id: &UploadId, owner: Owner) -> Result<Pushed, RegistryError> {
        let entry = self.entry(id, owner)?;
        let mut state = entry.turn().await?;
        if let Some(pushed) = state.about.pushed {
            return Ok(pushed);
        }
        let push = state.about.push.clone();
        let pin = self.images.pin(&push.fingerprint).await;
        let outcome = match self.completed(&entry, &push).await {
            Ok(image) => self.commit(&push, image).await,
            Err(error) => Err(error),
        };
        drop(pin);
        match &outcome {
            Ok(pushed) => {
                state.about.pushed = Some(*pushed);
                entry.finished.store(true, Ordering::Release);
                // Else it is finished once more, which changes nothing.
                let retired = self.blobs.uploads().retire(id, to_value(&state.about)).await;
                warn_of(retired, id, "cannot note that an upload is finished");
                drop(state);
                self.forget_oldest(owner).await;
            }
            Err(error) if is_final(error) => {
                warn_of(
                    self.discard(&entry, &mut state).await,
                    id,
                    "cannot remove an upload that is refused",
                );
                self.remove_unused(&[push.fingerprint]).await;
            }
            Err(_) => {}
        }
        outcome
    }

    /// Removes an upload, and what came of it; not what it was finished to.
    pub async fn remove_upload(&self, id: &UploadId, owner: Owner) -> Result<(), RegistryError> {
        let entry = self.entry(id, owner)?;
        let mut state = entry.turn().await?;
        Ok(self.discard(&entry, &mut state).await?)
    }

    /// Removes the uploads that have expired at `now`, Unix seconds. Answers how many there were.
    pub async fn expire_uploads(&self, now: i64) -> Result<usize> {
        self.refuse_degraded()?;
        let all: Vec<_> = self.uploads.lock().values().cloned().collect();
        let mut expired = Ok(0);
        for entry in all {
            // One that is being received has not expired.
            let Ok(mut state) = entry.state.try_lock() else { continue };
            if !state.removed && state.expires_at() <= now {
                // One that cannot be removed is in no other's way.
                match self.discard(&entry, &mut state).await {
                    Ok(()) => expired = expired.map(|expired| expired + 1),
                    Err(error) => expired = Err(error),
                }
            }
        }
        expired
    }

    /// Whether an upload may have become `image` already, and lack its records only.
    pub(super) fn is_awaited(&self, image: &Digest) -> bool {
        self.uploads.lock().values().any(|entry| entry.image == *image && !entry.is_finished())
    }

    /// Removes what is more of the finished uploads of `owner` than are remembered.
    async fn forget_oldest(&self, owner: Owner) {
        let finished: Vec<_> = {
            let uploads = self.uploads.lock();
            uploads.values().filter(|entry| entry.owner == owner && entry.is_finished()).cloned().collect()
        };
        if finished.len() <= MOST {
            return;
        }
        let states = finished.iter().filter_map(|entry| Some((entry, entry.state.try_lock().ok()?)));
        let oldest = states.filter(|(_, state)| !state.removed).min_by_key(|(_, state)| state.touched_at);
        if let Some((entry, mut state)) = oldest {
            warn_of(self.discard(entry, &mut state).await, &entry.id, "cannot remove a finished upload");
        }
    }

    /// Whether that is there which was pushed.
    fn has(&self, push: &Push) -> Result<bool> {
        Ok(matches!(admit(&self.documents(&push.name)?, push), Ok(true)))
    }

    /// Ends the requests that send bytes of uploads, now and from now on; what came is kept.
    pub fn interrupt_uploads(&self) {
        self.uploads.stopped.store(true, Ordering::Release);
        for entry in self.uploads.lock().values() {
            entry.interrupt.notify_waiters();
        }
    }

    /// Learns which uploads the store keeps.
    pub(super) async fn load_uploads(&self) -> Result<()> {
        let mut uploads = HashMap::new();
        for (id, note) in self.blobs.uploads().list().await? {
            match serde_json::from_value(note.about.clone()) {
                Ok(about) => {
                    uploads.insert(id.clone(), Arc::new(Entry::new(id, about, &note)));
                }
                Err(error) => tracing::error!(
                    upload = %id,
                    error = &error as &dyn std::error::Error,
                    "the note of an upload cannot be read; the upload cannot be gone on with"
                ),
            }
        }
        *self.uploads.lock() = uploads;
        Ok(())
    }

    fn entry(&self, id: &UploadId, owner: Owner) -> Result<Arc<Entry>, RegistryError> {
        self.refuse_degraded()?;
        let entry = self.uploads.lock().get(id).filter(|entry| entry.owner == owner).cloned();
        entry.ok_or_else(no_upload)
    }

    async fn offset(&self, entry: &Entry, state: &mut State) -> Result<u64> {
        if let Some(offset) = state.offset {
            return Ok(offset);
        }
        let incoming = self.blobs.uploads().resume(&entry.id, false).await?;
        let offset = incoming.offset();
        incoming.give_up().await;
        state.offset = Some(offset);
        Ok(offset)
    }

    /// The image that all that came is made.
    async fn completed(&self, entry: &Entry, push: &Push) -> Result<Image, RegistryError> {
        self.blobs.uploads().complete(&entry.id).await?;
        let size = entry.size;
        let mut bytes = self.blobs.read(&push.fingerprint, 0..HEAD.min(size)).await?;
        let mut head = Vec::new();
        while let Some(chunk) = bytes.next().await {
            head.extend_from_slice(&chunk?);
        }
        let media_type = media_type::of(&head, push.media_type.as_deref());
        Ok(Image { architecture: push.architecture, fingerprint: push.fingerprint, size, media_type })
    }

    async fn discard(&self, entry: &Entry, state: &mut State) -> Result<()> {
        self.blobs.uploads().remove(&entry.id).await?;
        state.removed = true;
        self.uploads.lock().remove(&entry.id);
        Ok(())
    }
}

/// Why no more is received.
enum Failure {
    Body(BodyError),
    Store(Error),
    TooLong,
    Interrupted,
}

impl Entry {
    fn new(id: UploadId, about: About, note: &Note) -> Self {
        let finished = about.pushed.is_some();
        Self {
            id,
            owner: about.owner,
            image: about.push.fingerprint,
            size: note.size,
            finished: finished.into(),
            state: tokio::sync::Mutex::new(State {
                about,
                offset: Some(note.offset),
                touched_at: note.touched_at,
                removed: false,
            }),
            heard: Mutex::default(),
            interrupt: Notify::new(),
        }
    }

    fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Waits until nobody has to do with the upload; ends a request that only seems to send it.
    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, State>, RegistryError> {
        let begun = Instant::now();
        loop {
            if let Ok(state) = timeout(LOOK, self.state.lock()).await {
                return if state.removed { Err(no_upload()) } else { Ok(state) };
            }
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            match heard.map(|heard| heard.elapsed()) {
                Some(silence) if silence >= SILENCE => self.interrupt.notify_waiters(),
                Some(_) if begun.elapsed() >= PATIENCE => return Err(RegistryError::Locked),
                _ if begun.elapsed() >= LONG_PATIENCE => return Err(RegistryError::Locked),
                _ => {}
            }
        }
    }

    /// Notes whether more is waited for.
    fn heard(&self, waiting: bool) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = waiting.then(Instant::now);
    }

    async fn receive(
        &self,
        incoming: &mut dyn Incoming,
        mut body: BodyStream,
        stopped: &AtomicBool,
    ) -> Result<(), Failure> {
        let mut left = self.size - incoming.offset();
        loop {
            let interrupted = self.interrupt.notified();
            if stopped.load(Ordering::Acquire) {
                return Err(Failure::Interrupted);
            }
            self.heard(true);
            let next = tokio::select! {
                biased;
                next = body.next() => next,
                () = interrupted => return Err(Failure::Interrupted),
            };
            self.heard(false);
            let Some(chunk) = next.transpose().map_err(Failure::Body)? else { return Ok(()) };
            left = left.checked_sub(chunk.len() as u64).ok_or(Failure::TooLong)?;
            incoming.write(chunk).await.map_err(Failure::Store)?;
        }
    }

    fn shown(&self, state: &State, offset: u64) -> UploadState {
        let About { metadata, push, pushed, .. } = &state.about;
        UploadState {
            name: push.name.clone(),
            fingerprint: push.fingerprint,
            offset,
            size: self.size,
            metadata: metadata.clone(),
            expires_at: state.expires_at(),
            pushed: *pushed,
        }
    }
}

impl State {
    fn expires_at(&self) -> i64 {
        self.touched_at.saturating_add(LIFE)
    }
}

/// Whether to finish the upload once more could not end otherwise.
fn is_final(error: &RegistryError) -> bool {
    match error {
        RegistryError::Store(error) => matches!(error, Error::Mismatch { .. } | Error::NotFound(_)),
        RegistryError::Invalid(_) | RegistryError::NotFound(_) | RegistryError::Conflict(_) => true,
        _ => false,
    }
}

fn no_upload() -> RegistryError {
    RegistryError::NotFound(
        "there is no such upload; it may have expired, a day after its latest byte: begin anew".into(),
    )
}

fn to_value(about: &About) -> Value {
    // Maps with text keys and plain values: JSON can say them all.
    #[allow(clippy::expect_used)]
    serde_json::to_value(about).expect("a note is representable as JSON")
}

fn warn_of(outcome: Result<()>, id: &UploadId, what: &str) {
    if let Err(error) = outcome {
        tracing::warn!(upload = %id, error = &error as &dyn std::error::Error, "{what}");
    }
}
