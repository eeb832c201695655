//! How a record lies in sled.
//!
//! The key is the application's name, a zero byte, and 0 for the application's record or 1 and the version's number in big
//! endian: sled's order is the records' order, and since no name holds a zero byte, no application's keys begin like
//! another's. The value is packed: the tag's length in 8 bytes, the tag and the document.

use aar_model::{AppName, Version};
use aar_store::{ETag, RecordKey};

use crate::packed::{Packer, Unpacker};

pub(crate) fn prefix(name: &AppName) -> Vec<u8> {
    [name.as_str().as_bytes(), &[0]].concat()
}

pub(crate) fn encode_key(key: &RecordKey) -> Vec<u8> {
    let mut bytes = prefix(key.app());
    match key.number() {
        None => bytes.push(0),
        Some(version) => {
            bytes.push(1);
            bytes.extend(version.number().to_be_bytes());
        }
    }
    bytes
}

pub(crate) fn encode_value(tag: &ETag, document: &[u8], packer: &mut Packer) -> Vec<u8> {
    packer.pack(&[&(tag.0.len() as u64).to_be_bytes(), tag.0.as_bytes(), document].concat())
}

/// Reads entries, one after the other.
#[derive(Default)]
pub(crate) struct Decoder {
    /// Of the entry before, which is most often this one's, too.
    application: Option<AppName>,
    unpacker: Unpacker,
}

impl Decoder {
    pub(crate) fn key(&mut self, bytes: &[u8]) -> Option<RecordKey> {
        let (name, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == 0)?);
        if self.application.as_ref().is_none_or(|before| before.as_str().as_bytes() != name) {
            self.application = Some(std::str::from_utf8(name).ok()?.parse().ok()?);
        }
        let name = self.application.clone()?;
        match rest {
            [0, 0] => Some(RecordKey::application(name)),
            [0, 1, number @ ..] => {
                let number = u32::from_be_bytes(number.try_into().ok()?);
                Some(RecordKey::version(name, Version::try_from(i64::from(number)).ok()?))
            }
            _ => None,
        }
    }

    pub(crate) fn value(&mut self, bytes: &[u8]) -> Option<(ETag, &[u8])> {
        let (length, rest) = self.unpacker.unpack(bytes)?.split_first_chunk()?;
        let (tag, document) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        Some((ETag(std::str::from_utf8(tag).ok()?.into()), document))
    }
}
