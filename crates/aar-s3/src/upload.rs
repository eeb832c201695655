//! An image on its way in.
//!
//! Chunks are gathered into parts. A full part is hashed on threads of its own, for the image's digest in the order of
//! the parts, and sent while the next ones are gathered. Memory is bounded: each upload gathers one part, and those that
//! are on their way share a limit with all others. What waits for that limit waits for the store, never for a sender.

use aar_model::{Digest, Hasher};
use aar_store::{Error, Result, Upload, image_key};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use rusoto_s3::CompletedPart;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinHandle, JoinSet, spawn_blocking};

use crate::S3Store;
use crate::client;
use crate::error::S3Error;
use crate::multipart::{Multipart, Sender};
use crate::parts::{BLOCK, Gathering, part_size};

/// Buffers on their way to the store, of all uploads together.
pub(crate) const IN_FLIGHT: usize = 48 * 1024 * 1024 / BLOCK;
/// Parts of one upload on their way to the store.
const PARTS_IN_FLIGHT: usize = 4;

/// An image that is being received.
pub(crate) struct S3Upload {
    store: S3Store,
    image: Digest,
    key: String,
    declared: Option<u64>,
    gathering: Gathering,
    /// What has been hashed in order, as far as parts have been handed over.
    hashing: Option<JoinHandle<Hasher>>,
    /// Parts on their way. Ends before the upload is aborted.
    sending: JoinSet<client::Result<CompletedPart>>,
    sent: Vec<CompletedPart>,
    multipart: Multipart,
    /// Parts, and bytes, that were handed over.
    parts: u64,
    size: u64,
}

impl S3Upload {
    pub(crate) async fn begin(store: S3Store, image: Digest, declared: Option<u64>) -> Result<Self> {
        let key = store.key(&image_key(&image));
        let multipart =
            Multipart::begin(&store, image).await.map_err(|error| error.at("write an image to", &key))?;
        let gathering = Gathering::new(store.pool());
        Ok(Self {
            store,
            image,
            key,
            declared,
            gathering,
            hashing: None,
            sending: JoinSet::new(),
            sent: Vec::new(),
            multipart,
            parts: 0,
            size: 0,
        })
    }

    /// Hands a part over to be hashed and sent.
    async fn hand_over(&mut self) -> client::Result<()> {
        while self.sending.len() >= PARTS_IN_FLIGHT {
            self.one_sent().await?;
        }
        // A part that is bigger than the limit has all of it.
        let blocks = self.gathering.length().div_ceil(BLOCK as u64);
        let room = u32::try_from(blocks.min(IN_FLIGHT as u64)).unwrap_or(u32::MAX);
        let room = self.store.in_flight().clone().acquire_many_owned(room).await.map_err(|_| shutdown())?;
        let sender =
            self.multipart.sender().ok_or_else(|| S3Error::Garbled("the upload has ended".into()))?;
        let mut hasher = self.hashed().await?;
        self.size += self.gathering.length();
        self.parts += 1;
        let part = self.gathering.take();
        let number = i64::try_from(self.parts).unwrap_or(i64::MAX);
        self.sending.spawn(send(sender, number, part.clone(), room));
        self.hashing = Some(spawn_blocking(move || {
            for piece in &part {
                hasher.update(piece);
            }
            hasher
        }));
        Ok(())
    }

    /// Hands over what is left, and answers the digest once all parts have arrived.
    async fn finish(&mut self) -> client::Result<Digest> {
        // An image of no bytes has one part all the same.
        if self.gathering.length() > 0 || self.parts == 0 {
            self.hand_over().await?;
        }
        let actual = self.hashed().await?.finish();
        while actual == self.image && !self.sending.is_empty() {
            self.one_sent().await?;
        }
        if actual == self.image && self.sent.len() as u64 != self.parts {
            // S3 would put together what has arrived.
            return Err(S3Error::Garbled("a part of the upload failed before".into()));
        }
        self.sent.sort_by_key(|part| part.part_number);
        Ok(actual)
    }

    /// What hashes on from all parts that were handed over.
    async fn hashed(&mut self) -> client::Result<Hasher> {
        match self.hashing.take() {
            Some(hashing) => hashing.await.map_err(ended),
            None => Ok(Hasher::default()),
        }
    }

    async fn one_sent(&mut self) -> client::Result<()> {
        if let Some(sent) = self.sending.join_next().await {
            self.sent.push(sent.map_err(ended)??);
        }
        Ok(())
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        while !chunk.is_empty() {
            let size = part_size(self.store.part_size(), self.declared, self.parts);
            self.gathering.fill(&mut chunk, size);
            if self.gathering.length() == size {
                self.hand_over().await.map_err(|error| error.at("write an image to", &self.key))?;
            }
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<u64> {
        let actual = self.finish().await.map_err(|error| error.at("write an image to", &self.key))?;
        if actual != self.image {
            return Err(Error::Mismatch { expected: self.image, actual });
        }
        let Self { store, key, size, multipart, sent, .. } = *self;
        let stored = store.client().size(&key).await.map_err(|error| error.at("look up", &key))?;
        if stored != Some(size) {
            multipart.complete(sent, size).await.map_err(|error| error.at("store", &key))?;
        }
        Ok(size)
    }
}

/// Sends one part. What it takes of the limit is given back when it is done.
async fn send(
    sender: Sender,
    number: i64,
    part: Vec<Bytes>,
    _room: OwnedSemaphorePermit,
) -> client::Result<CompletedPart> {
    let hashed = part.clone();
    let md5 = spawn_blocking(move || {
        let mut md5 = Md5::new();
        for piece in &hashed {
            md5.update(piece);
        }
        STANDARD.encode(md5.finalize())
    });
    sender.send(number, md5.await.map_err(ended)?, part).await
}

fn ended(_: JoinError) -> S3Error {
    shutdown()
}

fn shutdown() -> S3Error {
    S3Error::Unreachable("the registry is shutting down".into())
}
