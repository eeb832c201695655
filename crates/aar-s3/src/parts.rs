//! An image's bytes on their way in, gathered into parts.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::client;
use crate::error::S3Error;

/// Bytes in a part, where the image is not too big for that.
pub(crate) const PART: u64 = 8 * 1024 * 1024;
/// What S3 takes: parts of an upload, and bytes in an object.
const MOST_PARTS: u64 = 10_000;
const MOST: u64 = 5 << 40;
/// Parts after which parts become twice as big, where the image's size is not known.
const DOUBLING: u64 = 1_000;
/// Bytes in a buffer.
pub(crate) const BLOCK: usize = 256 * 1024;
/// Buffers that wait for their next use, at most.
const SPARE: usize = 128;

/// Refuses an image that no object can hold: its parts would be as much too big, and each is gathered in memory.
pub(crate) fn admit(size: u64) -> client::Result<()> {
    if size > MOST { Err(S3Error::TooBig(size)) } else { Ok(()) }
}

/// Bytes in part `number`, which begin at 0, of an image of `declared` bytes. Some stores insist on equal parts, which is
/// why they grow only where the size is not known.
pub(crate) fn part_size(least: u64, declared: Option<u64>, number: u64) -> u64 {
    match declared {
        Some(size) => least.max(size.div_ceil(MOST_PARTS)),
        None => least << (number / DOUBLING),
    }
}

/// Buffers go round: each returns when the last user of its bytes drops them.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BLOCK))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(buffer);
        }
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Arc<Pool>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give(mem::take(&mut self.buffer));
    }
}

/// A part that is being gathered.
pub(crate) struct Gathering {
    pool: Arc<Pool>,
    full: Vec<Bytes>,
    buffer: Vec<u8>,
    /// Bytes in all.
    length: u64,
}

impl Gathering {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, full: Vec::new(), buffer: Vec::new(), length: 0 }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Takes bytes off the front of `chunk` until the part has `size` bytes.
    pub(crate) fn fill(&mut self, chunk: &mut Bytes, size: u64) {
        let wanted = usize::try_from(size - self.length).unwrap_or(usize::MAX);
        let mut taken = chunk.split_to(chunk.len().min(wanted));
        self.length += taken.len() as u64;
        while !taken.is_empty() {
            if self.buffer.capacity() == 0 {
                self.buffer = self.pool.take();
            }
            let piece = taken.split_to(taken.len().min(BLOCK - self.buffer.len()));
            self.buffer.extend_from_slice(&piece);
            if self.buffer.len() == BLOCK {
                self.finish_block();
            }
        }
    }

    /// The part. The next one begins.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        if !self.buffer.is_empty() {
            self.finish_block();
        }
        self.length = 0;
        mem::take(&mut self.full)
    }

    fn finish_block(&mut self) {
        let lent = Lent { buffer: mem::take(&mut self.buffer), home: self.pool.clone() };
        self.full.push(Bytes::from_owner(lent));
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, PART, part_size};

    const GIB: u64 = 1 << 30;

    #[test]
    fn ten_thousand_parts_hold_five_tebibytes_whether_or_not_the_size_is_known() {
        assert!(part_size(PART, Some(MOST), 0) * 10_000 >= MOST);
        let reached: u64 = (0..10_000).map(|number| part_size(PART, None, number)).sum();
        assert!(reached >= MOST);
    }

    #[test]
    fn parts_of_a_known_size_are_equal_and_no_bigger_than_they_must_be() {
        for size in [0, 1, PART, 20 * GIB, 78 * GIB] {
            assert!((0..10_000).all(|number| part_size(PART, Some(size), number) == PART), "{size}");
        }
        assert_eq!(part_size(PART, Some(MOST), 0), part_size(PART, Some(MOST), 9_999));
        assert_eq!(part_size(5 << 20, Some(20 * GIB), 7), 5 << 20);
    }

    #[test]
    fn parts_of_an_unknown_size_stay_small_for_the_first_gibibytes_and_within_what_s3_takes() {
        assert!((0..1_000).all(|number| part_size(PART, None, number) == PART));
        assert!((0..10_000).all(|number| part_size(PART, None, number) <= 5 * GIB));
    }
}
