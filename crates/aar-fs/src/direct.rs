//! Writing past the page cache.
//!
//! An image is written once, at once and for good. To copy it into the page cache first costs more than to hash it, drives
//! out of memory what clients are pulling, and leaves it all to be brought to disk at the end, while the publisher waits.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// What memory, offsets and lengths are multiples of: the largest block of the disks there are.
const ALIGNMENT: usize = 4096;
/// Bytes that go to the disk at once.
const CAPACITY: usize = 512 * 1024;

/// A new file that is written from its beginning to its end, past the page cache where the file system can do that.
pub(crate) struct DirectFile {
    file: File,
    /// Larger than `CAPACITY`, so that as much of it lies at an aligned address.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
}

impl DirectFile {
    pub(crate) fn new(file: File) -> Self {
        // Refused where the file system cannot: then the page cache serves.
        let _ = set_direct(&file, true);
        Self { file, buffer: Vec::new(), start: 0, filled: 0 }
    }

    /// Takes the next bytes; writes where there are enough of them.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; CAPACITY + ALIGNMENT];
            self.start = self.buffer.as_ptr().align_offset(ALIGNMENT);
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CAPACITY - self.filled));
            let at = self.start + self.filled;
            self.buffer[at..at + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == CAPACITY {
                self.write_out()?;
            }
        }
        Ok(())
    }

    /// Brings to disk what was written. What lies in the buffer stays there.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes what is left. It is on disk once the file is synchronised.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        if !self.filled.is_multiple_of(ALIGNMENT) {
            // The end of a file need not fill a block, but then it has to go through the page cache.
            set_direct(&self.file, false)?;
        }
        self.write_out()?;
        Ok(self.file)
    }

    fn write_out(&mut self) -> io::Result<()> {
        let bytes = &self.buffer[self.start..self.start + self.filled];
        match self.file.write_all(bytes) {
            // Some file systems take the flag, and refuse the write.
            Err(refused) if refused.kind() == io::ErrorKind::InvalidInput => {
                set_direct(&self.file, false)?;
                self.file.write_all(bytes)?;
            }
            written => written?,
        }
        self.filled = 0;
        Ok(())
    }
}

fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}
