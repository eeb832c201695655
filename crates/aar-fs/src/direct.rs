//! Writing past the page cache.
//!
//! An image is written once, at once and for good. To copy it into the page cache first costs more than to hash it, drives
//! out of memory what clients are pulling, and leaves it all to be brought to disk at the end, while the publisher waits.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// What memory, offsets and lengths are multiples of: the largest block of the disks there are.
const ALIGNMENT: usize = 4096;
/// Bytes that go to the disk at once. They are worth a thread's attention: to wake it, and to be woken by it, costs as much
/// as to hash some 20 KiB. A sender may have two such buffers here, one that is filled and one that is written.
pub(crate) const CAPACITY: usize = 1024 * 1024;

/// A file that is written past the page cache where the file system can do that.
pub(crate) struct DirectFile(File);

impl DirectFile {
    pub(crate) fn new(file: File) -> Self {
        // Refused where the file system cannot: then the page cache serves.
        let _ = set_direct(&file, true);
        Self(file)
    }

    /// Writes the bytes of a [`Buffer`], which is full but for the last.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !bytes.len().is_multiple_of(ALIGNMENT) {
            // The end of a file need not fill a block, but then it has to go through the page cache.
            set_direct(&self.0, false)?;
        }
        match self.0.write_all_at(bytes, offset) {
            // Some file systems take the flag, and refuse the write, maybe after a part of it.
            Err(refused) if refused.kind() == io::ErrorKind::InvalidInput => {
                set_direct(&self.0, false)?;
                self.0.write_all_at(bytes, offset)
            }
            written => written,
        }
    }

    /// Brings to disk what was written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// Changes how long the file is.
    pub(crate) fn set_len(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }
}

/// `CAPACITY` bytes at an aligned address. They take memory only as they are filled.
#[derive(Default)]
pub(crate) struct Buffer {
    /// Larger than `CAPACITY`, so that as much of it lies at an aligned address.
    bytes: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Buffer {
    /// Takes as many of `bytes` as there is room for, and answers the others.
    pub(crate) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; CAPACITY + ALIGNMENT];
            self.start = self.bytes.as_ptr().align_offset(ALIGNMENT);
        }
        let (now, later) = bytes.split_at(bytes.len().min(CAPACITY - self.filled));
        let at = self.start + self.filled;
        self.bytes[at..at + now.len()].copy_from_slice(now);
        self.filled += now.len();
        later
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.filled]
    }

    pub(crate) fn is_full(&self) -> bool {
        self.filled == CAPACITY
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }
}

fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}
