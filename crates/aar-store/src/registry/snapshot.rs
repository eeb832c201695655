//! What an index holds at one moment, as far as it is compared with the store.

use aar_model::Digest;
use aar_model::wire::Image;
use serde::Deserialize;

use super::document::decode;
use crate::{ETag, Index, RecordKey, Result, Scope};

/// The records of an index: their tags, and what a start needs to know of them. It can be taken while the index is opened.
///
/// Kept in a few large pieces: small ones would lie between those that the index keeps for good, and their memory could not
/// be given back.
#[derive(Debug, Default)]
pub struct Snapshot {
    records: Vec<Record>,
    tags: String,
    images: Vec<(Digest, u64)>,
}

#[derive(Debug)]
struct Record {
    key: RecordKey,
    /// Where its tag ends in `tags`.
    tag: usize,
    /// Where its images end in `images`.
    images: usize,
    /// Whether it says that its application is deleted; none where it cannot be read.
    deleted: Option<bool>,
}

/// A record as the index has it.
#[derive(Debug)]
pub(super) struct Indexed<'a> {
    pub(super) key: &'a RecordKey,
    pub(super) tag: &'a str,
    /// None where it cannot be read.
    pub(super) content: Option<Content<'a>>,
}

/// What a start needs to know of a record.
#[derive(Debug)]
pub(super) struct Content<'a> {
    /// Whether it says that its application is deleted.
    pub(super) deleted: bool,
    /// The images that it holds, each with its size in bytes.
    pub(super) images: &'a [(Digest, u64)],
}

impl Snapshot {
    /// What `index` holds now.
    pub fn of(index: &dyn Index) -> Result<Self> {
        let mut snapshot = Self::default();
        index.scan(Scope::All, &mut |key, tag, document| snapshot.add(key, &tag, document))?;
        Ok(snapshot)
    }

    /// Takes in one record.
    pub fn add(&mut self, key: RecordKey, tag: &ETag, document: &[u8]) {
        self.tags.push_str(&tag.0);
        let deleted = read_content(&key, document, &mut self.images).ok();
        self.records.push(Record { key, tag: self.tags.len(), images: self.images.len(), deleted });
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Indexed<'_>> {
        let (mut tag, mut images) = (0, 0);
        self.records.iter().map(move |record| {
            let indexed = Indexed {
                key: &record.key,
                tag: &self.tags[tag..record.tag],
                content: record
                    .deleted
                    .map(|deleted| Content { deleted, images: &self.images[images..record.images] }),
            };
            (tag, images) = (record.tag, record.images);
            indexed
        })
    }
}

/// Adds to `images` what the record holds, and answers whether it says that its application is deleted. Everything else in it
/// is skipped without being kept.
pub(super) fn read_content(
    key: &RecordKey,
    document: &[u8],
    images: &mut Vec<(Digest, u64)>,
) -> Result<bool> {
    #[derive(Deserialize)]
    struct OfApplication {
        #[serde(default)]
        deleted: bool,
    }
    #[derive(Deserialize)]
    struct OfVersion {
        images: Vec<Image>,
    }
    if key.number().is_none() {
        return Ok(decode::<OfApplication>(key, document)?.deleted);
    }
    let read = decode::<OfVersion>(key, document)?.images;
    images.extend(read.iter().map(|image| (image.fingerprint, image.size)));
    Ok(false)
}
