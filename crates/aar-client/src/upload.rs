//! Sending an image in as many goes as it takes, by the tus protocol.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aar_model::Digest;
use aar_model::wire::{API_PREFIX, Operation, PushRequest, TUS_VERSION, tus};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, LOCATION};
use hyper::{Method, Response};

use crate::client::header;
use crate::error::{Error, Result};
use crate::patience::Patience;
use crate::progress::{Progress, Step};
use crate::push::{PushOutcome, Source, ascii_json};
use crate::{Client, ImageAddress};

impl Client {
    /// Pushes an image by an upload that goes on after each cut. It may have been begun by an earlier process.
    pub(crate) async fn upload(
        &self,
        image: &ImageAddress,
        source: &Source,
        request: &PushRequest,
        progress: &Arc<dyn Progress>,
    ) -> Result<PushOutcome> {
        let mut memory = self.memory(image, source, &ascii_json(request)?);
        let mut upload = memory.as_mut().and_then(Memory::recall);
        let mut patience = Patience::default();
        let mut reached = 0;
        loop {
            let before = reached;
            let outcome = match upload.clone() {
                Some(path) => self.go_on(&path, source, &mut reached, progress).await,
                None => match self.create(image, source, request).await {
                    Ok(path) => {
                        if let Some(memory) = &mut memory {
                            memory.remember(&path);
                        }
                        reached = 0;
                        upload = Some(path.clone());
                        self.send_rest(&path, source, 0, progress).await
                    }
                    Err(error) => Err(error),
                },
            };
            let error = match outcome {
                Ok(outcome) => {
                    forget(memory);
                    if let Some(path) = upload {
                        // Else the registry remembers for a day that it is finished, that is all.
                        let _ = self.ask(&Method::DELETE, &path, &[]).await;
                    }
                    return Ok(outcome);
                }
                // It has expired, or is another's.
                Err(error @ Error::NotFound(_)) if upload.is_some() => {
                    upload = None;
                    error
                }
                Err(error) if error.may_pass() => error,
                Err(error @ (Error::Conflict(_) | Error::BadRequest(_))) => {
                    forget(memory);
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            patience.pause(error, reached > before, progress).await?;
        }
    }

    /// Begins an upload, and answers its path.
    async fn create(&self, image: &ImageAddress, source: &Source, request: &PushRequest) -> Result<String> {
        let metadata = [
            ("name", image.name.to_string()),
            ("version", image.version.to_string()),
            ("architecture", image.architecture.to_string()),
            ("fingerprint", source.fingerprint.to_string()),
            ("request", ascii_json(request)?),
        ];
        let metadata = metadata.map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).join(",");
        let headers = [(named(tus::LENGTH), source.size.to_string()), (named(tus::METADATA), metadata)];
        let answer = self.ask(&Method::POST, &format!("{API_PREFIX}/uploads"), &headers).await?;
        let path = header(&answer, LOCATION.as_str()).filter(|path| is_upload(path));
        path.map(str::to_owned).ok_or_else(|| Error::Protocol("an upload without a place".to_owned()))
    }

    /// Sends what the registry has not.
    async fn go_on(
        &self,
        path: &str,
        source: &Source,
        reached: &mut u64,
        progress: &Arc<dyn Progress>,
    ) -> Result<PushOutcome> {
        let answer = self.ask(&Method::HEAD, path, &[]).await?;
        let offset = header(&answer, tus::OFFSET).and_then(|offset| offset.parse().ok());
        let offset = offset.filter(|offset| *offset <= source.size);
        *reached = offset.ok_or_else(|| Error::Protocol("an upload that ends nowhere".to_owned()))?;
        if *reached == source.size {
            return Ok(self.outcome(&answer, source).await);
        }
        self.send_rest(path, source, *reached, progress).await
    }

    async fn send_rest(
        &self,
        path: &str,
        source: &Source,
        offset: u64,
        progress: &Arc<dyn Progress>,
    ) -> Result<PushOutcome> {
        progress.begin(Step::Sending, offset, source.size);
        let headers = [
            (named(tus::RESUMABLE), TUS_VERSION.to_owned()),
            (named(tus::OFFSET), offset.to_string()),
            (CONTENT_TYPE, tus::MEDIA_TYPE.to_owned()),
        ];
        let request = self.request(&Method::PATCH, path, &headers, source.body(offset, progress))?;
        let answer = self.answered_once(request).await?;
        Ok(self.outcome(&answer, source).await)
    }

    /// What came of the push, as far as it can still be learned.
    async fn outcome(&self, answer: &Response<Bytes>, source: &Source) -> PushOutcome {
        let unknown = PushOutcome { fingerprint: source.fingerprint, size: source.size, existed: false };
        let Some(path) = header(answer, LOCATION.as_str()) else { return unknown };
        let operation = self.get::<Operation>(path.to_owned()).await;
        operation.and_then(PushOutcome::of).unwrap_or(unknown)
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<Response<Bytes>> {
        let version = (named(tus::RESUMABLE), TUS_VERSION.to_owned());
        self.answered(method, path, &[&[version], headers].concat()).await
    }

    /// Where the upload of this image to this registry is remembered.
    fn memory(&self, image: &ImageAddress, source: &Source, request: &str) -> Option<Memory> {
        let dir = self.uploads.as_ref()?;
        // What is said of the image was told at the upload's beginning: with anything else it is another push.
        let what = format!("{}\n{}\n{image}\n{request}", self.address(), source.fingerprint);
        // Without it the push cannot be gone on with by another process, that is all.
        Memory::open(dir, &Digest::of(what.as_bytes()).to_string()).ok().flatten()
    }
}

/// The path of an upload, in a file that one process has at a time.
struct Memory {
    path: PathBuf,
    file: File,
}

impl Memory {
    fn open(dir: &Path, name: &str) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(name);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&path)?;
        Ok(file.try_lock().is_ok().then_some(Self { path, file }))
    }

    fn recall(&mut self) -> Option<String> {
        let mut path = String::new();
        self.file.read_to_string(&mut path).ok()?;
        is_upload(&path).then_some(path)
    }

    fn remember(&mut self, upload: &str) {
        // Half of it would be no path of an upload.
        let _ = self.file.set_len(0).and_then(|()| self.file.write_all_at(upload.as_bytes(), 0));
    }
}

fn forget(memory: Option<Memory>) {
    if let Some(memory) = memory {
        let _ = fs::remove_file(memory.path);
    }
}

/// Whether it is the path of an upload: nothing else is asked for, whatever a server or a file says.
fn is_upload(path: &str) -> bool {
    let id = path.strip_prefix(API_PREFIX).and_then(|path| path.strip_prefix("/uploads/"));
    id.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}
