//! Sending an image from a file.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aar_model::wire::{Async, FINGERPRINT_HEADER, Operation, PushRequest, REQUEST_HEADER, RESUMABLE_UPLOADS};
use aar_model::{Digest, Hasher};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderName};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::client::{image_path, succeeded};
use crate::connection;
use crate::error::{Error, Result};
use crate::progress::{Progress, Step};
use crate::{Client, ImageAddress};

/// How much of a file is read at a time.
const BLOCK: usize = 256 * 1024;
/// How many blocks are read ahead of the network.
const BLOCKS_AHEAD: usize = 4;

/// What came of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct PushOutcome {
    /// The image's SHA-256.
    pub fingerprint: Digest,
    /// Bytes.
    pub size: u64,
    /// Whether this very image was there already, under the same name, version and architecture.
    pub existed: bool,
}

impl Client {
    /// Pushes the image in `file`: reads it twice, for its digest and to send it. Goes on where the connection is cut, if the
    /// registry can do that.
    pub async fn push(
        &self,
        image: &ImageAddress,
        file: &Path,
        request: &PushRequest,
        progress: &Arc<dyn Progress>,
    ) -> Result<PushOutcome> {
        let (open, fingerprint, size) = {
            let (path, progress) = (file.to_owned(), Arc::clone(progress));
            blocking(move || digest_file(&path, &*progress)).await?
        };
        let source = Source { file: Arc::new(open), fingerprint, size };
        // The plain push refuses an image of no bytes.
        let service = self.service_status().await?;
        if size > 0 && service.api_extensions.iter().any(|extension| extension == RESUMABLE_UPLOADS) {
            return self.upload(image, &source, request, progress).await;
        }
        progress.begin(Step::Sending, 0, size);
        let body = source.body(0, progress);
        let headers = [
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (HeaderName::from_static(FINGERPRINT_HEADER), fingerprint.to_string()),
            (HeaderName::from_static(REQUEST_HEADER), ascii_json(request)?),
        ];
        let request = self.request(&Method::PUT, &image_path(image), &headers, body)?;
        let answer: Async = self.send_once(request).await?;
        PushOutcome::of(answer.metadata)
    }
}

impl PushOutcome {
    /// What the operation of a push tells.
    pub(crate) fn of(operation: Operation) -> Result<Self> {
        let outcome = serde_json::Value::Object(succeeded(operation)?.metadata);
        serde_json::from_value(outcome).map_err(|e| Error::Protocol(e.to_string()))
    }
}

/// An image in a file.
pub(crate) struct Source {
    file: Arc<File>,
    pub(crate) fingerprint: Digest,
    pub(crate) size: u64,
}

impl Source {
    /// The image from byte `offset` on.
    pub(crate) fn body(&self, offset: u64, progress: &Arc<dyn Progress>) -> connection::Body {
        read_ahead(Arc::clone(&self.file), offset, self.size, Arc::clone(progress)).boxed_unsync()
    }
}

/// Opens a file, computes its digest and answers it with its size; the file is at its beginning again.
pub fn digest_file(path: &Path, progress: &dyn Progress) -> Result<(File, Digest, u64)> {
    let mut file = File::open(path).map_err(Error::file("open", path))?;
    let metadata = file.metadata().map_err(Error::file("read", path))?;
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(Error::File { action: "read", path: path.to_owned(), source });
    }
    progress.begin(Step::Hashing, 0, metadata.len());
    let (digest, size) = hash(&mut file, progress).map_err(Error::file("read", path))?;
    file.rewind().map_err(Error::file("read", path))?;
    Ok((file, digest.finish(), size))
}

/// Hashes what is left of `file`; answers how many bytes that was.
pub(crate) fn hash(file: &mut File, progress: &dyn Progress) -> io::Result<(Hasher, u64)> {
    let (mut hasher, mut size, mut block) = (Hasher::default(), 0, vec![0; BLOCK]);
    loop {
        let read = match file.read(&mut block) {
            Ok(0) => return Ok((hasher, size)),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&block[..read]);
        size += read as u64;
        progress.advance(read as u64);
    }
}

/// JSON whose text is ASCII, as a header's value must be.
pub(crate) fn ascii_json(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(value).map_err(|e| Error::Protocol(e.to_string()))?;
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        // Only strings hold such characters, and there an escape means the same. DEL is ASCII, but not for headers.
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}"); // a String takes everything
            }
        }
    }
    Ok(ascii)
}

/// Reads `file` from byte `offset` to byte `end` on a thread of its own, a few blocks ahead of who takes them.
pub(crate) fn read_ahead(
    file: Arc<File>,
    mut offset: u64,
    end: u64,
    progress: Arc<dyn Progress>,
) -> FileBody {
    let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
    let left = end - offset;
    spawn_blocking(move || {
        while offset < end {
            let mut block = vec![0; usize::try_from(end - offset).map_or(BLOCK, |left| left.min(BLOCK))];
            let block = match file.read_at(&mut block, offset) {
                Ok(0) => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file became shorter while it was sent",
                )),
                Ok(read) => {
                    offset += read as u64;
                    block.truncate(read);
                    Ok(Bytes::from(block))
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let failed = block.is_err();
            if sender.blocking_send(block).is_err() || failed {
                return; // the request is over
            }
        }
    });
    FileBody { blocks, left, progress }
}

/// A body that comes from a file.
pub(crate) struct FileBody {
    blocks: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    progress: Arc<dyn Progress>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.blocks.poll_recv(cx).map(|block| {
            block.map(|block| {
                let block = block?;
                self.left -= block.len() as u64;
                self.progress.advance(block.len() as u64);
                Ok(Frame::data(block))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Runs what blocks on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|panic| Err(Error::Protocol(panic.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_any_script_survives_in_a_header() {
        let text = "plain \"quoted\" ümläut 日本 🎮 \u{7f} \n";
        let ascii = ascii_json(&text).unwrap();
        assert!(ascii.bytes().all(|b| (0x20..0x7f).contains(&b)), "{ascii}");
        assert_eq!(serde_json::from_str::<String>(&ascii).unwrap(), text);
    }
}
