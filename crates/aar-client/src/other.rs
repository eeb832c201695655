//! Calls of another service that keeps to the same conventions, as AMS does: what is called and what comes is the caller's.

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aar_model::wire::FINGERPRINT_HEADER;
use aar_model::{Digest, Hasher};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use crate::client::{CALL_LIMIT, within};
use crate::error::{Error, Result};
use crate::patience::Patience;
use crate::progress::{Progress, Silent, Step};
use crate::push::{blocking, digest_file, read_ahead};
use crate::{Client, Download};

/// How long a service may be silent that has a whole package to check, or an image to export.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);

impl Client {
    /// One call with JSON, or nothing, for a body. The answer is the envelope as it came.
    pub async fn call_other<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        self.call(method, path, body, Some(CALL_LIMIT)).await
    }

    /// Asks for JSON, and again after what may pass. The answer is the envelope as it came.
    pub async fn ask_other<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let (mut patience, silent) = (Patience::default(), Arc::new(Silent) as Arc<dyn Progress>);
        loop {
            match self.call_other(Method::GET, path.to_owned(), None::<&()>).await {
                Err(e) if e.may_pass() => patience.pause(e, false, &silent).await?,
                answer => return answer,
            }
        }
    }

    /// Sends a file with its SHA-256 in the header of AMS. The answer is the envelope as it came.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where nothing moves for ten minutes.
    pub async fn send_file<T: DeserializeOwned>(&self, method: Method, path: &str, file: &Path) -> Result<T> {
        let source = file.to_owned();
        let (open, fingerprint, size) = blocking(move || digest_file(&source, &Silent)).await?;
        let headers = [
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (HeaderName::from_static(FINGERPRINT_HEADER), fingerprint.to_string()),
        ];
        let pulse = Arc::new(Pulse(Mutex::new(Instant::now())));
        let body =
            read_ahead(Arc::new(open), 0, size, Arc::clone(&pulse) as Arc<dyn Progress>).boxed_unsync();
        let mut call = pin!(self.send_once(self.request(&method, path, &headers, body)?));
        loop {
            let last = pulse.last();
            match timeout_at(last + SILENCE_LIMIT, &mut call).await {
                Ok(answer) => return answer,
                Err(_) if pulse.last() == last => return Err(Error::silent(SILENCE_LIMIT.as_secs())),
                Err(_) => {}
            }
        }
    }

    /// Receives a file, whose SHA-256 is in the header of AMS, into `target`, and makes it durable. Answers its SHA-256.
    ///
    /// # Errors
    /// [`Error::Verification`] where the bytes are wrong. Whatever fails, `target` is of no use then.
    pub async fn receive_file(&self, path: &str, target: &Path) -> Result<Digest> {
        let empty = Bytes::new();
        let call = self.exchange(&Method::GET, path, &[], &empty);
        let (connection, response) = within(Some(SILENCE_LIMIT), call).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = within(Some(CALL_LIMIT), self.finish(connection, response)).await?;
            return Err(Error::refused(status, &body));
        }
        let mut download = Download::of_unknown_size(connection, response)?;
        let mut file = File::create(target).await.map_err(Error::file("create", target))?;
        let mut hasher = Hasher::default();
        while let Some(piece) = download.next().await? {
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(Error::file("write", target))?;
        }
        file.sync_all().await.map_err(Error::file("write", target))?;
        match (download.fingerprint, hasher.finish()) {
            (expected, actual) if expected == actual => Ok(actual),
            (expected, actual) => Err(Error::Verification { expected, actual }),
        }
    }
}

/// When a file was last taken from.
struct Pulse(Mutex<Instant>);

impl Pulse {
    fn last(&self) -> Instant {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Pulse {
    fn begin(&self, _: Step, _: u64, _: u64) {}
    fn advance(&self, _: u64) {
        *self.lock() = Instant::now();
    }
    fn retry(&self, _: &Error, _: Duration) {}
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, file) = (dir.path().join("socket"), dir.path().join("package"));
        std::fs::write(&file, "bytes").unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let mut connections = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.push(connection);
            }
        });
        let client = Client::unix(socket);
        let begun = Instant::now();
        let sent = client.send_file::<()>(Method::POST, "/", &file).await.unwrap_err();
        let received = client.receive_file("/", &dir.path().join("image")).await.unwrap_err();
        for error in [sent, received] {
            assert!(matches!(error, Error::Interrupted(_)), "{error:?}");
        }
        assert!(begun.elapsed() >= SILENCE_LIMIT * 2);
    }
}
