//! The calls of AMS's API.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aar_client::{Client, Method};
use aar_tls::Connector;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};
use url::Url;

use crate::error::{Error, Result};
use crate::wire::{Application, Configuration, Envelope, Operation, Service};

/// How often an operation is asked for: the first pause, which doubles, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long a change may take: to delete images, at most.
const LIMIT: Duration = Duration::from_secs(600);

/// A client of one AMS.
pub struct Ams {
    client: Client,
    /// How long a change may take, other than to make a version.
    limit: Duration,
}

impl Ams {
    /// The AMS that listens on the Unix socket `path`. Nothing is sent yet.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { client: Client::unix(path), limit: LIMIT }
    }

    /// The AMS at `url`, which is `https://HOST:PORT`. Nothing is sent yet.
    pub fn https(url: &Url, connector: Connector) -> Result<Self> {
        Ok(Self { client: Client::https(url, connector)?, limit: LIMIT })
    }

    /// Whether it has an extension of the API.
    pub async fn has_extension(&self, name: &str) -> Result<bool> {
        let service: Service = self.get("/1.0".to_owned()).await?;
        Ok(service.api_extensions.iter().any(|extension| extension == name))
    }

    /// How many published versions of an application AMS keeps, where that is limited.
    pub async fn max_published_versions(&self) -> Result<Option<usize>> {
        let configuration: Configuration = self.get("/1.0/config".to_owned()).await?;
        let limit = match configuration.config.get("application.max_published_versions") {
            Some(Value::Number(limit)) => limit.as_u64(),
            Some(Value::String(limit)) => limit.parse().ok(),
            _ => None,
        };
        Ok(limit.filter(|limit| *limit > 0).and_then(|limit| limit.try_into().ok()))
    }

    /// All applications.
    pub async fn applications(&self) -> Result<Vec<Application>> {
        let applications: Option<_> = self.get("/1.0/applications?recursion=1".to_owned()).await?;
        Ok(applications.unwrap_or_default())
    }

    /// One application, by its identifier or name; none where there is no such. What may pass is waited for.
    pub async fn application(&self, id: &str) -> Result<Option<Application>> {
        match self
            .client
            .ask_other::<Envelope<_>>(&format!("/1.0/applications/{id}"))
            .await
            .map_err(Error::from)
        {
            Ok(answer) => Ok(Some(answer.metadata)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Begins to make an application of a package.
    pub async fn create(&self, package: &Path) -> Result<Operation> {
        let answer: Envelope<_> = self.client.send_file(Method::POST, "/1.0/applications", package).await?;
        Ok(answer.metadata)
    }

    /// Begins to make a version of a package.
    pub async fn update(&self, id: &str, package: &Path) -> Result<Operation> {
        let path = format!("/1.0/applications/{id}");
        let answer: Envelope<_> = self.client.send_file(Method::PATCH, &path, package).await?;
        Ok(answer.metadata)
    }

    /// Changes fields of an application.
    pub async fn change(&self, id: &str, fields: &Map<String, Value>) -> Result<()> {
        self.done(Method::PATCH, format!("/1.0/applications/{id}"), fields).await
    }

    /// Lets instances be launched from a version.
    pub async fn publish(&self, id: &str, number: i64) -> Result<()> {
        self.done(Method::PATCH, format!("/1.0/applications/{id}/{number}"), &json!({"published": true}))
            .await
    }

    /// Deletes an application; no error where there is none.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.remove(format!("/1.0/applications/{id}")).await
    }

    /// Deletes a version; no error where there is none.
    pub async fn delete_version(&self, id: &str, number: i64) -> Result<()> {
        self.remove(format!("/1.0/applications/{id}/{number}")).await
    }

    /// Exports the image of a version into a file, which is of no use where that fails.
    pub async fn export(&self, id: &str, number: i64, target: &Path) -> Result<()> {
        self.client.receive_file(&format!("/1.0/applications/{id}/{number}"), target).await?;
        Ok(())
    }

    /// Waits until an operation is through.
    ///
    /// # Errors
    /// [`Error::Failed`] where it fails. Where AMS knows nothing of it, as after a restart, it says so.
    pub async fn finish(&self, mut operation: Operation) -> Result<()> {
        let mut pause = PAUSES.0;
        loop {
            match operation.status_code {
                200 => return Ok(()),
                code if code > 200 => return Err(Error::Failed(operation.err)),
                _ => sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSES.1);
            // AMS goes on with it, whatever becomes of the call.
            let answer: Envelope<_> =
                self.client.ask_other(&format!("/1.0/operations/{}", operation.id)).await?;
            operation = answer.metadata;
        }
    }

    async fn remove(&self, path: String) -> Result<()> {
        match self.done(Method::DELETE, path, &json!({"force": false})).await {
            Err(e) if e.is_not_found() => Ok(()),
            done => done,
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T> {
        let answer: Envelope<T> = self.client.call_other(Method::GET, path, None::<&()>).await?;
        Ok(answer.metadata)
    }

    async fn done(&self, method: Method, path: String, body: &impl Serialize) -> Result<()> {
        let answer: Envelope<_> = self.client.call_other(method, path, Some(body)).await?;
        let ended = timeout(self.limit, self.finish(answer.metadata)).await;
        ended.unwrap_or(Err(Error::Slow(self.limit)))
    }
}

impl fmt::Debug for Ams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use aar_tests::ams_server::{AmsServer, Packed, package};

    use super::*;

    #[tokio::test]
    async fn a_change_that_never_ends_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let server = AmsServer::unix(dir.path());
        server.set(|ams| ams.never_ends = true);
        let id = server.make_by_hand(package(Packed::TarBzip2, "game", "", b""));
        let ams = Ams { limit: Duration::from_millis(100), ..Ams::unix(server.socket()) };
        let error = ams.delete(&id).await.unwrap_err().to_string();
        assert_eq!(error, "AMS has not done it in 100ms, and is asked again later");
    }
}
