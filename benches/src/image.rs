//! Images: files of random bytes with their SHA-256.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use openssl::{rand::rand_bytes, sha::Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::bench::MIB;

/// An image on disk; it has as many bytes as were asked for and none is still to be written back.
pub(crate) struct Image {
    /// Its name in a registry.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
    /// SHA-256, hex.
    pub(crate) fingerprint: String,
    /// How long the file system took to write it through.
    pub(crate) write_time: Duration,
}

impl Image {
    /// Writes an image of `size` bytes, whole MiB, as the file `name` in `dir`.
    pub(crate) fn generate(dir: &Path, name: &str, size: u64) -> Result<Self> {
        let path = dir.join(name);
        let mut file = File::create(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
        let mut chunk = vec![0; usize::try_from(MIB)?];
        let mut hash = Sha256::new();
        let mut write_time = Duration::ZERO;
        for _ in 0..size / MIB {
            rand_bytes(&mut chunk)?;
            hash.update(&chunk);
            let start = Instant::now();
            file.write_all(&chunk)?;
            write_time += start.elapsed();
        }
        let start = Instant::now();
        file.sync_all()?;
        write_time += start.elapsed();
        Ok(Self { name: name.to_owned(), path, size, fingerprint: hex::encode(hash.finish()), write_time })
    }

    /// Fails unless `stream` gives exactly this image.
    pub(crate) async fn compare(&self, mut stream: impl AsyncRead + Unpin) -> Result<()> {
        let mut chunk = vec![0; usize::try_from(MIB)?];
        let mut hash = Sha256::new();
        loop {
            let read = stream.read(&mut chunk).await?;
            if read == 0 {
                break;
            }
            hash.update(&chunk[..read]);
        }
        let fingerprint = hex::encode(hash.finish());
        ensure!(fingerprint == self.fingerprint, "`{}` came back as {fingerprint}", self.name);
        Ok(())
    }
}
