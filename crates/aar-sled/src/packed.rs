//! Documents as the index keeps them: packed, since sled holds in memory what it has read, and most of them are alike.
//!
//! First the checksum of the dictionary, without which the rest would be read as something else. Then the number of digests
//! in one byte, and their bytes: deflate would spend a byte on each of their digits. Last the document as a deflate stream
//! (RFC 1951), with a mark where each digest stood. sled has checksums of its own for what the disk does to them.

use std::borrow::Cow;
use std::sync::LazyLock;

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};
use memchr::memchr_iter;

/// What documents have in common, the most common last. An index that was packed with another one is begun anew.
const DICTIONARY: &[u8] = br#"
application/zip application/x-tar application/x-bzip2 arm64-v8a armeabi-v7a "target":"/data/","owner":"root","permissions":"0644"
"immutable":false,"inhibit_auto_updates":false,"vm":false,"node_selector":[],"gpu-type":"nvidia","vpu-slots":0,"no_disk_reserve":
"parent_image_id":"","parent_image_variant":"android","parent_image_version":0,"extra_data":{},"error_message":"","watchdog":
{"disabled":false,"allowed-packages":[]},"services":[{"port":,"port_end":,"protocols":["tcp","udp"],"expose":true,"name":""}],
"features":[],"hooks":{"timeout":"15m"},"bootstrap":{"keep":[]},"addons":[{"name":"","version":0}],"staged":{"version":
"deleted":true{"created_at":17,"updated_at":17,"fields":{"abi":"x86_64","boot_package":"com.","instance_type":"a4.3","resources":
{"cpus":4,"disk-size":"3GB","gpu-slots":0,"memory":"4GB"},"tags":["game","{"created_at":17,"updated_at":17,"published":false,
"published":true,"fields":{"boot_activity":"com..MainActivity","manifest_version":"0.1","required_permissions":
["android.permission.WRITE_EXTERNAL_STORAGE","android.permission.READ_EXTERNAL_STORAGE","android.permission.INTERNET"],
"video_encoder":"gpu-preferred"},"images":[{"architecture":"aarch64","fingerprint":"^","media_type":"application/octet-stream"},
{"architecture":"x86_64","fingerprint":"^","size":100,"media_type":"application/octet-stream"}]}"#;

/// Stands in a document for a digest that was taken out of it. A document that has one itself keeps its digests.
const MARK: u8 = b'^';
const DIGEST: usize = 32;

static CHECKSUM: LazyLock<[u8; 4]> = LazyLock::new(|| {
    let mut checksum = Crc::new();
    checksum.update(DICTIONARY);
    checksum.sum().to_be_bytes()
});

/// Packs documents.
pub(crate) struct Packer(Compress);

/// Unpacks documents.
pub(crate) struct Unpacker {
    inflate: Decompress,
    marked: Vec<u8>,
    document: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self(Compress::new(Compression::fast(), false))
    }

    // deflate fails where it is used in a wrong order, which no document changes.
    #[allow(clippy::expect_used)]
    pub(crate) fn pack(&mut self, document: &[u8]) -> Vec<u8> {
        self.0.reset();
        self.0.set_dictionary(DICTIONARY).expect("a dictionary can be set before the first byte");
        let (digests, marked) = take_digests(document);
        let count = u8::try_from(digests.len()).expect("no more are taken than a byte counts");
        let mut packed = [CHECKSUM.as_slice(), &[count], digests.as_flattened()].concat();
        loop {
            packed.reserve(marked.len() / 2 + 64);
            let rest = rest(&marked, self.0.total_in());
            let status = self
                .0
                .compress_vec(rest, &mut packed, FlushCompress::Finish)
                .expect("what was begun can go on");
            if status == Status::StreamEnd {
                return packed;
            }
        }
    }
}

impl Default for Unpacker {
    fn default() -> Self {
        Self { inflate: Decompress::new(false), marked: Vec::new(), document: Vec::new() }
    }
}

impl Unpacker {
    /// The document that `bytes` are, where they are one.
    pub(crate) fn unpack(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        let (digests, bytes) = bytes.strip_prefix(&*CHECKSUM)?.split_first()?;
        let (digests, bytes) = bytes.split_at_checked(DIGEST * usize::from(*digests))?;
        self.inflate(bytes)?;
        if digests.is_empty() {
            return Some(&self.marked);
        }
        self.document.clear();
        let mut digests = digests.chunks_exact(DIGEST);
        let mut rest = 0;
        for mark in memchr_iter(MARK, &self.marked) {
            self.document.extend(&self.marked[rest..mark]);
            let begin = self.document.len();
            self.document.resize(begin + 2 * DIGEST, 0);
            hex::encode_to_slice(digests.next()?, &mut self.document[begin..]).ok()?;
            rest = mark + 1;
        }
        self.document.extend(&self.marked[rest..]);
        digests.next().is_none().then_some(&self.document)
    }

    fn inflate(&mut self, bytes: &[u8]) -> Option<()> {
        self.inflate.reset(false);
        self.inflate.set_dictionary(DICTIONARY).ok()?;
        self.marked.clear();
        loop {
            self.marked.reserve(4 * bytes.len() + 64);
            let (read, written) = (self.inflate.total_in(), self.marked.len());
            match self.inflate.decompress_vec(rest(bytes, read), &mut self.marked, FlushDecompress::Finish) {
                Ok(Status::StreamEnd) => return Some(()),
                Ok(_) if self.marked.len() > written => {}
                _ => return None,
            }
        }
    }
}

/// The digests in `document`, as many as one byte counts, and `document` with marks in their places.
fn take_digests(document: &[u8]) -> (Vec<[u8; DIGEST]>, Cow<'_, [u8]>) {
    let mut digests = Vec::new();
    if document.contains(&MARK) {
        return (digests, document.into());
    }
    let mut marked = Vec::with_capacity(document.len());
    let mut rest = document;
    while let Some((byte, after)) = rest.split_first() {
        if let Some((digest, after)) = digest(rest).filter(|_| digests.len() < usize::from(u8::MAX)) {
            digests.push(digest);
            marked.push(MARK);
            rest = after;
        } else {
            marked.push(*byte);
            rest = after;
        }
    }
    (digests, marked.into())
}

/// The digest that `text` begins with, and what comes after it. It is written in lower case, as it will be again.
fn digest(text: &[u8]) -> Option<([u8; DIGEST], &[u8])> {
    let (digits, after) = text.split_first_chunk::<{ 2 * DIGEST }>()?;
    if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut digest = [0; DIGEST];
    hex::decode_to_slice(digits, &mut digest).ok()?;
    Some((digest, after))
}

fn rest(bytes: &[u8], read: u64) -> &[u8] {
    usize::try_from(read).ok().and_then(|read| bytes.get(read..)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const DOCUMENT: &[u8] = br#"{"created_at":1796034416,"updated_at":1796034417,"published":true,"fields":{"boot_activity":"com.example.game.MainActivity","manifest_version":"0.1","required_permissions":["android.permission.INTERNET"],"video_encoder":"gpu-preferred"},"images":[{"architecture":"x86_64","fingerprint":"fc447b96ec83842b7668e3034f406b01e3ff7e573657e46aa7e5096a8ea9770b","size":1048576,"media_type":"application/octet-stream"}]}"#;

    fn packed(document: &[u8]) -> Vec<u8> {
        Packer::new().pack(document)
    }

    #[test]
    fn a_usual_document_takes_a_quarter_of_its_size_at_most() {
        assert!(
            packed(DOCUMENT).len() * 4 <= DOCUMENT.len(),
            "{} of {} bytes",
            packed(DOCUMENT).len(),
            DOCUMENT.len()
        );
    }

    #[test]
    fn the_beginning_of_a_document_is_none() {
        let packed = packed(DOCUMENT);
        let mut unpacker = Unpacker::default();
        for end in 0..packed.len() {
            assert_eq!(unpacker.unpack(&packed[..end]), None, "the first {end} bytes");
        }
        assert_eq!(unpacker.unpack(&packed), Some(DOCUMENT));
    }

    #[test]
    fn what_was_packed_with_another_dictionary_is_none() {
        let mut packed = packed(DOCUMENT);
        packed[3] ^= 1;
        assert_eq!(Unpacker::default().unpack(&packed), None);
    }

    proptest! {
        #[test]
        fn every_document_comes_back(documents: Vec<Vec<u8>>, repeated in 0..2000usize) {
            let (mut packer, mut unpacker) = (Packer::new(), Unpacker::default());
            for document in documents.into_iter().chain([DOCUMENT.repeat(repeated)]) {
                prop_assert_eq!(unpacker.unpack(&packer.pack(&document)), Some(&*document));
            }
        }

        #[test]
        fn documents_with_digests_and_marks_come_back(parts in vec("[0-9a-f]{62,67}|[0-9A-F]{64}|\\^|[^^]{0,9}", 0..400)) {
            let document = parts.concat();
            let mut unpacker = Unpacker::default();
            prop_assert_eq!(unpacker.unpack(&packed(document.as_bytes())), Some(document.as_bytes()));
        }

        #[test]
        fn garbage_is_never_a_panic(bytes: Vec<u8>) {
            let _ = Unpacker::default().unpack(&[&*CHECKSUM, &*bytes].concat());
        }
    }
}
