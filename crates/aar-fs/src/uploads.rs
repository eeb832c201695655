//! Uploads that may come in several goes: a file of bytes, and a note of how far it has come.
//!
//! What the file has beyond that is written over. The note is written before there are bytes, and removed after them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use aar_store::{Error, Incoming, Note, Result, UploadId, Uploads, image_key};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use crate::FsBlobs;
use crate::batches::{Batches, Sink};
use crate::direct::{CAPACITY, DirectFile};
use crate::durable::{open_file, parent, remove_file, sync_dir, write_file};
use crate::error::{blocking, corrupt, error, found};
use crate::listing::Dir;
use crate::root::{Root, UPLOADS};
use crate::upload::{is_stored, prepare, reserve};

/// After how many bytes it is noted again how far an upload has come: what a crash costs at most. Whole batches.
const PART: u64 = 8 * CAPACITY as u64;

#[async_trait]
impl Uploads for FsBlobs {
    async fn create(&self, id: &UploadId, note: Note) -> Result<()> {
        let kept = Kept::of(self.root(), id);
        blocking(move || {
            kept.write(&note)?;
            let reserved = kept.open().and_then(|file| reserve(&file, note.size));
            reserved.map_err(|source| {
                // What cannot be removed now expires.
                let _ = kept.remove();
                error("write an image to", &kept.bytes, source)
            })
        })
        .await
    }

    async fn resume(&self, id: &UploadId, counts_at_once: bool) -> Result<Box<dyn Incoming>> {
        let kept = Kept::of(self.root(), id);
        let path = kept.bytes.clone();
        let (offset, continued) = blocking(move || {
            let mut note = kept.read()?;
            let mut open = || -> io::Result<File> {
                let file = kept.open()?;
                // What should be there is lost, unless it has become the image.
                if file.metadata()?.len() < note.offset && note.offset < note.size {
                    note = Note::new(note.about.clone(), note.image, note.size);
                }
                Ok(file)
            };
            let file = open().map_err(|source| error("open", &kept.bytes, source))?;
            let (offset, next) = (note.offset, counts_at_once.then(|| note.offset + PART));
            Ok((offset, Continued { kept, file: DirectFile::new(file), note, next }))
        })
        .await?;
        Ok(Box::new(FsIncoming { offset, batches: Batches::new(path, continued) }))
    }

    async fn complete(&self, id: &UploadId) -> Result<()> {
        let kept = Kept::of(self.root(), id);
        let root = Arc::clone(self.shared_root());
        blocking(move || {
            let note = kept.read()?;
            let actual = note.hasher.finish();
            if actual != note.image {
                return Err(Error::Mismatch { expected: note.image, actual });
            }
            let path = root.join(image_key(&note.image));
            let name = || -> io::Result<bool> {
                prepare(&root, &path)?;
                if is_stored(&path, note.size) {
                    remove_file(&kept.bytes)?;
                } else if is_stored(&kept.bytes, note.size) {
                    fs::rename(&kept.bytes, &path)?;
                } else {
                    return Ok(false);
                }
                sync_dir(parent(&path))?;
                Ok(true)
            };
            let named = name().map_err(|source| error("store", &path, source))?;
            if named { Ok(()) } else { Err(Error::NotFound(note.image)) }
        })
        .await
    }

    async fn retire(&self, id: &UploadId, about: Value) -> Result<()> {
        let kept = Kept::of(self.root(), id);
        blocking(move || {
            let note = kept.read()?;
            remove_file(&kept.bytes).map_err(|source| error("remove", &kept.bytes, source))?;
            kept.write(&Note { about, ..note })
        })
        .await
    }

    async fn remove(&self, id: &UploadId) -> Result<()> {
        let kept = Kept::of(self.root(), id);
        blocking(move || kept.remove().map_err(|source| error("remove", &kept.note, source))).await
    }

    async fn list(&self) -> Result<Vec<(UploadId, Note)>> {
        let root = Arc::clone(self.shared_root());
        blocking(move || {
            let path = root.join(UPLOADS);
            let mut ids = Vec::new();
            let listed = Dir::open(&path).and_then(|dir| {
                dir.each(|name| {
                    let id = name.to_str().ok().and_then(|name| name.strip_suffix(NOTE)?.parse().ok());
                    ids.extend::<Option<UploadId>>(id);
                    Ok(())
                })
            });
            listed.map_err(|source| error("list", &path, source))?;
            let mut notes = Vec::new();
            for id in ids {
                match Kept::of(&root, &id).read() {
                    Ok(note) => notes.push((id, note)),
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "passed over an upload");
                    }
                }
            }
            Ok(notes)
        })
        .await
    }
}

/// How the names of notes, and of bytes, end.
const NOTE: &str = ".json";
const BYTES: &str = ".image";

/// The files of one upload.
struct Kept {
    note: PathBuf,
    bytes: PathBuf,
}

impl Kept {
    fn of(root: &Root, id: &UploadId) -> Self {
        let path = |ending| root.join(UPLOADS).join(format!("{id}{ending}"));
        Self { note: path(NOTE), bytes: path(BYTES) }
    }

    /// Opens the bytes to be written.
    fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.bytes)
    }

    fn read(&self) -> Result<Note> {
        let read = |path: &Path| -> io::Result<Option<Vec<u8>>> {
            let Some((mut file, _)) = found(open_file(path))? else { return Ok(None) };
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok(Some(text))
        };
        let text = read(&self.note).map_err(|source| error("read", &self.note, source))?;
        let missing = || error("read", &self.note, io::ErrorKind::NotFound.into());
        serde_json::from_slice(&text.ok_or_else(missing)?).map_err(|problem| corrupt(&self.note, problem))
    }

    fn write(&self, note: &Note) -> Result<()> {
        let written = note_text(note).and_then(|text| write_file(&self.note, &text, SystemTime::now()));
        written.map(drop).map_err(|source| error("write", &self.note, source))
    }

    fn remove(&self) -> io::Result<()> {
        remove_file(&self.bytes)?;
        remove_file(&self.note)
    }
}

fn note_text(note: &Note) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(note)?)
}

struct FsIncoming {
    offset: u64,
    batches: Batches<Continued>,
}

#[async_trait]
impl Incoming for FsIncoming {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.batches.write(&chunk).await
    }

    async fn keep(self: Box<Self>) -> Result<u64> {
        let continued = self.batches.finish().await?;
        blocking(move || continued.keep()).await
    }

    async fn give_up(mut self: Box<Self>) {
        // Its error was told, or tells of what is not wanted any more.
        let _ = self.batches.idle().await;
    }
}

/// An upload that goes on.
struct Continued {
    kept: Kept,
    file: DirectFile,
    /// How far the file is written.
    note: Note,
    /// Where it is noted next how far the upload has come, where it is to be.
    next: Option<u64>,
}

impl Continued {
    fn keep(self) -> Result<u64> {
        self.file.sync().map_err(|source| error("write an image to", &self.kept.bytes, source))?;
        self.kept.write(&self.note)?;
        Ok(self.note.offset)
    }
}

impl Sink for Continued {
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        self.file.write_at(batch, self.note.offset)?;
        self.note.take(batch);
        if self.next == Some(self.note.offset) {
            self.file.sync()?;
            write_file(&self.kept.note, &note_text(&self.note)?, SystemTime::now())?;
            self.next = Some(self.note.offset + PART);
        }
        Ok(())
    }
}
