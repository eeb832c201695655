//! Uploads that may come in several goes: a multipart upload, a note of it in the bucket, and on this machine what there
//! is beyond the last whole part.
//!
//! Where the latter is lost, the upload goes on after its last whole part. A part that was sent and not noted is sent again
//! under the same number, which replaces it.

use std::collections::VecDeque;

use aar_model::Hasher;
use aar_store::{Error, Incoming, Note, Result, UploadId, Uploads, image_key};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rusoto_s3::CompletedPart;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::error;

use crate::S3Store;
use crate::client::{self, found};
use crate::error::S3Error;
use crate::multipart::{self, Sender};
use crate::parts::admit;
use crate::sending::{Sending, Sent};
use crate::spool;

/// Where these uploads are noted: `uploads/resumable/<id>.json`.
pub(crate) const RESUMABLE: &str = "uploads/resumable/";
const ENDING: &str = ".json";

/// Notes that are read at once.
const READS: usize = 16;

/// The note of an upload as it lies in the bucket. Its offset is that after the last whole part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    #[serde(flatten)]
    pub(crate) note: Note,
    /// The id of the multipart upload.
    pub(crate) upload: String,
    /// Bytes in a part, at least.
    part_size: u64,
    /// What the store answered to each part, in their order.
    tags: Vec<String>,
}

/// The notes of all uploads; one that cannot be read is passed over.
pub(crate) async fn notes(store: &S3Store) -> client::Result<Vec<(UploadId, Kept)>> {
    let objects = store.client().list(&store.key(RESUMABLE)).await?;
    let ids = objects.into_iter().filter_map(|object| {
        object.key?.strip_prefix(&store.key(RESUMABLE))?.strip_suffix(ENDING)?.parse::<UploadId>().ok()
    });
    let reads = ids.map(async |id| {
        let read = read(store, &id).await;
        match read {
            Err(S3Error::Garbled(problem)) => {
                error!(
                    key = note_key(store, &id),
                    problem, "passed over an upload whose note cannot be read"
                );
                Ok(None)
            }
            read => Ok(read?.map(|kept| (id, kept))),
        }
    });
    let notes: Vec<_> = stream::iter(reads).buffer_unordered(READS).try_collect().await?;
    Ok(notes.into_iter().flatten().collect())
}

async fn read(store: &S3Store, id: &UploadId) -> client::Result<Option<Kept>> {
    let Some((text, _)) = store.client().get(&note_key(store, id)).await? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|error| S3Error::Garbled(error.to_string()))
}

async fn write(store: &S3Store, id: &UploadId, kept: &Kept) -> client::Result<()> {
    let text = serde_json::to_vec(kept).map_err(|error| S3Error::Garbled(error.to_string()))?;
    store.client().put(&note_key(store, id), text.into()).await.map(drop)
}

fn note_key(store: &S3Store, id: &UploadId) -> String {
    store.key(&format!("{RESUMABLE}{id}{ENDING}"))
}

impl Kept {
    fn key(&self, store: &S3Store) -> String {
        store.key(&image_key(&self.note.image))
    }

    fn parts(&self) -> Vec<CompletedPart> {
        let numbered = (1..).zip(&self.tags);
        numbered
            .map(|(number, tag)| CompletedPart { e_tag: Some(tag.clone()), part_number: Some(number) })
            .collect()
    }

    fn advance(&mut self, parts: &[CompletedPart], offset: u64, hasher: Hasher) {
        self.tags = parts.iter().map(|part| part.e_tag.clone().unwrap_or_default()).collect();
        self.note.advance(offset, hasher);
    }
}

impl S3Store {
    /// The note of an upload that there must be.
    async fn kept(&self, id: &UploadId) -> Result<Kept> {
        let key = note_key(self, id);
        let kept = read(self, id).await.map_err(|error| error.at("read", &key))?;
        kept.ok_or_else(|| Error::Io { action: format!("read `{key}`"), source: "it is not there".into() })
    }
}

#[async_trait]
impl Uploads for S3Store {
    async fn create(&self, id: &UploadId, note: Note) -> Result<()> {
        let key = self.key(&image_key(&note.image));
        let at = |error: S3Error| error.at("write an image to", &key);
        admit(note.size).map_err(at)?;
        // The sweep spares what is not noted yet.
        let _live = self.live().enter(note.image);
        let upload = multipart::create(self.client(), &key).await.map_err(at)?;
        let kept = Kept { note, upload, part_size: self.part_size(), tags: Vec::new() };
        if let Err(error) = write(self, id, &kept).await {
            // What cannot be aborted now is by the sweep, or once it has expired.
            let _ = multipart::abort(self.client(), &key, &kept.upload).await;
            return Err(at(error));
        }
        Ok(())
    }

    async fn resume(&self, id: &UploadId, counts_at_once: bool) -> Result<Box<dyn Incoming>> {
        let kept = self.kept(id).await?;
        let Note { size, offset, ref hasher, .. } = kept.note;
        let key = kept.key(self);
        let sender = Sender { client: self.client().clone(), key: key.clone(), id: kept.upload.clone() };
        let before = Sent { parts: kept.parts(), size: offset, hasher: hasher.clone() };
        let mut sending = Sending::new(self.clone(), sender, kept.part_size, Some(size), before);
        for mut block in spool::read(self, id, offset).await? {
            sending.fill(&mut block);
        }
        Ok(Box::new(S3Incoming {
            store: self.clone(),
            id: id.clone(),
            key,
            offset: offset + sending.gathered(),
            kept,
            sending,
            counts_at_once,
            hashed: VecDeque::new(),
            noting: None,
        }))
    }

    async fn complete(&self, id: &UploadId) -> Result<()> {
        let kept = self.kept(id).await?;
        let (key, parts) = (kept.key(self), kept.parts());
        let Note { image, size, hasher, .. } = kept.note;
        let actual = hasher.finish();
        if actual != image {
            return Err(Error::Mismatch { expected: image, actual });
        }
        let client = self.client();
        let stored = client.size(&key).await.map_err(|error| error.at("look up", &key))?;
        if stored == Some(size) {
            let aborted = multipart::abort(client, &key, &kept.upload).await;
            return aborted.map(drop).map_err(|error| error.at("store", &key));
        }
        if parts.is_empty() {
            return Err(Error::NotFound(image));
        }
        let completed = found(multipart::complete(client, &key, &kept.upload, parts, size).await);
        completed.map_err(|error| error.at("store", &key))?.ok_or(Error::NotFound(image))
    }

    async fn retire(&self, id: &UploadId, about: Value) -> Result<()> {
        let mut kept = self.kept(id).await?;
        (kept.note.about, kept.tags) = (about, Vec::new());
        write(self, id, &kept).await.map_err(|error| error.at("write", &note_key(self, id)))
    }

    async fn remove(&self, id: &UploadId) -> Result<()> {
        let key = note_key(self, id);
        if let Some(kept) = read(self, id).await.map_err(|error| error.at("read", &key))? {
            let aborted = multipart::abort(self.client(), &kept.key(self), &kept.upload).await;
            aborted.map_err(|error| error.at("remove", &kept.key(self)))?;
        }
        spool::write(self, id, 0, Vec::new()).await?;
        self.client().delete(&key).await.map_err(|error| error.at("remove", &key))
    }

    async fn list(&self) -> Result<Vec<(UploadId, Note)>> {
        let notes = notes(self).await.map_err(|error| error.at("read uploads below", self.prefix()))?;
        spool::retain(self, notes.iter().map(|(id, _)| id.clone()).collect()).await?;
        let mut all = Vec::new();
        for (id, Kept { mut note, .. }) in notes {
            let (spooled, written_at) = spool::size(self, &id, note.offset).await?;
            note.offset += spooled;
            note.touched_at = note.touched_at.max(written_at);
            all.push((id, note));
        }
        Ok(all)
    }
}

/// The bytes of an upload on their way in.
struct S3Incoming {
    store: S3Store,
    id: UploadId,
    key: String,
    offset: u64,
    kept: Kept,
    sending: Sending,
    counts_at_once: bool,
    /// Parts, the bytes in them, and what hashed on from these, of which it is not noted that they were sent.
    hashed: VecDeque<(u64, u64, Hasher)>,
    /// The note that is being written.
    noting: Option<JoinHandle<client::Result<()>>>,
}

impl S3Incoming {
    async fn hand_over(&mut self) -> client::Result<()> {
        let (parts, size) = self.sending.handed_over();
        self.sending.hand_over().await?;
        if self.counts_at_once && parts > self.kept.tags.len() as u64 {
            self.hashed.push_back((parts, size, self.sending.hashed_before().clone()));
            self.note().await?;
        }
        Ok(())
    }

    /// Begins to note which parts have arrived without a gap, unless that is being done.
    async fn note(&mut self) -> client::Result<()> {
        if self.noting.as_ref().is_some_and(|noting| !noting.is_finished()) {
            return Ok(());
        }
        self.noted().await?;
        let arrived = self.sending.arrived()?;
        arrived.sort_by_key(|part| part.part_number);
        let whole = (1..).zip(arrived.iter()).take_while(|(number, part)| part.part_number == Some(*number));
        let whole = whole.count() as u64;
        let mut latest = None;
        while self.hashed.front().is_some_and(|(parts, ..)| *parts <= whole) {
            latest = self.hashed.pop_front();
        }
        if let Some((parts, size, hasher)) = latest {
            let parts = usize::try_from(parts).unwrap_or(usize::MAX);
            self.kept.advance(&arrived[..parts], size, hasher);
            let (store, id, kept) = (self.store.clone(), self.id.clone(), self.kept.clone());
            self.noting = Some(tokio::spawn(async move { write(&store, &id, &kept).await }));
        }
        Ok(())
    }

    async fn noted(&mut self) -> client::Result<()> {
        match self.noting.take() {
            Some(noting) => noting
                .await
                .unwrap_or_else(|_| Err(S3Error::Unreachable("the registry is shutting down".into()))),
            None => Ok(()),
        }
    }

    /// The store's error for one that came up while bytes were sent.
    fn failed(&self, error: S3Error) -> Error {
        if error.is_no_upload() {
            // The parts are lost: somebody, or a rule of the bucket, has removed them.
            return Error::NotFound(self.kept.note.image);
        }
        error.at("write an image to", &self.key)
    }

    /// Sends what makes a whole part, and notes it.
    async fn send_all(&mut self) -> client::Result<()> {
        let (_, size) = self.sending.handed_over();
        if self.sending.gathered() > 0 && size + self.sending.gathered() == self.kept.note.size {
            self.sending.hand_over().await?;
        }
        let parts = self.sending.all_sent().await?;
        self.noted().await?;
        let (_, size) = self.sending.handed_over();
        if size > self.kept.note.offset {
            let hasher = self.sending.hashed().await?.clone();
            self.kept.advance(&parts, size, hasher);
            write(&self.store, &self.id, &self.kept).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Incoming for S3Incoming {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        while !chunk.is_empty() {
            if self.sending.fill(&mut chunk) {
                self.hand_over().await.map_err(|error| self.failed(error))?;
            }
        }
        Ok(())
    }

    async fn keep(mut self: Box<Self>) -> Result<u64> {
        if let Err(error) = self.send_all().await {
            let error = self.failed(error);
            self.give_up().await;
            return Err(error);
        }
        let (tail, offset) = (self.sending.gathered(), self.kept.note.offset);
        spool::write(&self.store, &self.id, offset, self.sending.take_gathered()).await?;
        Ok(offset + tail)
    }

    async fn give_up(mut self: Box<Self>) {
        self.sending.settle().await;
        // What is wrong with it was told, or is not wanted any more.
        let _ = self.noted().await;
    }
}
