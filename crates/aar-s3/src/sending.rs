//! An image's bytes on their way to the store.
//!
//! Chunks are gathered into parts. A full part is hashed on threads of its own, for the image's digest in the order of
//! the parts, and sent while the next ones are gathered. Memory is bounded: each upload gathers one part, and those that
//! are on their way share a limit with all others. What waits for that limit waits for the store, never for a sender.

use std::mem;

use aar_model::Hasher;
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
use crate::multipart::Sender;
use crate::parts::{BLOCK, Gathering, part_size};

/// Buffers on their way to the store, of all uploads together.
pub(crate) const IN_FLIGHT: usize = 48 * 1024 * 1024 / BLOCK;
/// Parts of one upload on their way to the store.
const PARTS_IN_FLIGHT: usize = 4;

/// How far an upload has come: by whole parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// What the store answered to each part, in no order.
    pub(crate) parts: Vec<CompletedPart>,
    /// Bytes in all of them.
    pub(crate) size: u64,
    /// What hashes on from these.
    pub(crate) hasher: Hasher,
}

/// The parts of one upload.
pub(crate) struct Sending {
    store: S3Store,
    sender: Sender,
    /// Bytes in a part, at least.
    least: u64,
    declared: Option<u64>,
    gathering: Gathering,
    /// What has been hashed in order, as far as parts have been handed over.
    hashing: Option<JoinHandle<Hasher>>,
    hashed: Hasher,
    /// Parts on their way. Ends before the upload is aborted.
    on_their_way: JoinSet<client::Result<CompletedPart>>,
    sent: Vec<CompletedPart>,
    /// Parts, and bytes, that were handed over.
    parts: u64,
    size: u64,
}

impl Sending {
    /// Goes on after what was sent before.
    pub(crate) fn new(
        store: S3Store,
        sender: Sender,
        least: u64,
        declared: Option<u64>,
        before: Sent,
    ) -> Self {
        let gathering = Gathering::new(store.pool());
        Self {
            store,
            sender,
            least,
            declared,
            gathering,
            hashing: None,
            hashed: before.hasher,
            on_their_way: JoinSet::new(),
            parts: before.parts.len() as u64,
            sent: before.parts,
            size: before.size,
        }
    }

    /// Takes bytes off the front of `chunk`. Answers whether the part that is gathered is full.
    pub(crate) fn fill(&mut self, chunk: &mut Bytes) -> bool {
        let size = part_size(self.least, self.declared, self.parts);
        self.gathering.fill(chunk, size);
        self.gathering.length() == size
    }

    /// Hands the part that is gathered over to be hashed and sent.
    pub(crate) async fn hand_over(&mut self) -> client::Result<()> {
        while self.on_their_way.len() >= PARTS_IN_FLIGHT {
            self.one_sent().await?;
        }
        // A part that is bigger than the limit has all of it.
        let blocks = self.gathering.length().div_ceil(BLOCK as u64);
        let room = u32::try_from(blocks.min(IN_FLIGHT as u64)).unwrap_or(u32::MAX);
        let room = self.store.in_flight().clone().acquire_many_owned(room).await.map_err(|_| shutdown())?;
        let mut hasher = self.hashed().await?.clone();
        self.size += self.gathering.length();
        self.parts += 1;
        let part = self.gathering.take();
        let number = i64::try_from(self.parts).unwrap_or(i64::MAX);
        self.on_their_way.spawn(send(self.sender.clone(), number, part.clone(), room));
        self.hashing = Some(spawn_blocking(move || {
            for piece in &part {
                hasher.update(piece);
            }
            hasher
        }));
        Ok(())
    }

    /// What hashes on from all parts that were handed over.
    pub(crate) async fn hashed(&mut self) -> client::Result<&Hasher> {
        if let Some(hashing) = self.hashing.take() {
            self.hashed = hashing.await.map_err(ended)?;
        }
        Ok(&self.hashed)
    }

    /// What hashed on from all parts but the one that was handed over last.
    pub(crate) fn hashed_before(&self) -> &Hasher {
        &self.hashed
    }

    /// Bytes of the part that is gathered.
    pub(crate) fn gathered(&self) -> u64 {
        self.gathering.length()
    }

    /// The part that is gathered. The next one begins.
    pub(crate) fn take_gathered(&mut self) -> Vec<Bytes> {
        self.gathering.take()
    }

    /// Parts, and bytes, that were handed over.
    pub(crate) fn handed_over(&self) -> (u64, u64) {
        (self.parts, self.size)
    }

    /// The parts that have arrived.
    pub(crate) fn arrived(&mut self) -> client::Result<&mut Vec<CompletedPart>> {
        while let Some(sent) = self.on_their_way.try_join_next() {
            self.sent.push(sent.map_err(ended)??);
        }
        Ok(&mut self.sent)
    }

    /// All parts in their order, once they have arrived.
    pub(crate) async fn all_sent(&mut self) -> client::Result<Vec<CompletedPart>> {
        while !self.on_their_way.is_empty() {
            self.one_sent().await?;
        }
        if self.sent.len() as u64 != self.parts {
            // S3 would put together what has arrived.
            return Err(S3Error::Garbled("a part of the upload failed before".into()));
        }
        self.sent.sort_by_key(|part| part.part_number);
        Ok(mem::take(&mut self.sent))
    }

    /// Waits until nothing is on its way any more.
    pub(crate) async fn settle(&mut self) {
        while self.on_their_way.join_next().await.is_some() {}
    }

    async fn one_sent(&mut self) -> client::Result<()> {
        if let Some(sent) = self.on_their_way.join_next().await {
            self.sent.push(sent.map_err(ended)??);
        }
        Ok(())
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
