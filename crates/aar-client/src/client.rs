//! The calls of the API.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aar_model::wire::{
    API_PREFIX, AddCertificate, AddedCertificate, Application, Async, CollectReport, CopyReport,
    FINGERPRINT_HEADER, Operation, RebuildReport, ServiceStatus, StorageReport, Summary, Sync, VerifyReport,
    VersionInfo, VersionPatch,
};
use aar_model::{AppName, Architecture, CertificateInfo, Digest, FingerprintPrefix, Version};
use aar_tls::Connector;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderName, IF_NONE_MATCH, IF_RANGE, LOCATION,
    RANGE, USER_AGENT,
};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::{Position, Url, form_urlencoded};

use crate::connection::{Connection, Endpoint, Request};
use crate::error::{Error, Result};
use crate::rate::RateLimit;

/// How long a call may take that moves no image.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(60);
/// How long a download may pause.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// The largest answer that is held in memory: a list of all applications.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;

/// What the header `User-Agent` says.
pub(crate) const AGENT: &str = concat!("aar/", env!("CARGO_PKG_VERSION"));

/// A client of one registry. Calls that follow each other share one connection.
pub struct Client {
    pub(crate) endpoint: Endpoint,
    /// Path under which the registry lies, where a proxy puts it elsewhere than at the root.
    pub(crate) prefix: String,
    idle: Mutex<Option<Connection>>,
    /// Where uploads that are under way are remembered.
    pub(crate) uploads: Option<PathBuf>,
}

/// What names an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageAddress {
    /// The application.
    pub name: AppName,
    /// Its version.
    pub version: Version,
    /// What the image is built for.
    pub architecture: Architecture,
}

impl fmt::Display for ImageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {} for {}", self.name, self.version, self.architecture)
    }
}

impl Client {
    /// A client of the registry at `url`, which is `https://HOST[:PORT]`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`] where the URL is no such one.
    pub fn https(url: &Url, connector: Connector) -> Result<Self> {
        let wrong = || Error::Address(url.to_string());
        if url.scheme() != "https" || !url.username().is_empty() || url.query().is_some() {
            return Err(wrong());
        }
        let host = url.host_str().ok_or_else(wrong)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(wrong)?;
        let prefix = url.path().trim_end_matches('/').to_owned();
        Ok(Self {
            endpoint: Endpoint::tls(connector, host, port),
            prefix,
            idle: Mutex::default(),
            uploads: None,
        })
    }

    /// A client of the daemon that listens on the Unix socket `path`. Nothing is sent yet.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: Endpoint::unix(path.into()),
            prefix: String::new(),
            idle: Mutex::default(),
            uploads: None,
        }
    }

    /// The same client under a limit, which other clients may share. Events do not count.
    #[must_use]
    pub fn limited(self, limit: Arc<RateLimit>) -> Self {
        Self { endpoint: self.endpoint.limited(Some(limit)), ..self }
    }

    /// From now on remembers in the directory `dir` which uploads are under way, so that another process can go on with a
    /// push. It is made when it is needed.
    #[must_use]
    pub fn remember_uploads(mut self, dir: PathBuf) -> Self {
        self.uploads = Some(dir);
        self
    }

    /// The registry's address.
    pub(crate) fn address(&self) -> String {
        format!("{}{}", self.endpoint.authority(), self.prefix)
    }

    /// What the service is, and how the caller stands to it.
    pub async fn service_status(&self) -> Result<ServiceStatus> {
        self.get(API_PREFIX.to_owned()).await
    }

    /// The daemon's version.
    pub async fn version(&self) -> Result<VersionInfo> {
        self.get(format!("{API_PREFIX}/version")).await
    }

    /// All applications that pass every filter; a filter is a field and its value, `("tags", "games")`.
    pub async fn applications(&self, filters: &[(String, String)]) -> Result<Vec<Application>> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("recursion", "1")
            .append_pair("limit", "-1")
            .extend_pairs(filters)
            .finish();
        self.get(format!("{API_PREFIX}/applications?{query}")).await
    }

    /// All applications with their tag, unless that is still the one that was `seen`.
    pub async fn applications_since(&self, seen: Option<&str>) -> Result<Option<Listing>> {
        let path = format!("{API_PREFIX}/applications?recursion=1&limit=-1");
        let condition = seen.map(|tag| (IF_NONE_MATCH, tag.to_owned()));
        let call = async {
            let headers = condition.as_slice();
            let (connection, response) = self.exchange(&Method::GET, &path, headers, &Bytes::new()).await?;
            let (status, tag) = (response.status(), header(&response, ETAG.as_str()).map(ToOwned::to_owned));
            Ok((status, tag, self.finish(connection, response).await?))
        };
        let (status, tag, body) = within(Some(CALL_LIMIT), call).await?;
        if status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        Ok(Some(Listing { applications: parse::<Sync<_>>(status, &body)?.metadata, tag }))
    }

    /// Changes fields of an application; those that are not given stay as they are.
    pub async fn change_application(&self, name: &AppName, fields: &Map<String, Value>) -> Result<()> {
        self.change(Method::PATCH, application_path(name), Some(fields)).await
    }

    /// One application.
    pub async fn application(&self, name: &AppName) -> Result<Application> {
        self.get(application_path(name)).await
    }

    /// Publishes a version, or withdraws it.
    pub async fn set_published(&self, name: &AppName, version: Version, published: bool) -> Result<()> {
        let patch = VersionPatch { published: Some(published) };
        self.change(Method::PATCH, version_path(name, version), Some(&patch)).await
    }

    /// Deletes an application with all versions.
    pub async fn delete_application(&self, name: &AppName) -> Result<()> {
        self.change(Method::DELETE, application_path(name), None::<&()>).await
    }

    /// Deletes a version, or one image of it.
    pub async fn delete_version(
        &self,
        name: &AppName,
        version: Version,
        architecture: Option<Architecture>,
    ) -> Result<()> {
        let mut path = version_path(name, version);
        if let Some(architecture) = architecture {
            path.push_str("?architecture=");
            path.push_str(architecture.as_str());
        }
        self.change(Method::DELETE, path, None::<&()>).await
    }

    /// Opens the download of an image from byte `offset` on, provided that it is still `expected`. Where the registry
    /// sends another image, or all of it, the answer says so.
    pub async fn download(&self, image: &ImageAddress, offset: u64, expected: &Digest) -> Result<Download> {
        let path = image_path(image);
        let (range, tag) = (format!("bytes={offset}-"), format!("\"{expected}\""));
        let headers = [(RANGE, range), (IF_RANGE, tag)];
        let headers = if offset == 0 { &[][..] } else { &headers[..] };
        let (connection, response) =
            within(Some(CALL_LIMIT), self.exchange(&Method::GET, &path, headers, &Bytes::new())).await?;
        let status = response.status();
        if status == StatusCode::TEMPORARY_REDIRECT {
            let (url, fingerprint) = elsewhere(&response)?;
            within(Some(CALL_LIMIT), self.finish(connection, response)).await?;
            return within(
                Some(CALL_LIMIT),
                download_from_store(&url, self.endpoint.limit(), offset, fingerprint),
            )
            .await;
        }
        if status != StatusCode::OK && status != StatusCode::PARTIAL_CONTENT {
            let body = within(Some(CALL_LIMIT), self.finish(connection, response)).await?;
            return Err(Error::refused(status, &body));
        }
        let fingerprint = announced(&response)?;
        Download::new(connection, response, fingerprint)
    }

    /// What the registry is and holds, at a glance. Unix socket only.
    pub async fn summary(&self) -> Result<Summary> {
        self.get(format!("{API_PREFIX}/summary")).await
    }

    /// The certificates that are trusted, or those that are revoked. Unix socket only.
    pub async fn certificates(&self, revoked: bool) -> Result<Vec<CertificateInfo>> {
        self.get(format!("{API_PREFIX}/certificates{}", if revoked { "?revoked=true" } else { "" })).await
    }

    /// The one certificate, trusted or revoked, whose fingerprint begins so. Unix socket only.
    pub async fn certificate(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        self.get(certificate_path(prefix)).await
    }

    /// Trusts a certificate. Unix socket only.
    pub async fn add_certificate(&self, certificate: &AddCertificate) -> Result<AddedCertificate> {
        let path = format!("{API_PREFIX}/certificates");
        Ok(self.call::<Sync<_>>(Method::POST, path, Some(certificate), Some(CALL_LIMIT)).await?.metadata)
    }

    /// Trusts a certificate no more; it may be added again. Unix socket only.
    pub async fn remove_certificate(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        let path = certificate_path(prefix);
        Ok(self.call::<Sync<_>>(Method::DELETE, path, None::<&()>, Some(CALL_LIMIT)).await?.metadata)
    }

    /// Trusts a certificate no more for the sake of one source. Unix socket only.
    pub async fn withdraw_certificate(
        &self,
        prefix: &FingerprintPrefix,
        source: &str,
    ) -> Result<CertificateInfo> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("source", source).finish();
        let path = format!("{}?{query}", certificate_path(prefix));
        Ok(self.call::<Sync<_>>(Method::DELETE, path, None::<&()>, Some(CALL_LIMIT)).await?.metadata)
    }

    /// Trusts a certificate never again. Unix socket only.
    pub async fn revoke_certificate(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        let path = format!("{}/revoke", certificate_path(prefix));
        Ok(self.call::<Sync<_>>(Method::POST, path, None::<&()>, Some(CALL_LIMIT)).await?.metadata)
    }

    /// Rebuilds the index from the records. Unix socket only; no time limit.
    pub async fn rebuild(&self) -> Result<RebuildReport> {
        self.maintain("rebuild").await
    }

    /// Removes images that no record refers to and that are older than `grace`; with `dry_run` only names them. Unix
    /// socket only; no time limit.
    pub async fn collect_garbage(&self, dry_run: bool, grace: Option<Duration>) -> Result<CollectReport> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("dry-run", if dry_run { "true" } else { "false" });
        if let Some(grace) = grace {
            query.append_pair("grace", &grace.as_secs().to_string());
        }
        self.maintain(&format!("collect-garbage?{}", query.finish())).await
    }

    /// Reads all images and compares them with their digests. Unix socket only; no time limit.
    pub async fn verify(&self) -> Result<VerifyReport> {
        self.maintain("verify").await
    }

    /// Copies all images and records to the storage that a configuration asks for, given as its YAML. Unix socket only; no
    /// time limit.
    pub async fn copy_storage(&self, configuration: String) -> Result<CopyReport> {
        let path = format!("{API_PREFIX}/maintenance/copy-storage");
        let yaml = [(CONTENT_TYPE, "application/yaml".to_owned())];
        Ok(self.send::<Sync<_>>(Method::POST, path, &yaml, configuration.into(), None).await?.metadata)
    }

    /// Tries whether the storage can be used as it has to be. Unix socket only; no time limit.
    pub async fn check_storage(&self) -> Result<StorageReport> {
        self.maintain("check-storage").await
    }

    async fn maintain<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let path = format!("{API_PREFIX}/maintenance/{what}");
        Ok(self.call::<Sync<T>>(Method::POST, path, None::<&()>, None).await?.metadata)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T> {
        Ok(self.call::<Sync<T>>(Method::GET, path, None::<&()>, Some(CALL_LIMIT)).await?.metadata)
    }

    async fn change(&self, method: Method, path: String, body: Option<&impl Serialize>) -> Result<()> {
        let answer: Async = self.call(method, path, body, Some(CALL_LIMIT)).await?;
        succeeded(answer.metadata).map(drop)
    }

    /// One call whose answer fits into memory.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: Option<&impl Serialize>,
        limit: Option<Duration>,
    ) -> Result<T> {
        let json = [(CONTENT_TYPE, "application/json".to_owned())];
        let (headers, body) = match body {
            None => (&[][..], Bytes::new()),
            Some(body) => {
                let body = serde_json::to_vec(body).map_err(|e| Error::Protocol(e.to_string()))?;
                (&json[..], body.into())
            }
        };
        self.send(method, path, headers, body, limit).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        headers: &[(HeaderName, String)],
        body: Bytes,
        limit: Option<Duration>,
    ) -> Result<T> {
        let call = async {
            let (connection, response) = self.exchange(&method, &path, headers, &body).await?;
            let status = response.status();
            Ok((status, self.finish(connection, response).await?))
        };
        let (status, body) = within(limit, call).await?;
        parse(status, &body)
    }

    /// Sends a request over the idle connection, or a new one, and waits for the head of the answer. A connection that
    /// turns out to be dead is replaced where that cannot do the same thing twice.
    pub(crate) async fn exchange(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: &Bytes,
    ) -> Result<(Connection, Response<Incoming>)> {
        let request = || {
            let body = Full::new(body.clone()).map_err(|never| match never {}).boxed_unsync();
            self.request(method, path, headers, body)
        };
        let idle = self.idle().take();
        if let Some(mut connection) = idle
            && connection.is_usable().await
        {
            match connection.exchange(request()?).await {
                Ok(response) => return Ok((connection, response)),
                Err(dead) if dead.unsent || method.is_safe() => {}
                Err(dead) => return Err(Error::Interrupted(dead.error.into())),
            }
        }
        let mut connection = self.endpoint.connect().await?;
        match connection.exchange(request()?).await {
            Ok(response) => Ok((connection, response)),
            Err(dead) => Err(Error::Interrupted(dead.error.into())),
        }
    }

    /// Sends a request whose body can be sent once only, over a connection of its own.
    pub(crate) async fn send_once<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        let answer = self.answered_once(request).await?;
        parse(answer.status(), answer.body())
    }

    /// One call without a body, of whose answer the head counts.
    pub(crate) async fn answered(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<Response<Bytes>> {
        let call = async {
            let (connection, response) = self.exchange(method, path, headers, &Bytes::new()).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut answer = Response::new(self.finish(connection, response).await?);
            (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
            succeeding(answer)
        };
        within(Some(CALL_LIMIT), call).await
    }

    /// As [`send_once`](Self::send_once), and answers the head, too.
    pub(crate) async fn answered_once(&self, request: Request) -> Result<Response<Bytes>> {
        let mut connection = self.endpoint.connect().await?;
        let response = connection.exchange(request).await.map_err(|e| Error::Interrupted(e.error.into()))?;
        let (head, body) = response.into_parts();
        // The connection ends here: where the registry has answered early, the body is still on its way.
        succeeding(Response::from_parts(head, collect(body).await?))
    }

    pub(crate) fn request<B>(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: B,
    ) -> Result<hyper::Request<B>> {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, self.endpoint.authority())
            .header(USER_AGENT, AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(body).map_err(|e| Error::Protocol(e.to_string()))
    }

    /// Reads the answer to its end; the connection is then free for the next call.
    pub(crate) async fn finish(&self, connection: Connection, response: Response<Incoming>) -> Result<Bytes> {
        let body = collect(response.into_body()).await?;
        *self.idle() = Some(connection);
        Ok(body)
    }

    fn idle(&self) -> MutexGuard<'_, Option<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.endpoint.authority()).finish()
    }
}

/// Applications as they were at one moment.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The applications.
    pub applications: Vec<Application>,
    /// What tells this moment from others.
    pub tag: Option<String>,
}

/// An image on its way.
pub struct Download {
    /// The SHA-256 that the registry announces.
    pub fingerprint: Digest,
    /// Bytes of the whole image.
    pub size: u64,
    /// Where in the image the bytes begin that come.
    pub offset: u64,
    body: Incoming,
    _connection: Connection,
}

impl Download {
    fn new(connection: Connection, response: Response<Incoming>, fingerprint: Digest) -> Result<Self> {
        let header = |name: &str| header(&response, name);
        let (offset, size) = if response.status() == StatusCode::PARTIAL_CONTENT {
            header(CONTENT_RANGE.as_str()).and_then(content_range).ok_or_else(|| missing("content-range"))?
        } else {
            let size = header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
            (0, size.ok_or_else(|| missing("content-length"))?)
        };
        Ok(Self { fingerprint, size, offset, body: response.into_body(), _connection: connection })
    }

    /// What is sent whole by a service that need not say how much it is.
    pub(crate) fn of_unknown_size(connection: Connection, response: Response<Incoming>) -> Result<Self> {
        let fingerprint = announced(&response)?;
        Ok(Self { fingerprint, size: 0, offset: 0, body: response.into_body(), _connection: connection })
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where the connection is cut, or silent for a minute.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match timeout(STALL_LIMIT, self.body.frame()).await {
                Err(_) => return Err(Error::silent(STALL_LIMIT.as_secs())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(e))) => return Err(Error::Interrupted(e.into())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("fingerprint", &self.fingerprint)
            .field("size", &self.size)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// Fetches an image from where the registry sends its clients. The URL is a secret: errors name its host only.
async fn download_from_store(
    url: &Url,
    limit: Option<Arc<RateLimit>>,
    offset: u64,
    fingerprint: Digest,
) -> Result<Download> {
    let endpoint = Endpoint::of_store(url)?.limited(limit);
    let mut request = hyper::Request::builder()
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        // As it was signed: without the port that goes without saying.
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, AGENT);
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = request.body(body).map_err(|e| Error::Protocol(e.to_string()))?;
    let mut connection = endpoint.connect().await.map_err(|error| match error {
        Error::Unreachable { address, source, .. } => {
            Error::Unreachable { what: "the store of the images", address, source }
        }
        other => other,
    })?;
    let response = connection.exchange(request).await.map_err(|e| Error::Interrupted(e.error.into()))?;
    let status = response.status();
    if status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT {
        return Download::new(connection, response, fingerprint);
    }
    let body = collect(response.into_body()).await?;
    let body = String::from_utf8_lossy(&body);
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("no reason given", |(code, _)| code);
    Err(Error::Store { address: endpoint.authority(), status: status.as_u16(), code: code.to_owned() })
}

/// Where the registry sends its clients for an image, and which image that is.
fn elsewhere(response: &Response<Incoming>) -> Result<(Url, Digest)> {
    let url = header(response, LOCATION.as_str()).and_then(|location| Url::parse(location).ok());
    Ok((url.ok_or_else(|| missing(LOCATION.as_str()))?, announced(response)?))
}

/// The SHA-256 of the image that the registry announces.
fn announced(response: &Response<Incoming>) -> Result<Digest> {
    let fingerprint = header(response, FINGERPRINT_HEADER).and_then(|text| text.parse().ok());
    fingerprint.ok_or_else(|| missing(FINGERPRINT_HEADER))
}

pub(crate) fn header<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

fn missing(header: &str) -> Error {
    Error::Protocol(format!("a download without a proper header `{header}`"))
}

/// First byte and total size of `bytes 100-199/1000`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()?))
}

fn application_path(name: &AppName) -> String {
    format!("{API_PREFIX}/applications/{name}")
}

fn version_path(name: &AppName, version: Version) -> String {
    format!("{API_PREFIX}/applications/{name}/{version}")
}

pub(crate) fn image_path(image: &ImageAddress) -> String {
    format!("{}?architecture={}", version_path(&image.name, image.version), image.architecture)
}

fn certificate_path(prefix: &FingerprintPrefix) -> String {
    format!("{API_PREFIX}/certificates/{prefix}")
}

/// What came of an operation that the registry has finished.
pub(crate) fn succeeded(operation: Operation) -> Result<Operation> {
    match operation.status_code {
        200 => Ok(operation),
        400 | 401 => Err(Error::Server { status: 400, text: operation.err }),
        other => Err(Error::Protocol(format!("an operation of status {other} where a finished one was due"))),
    }
}

fn succeeding(answer: Response<Bytes>) -> Result<Response<Bytes>> {
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(Error::refused(status, answer.body())),
    }
}

fn parse<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T> {
    if !status.is_success() {
        return Err(Error::refused(status, body));
    }
    serde_json::from_slice(body).map_err(|e| Error::Protocol(e.to_string()))
}

async fn collect(body: Incoming) -> Result<Bytes> {
    match Limited::new(body, ANSWER_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(e) => Err(Error::Interrupted(e)),
    }
}

pub(crate) async fn within<T>(limit: Option<Duration>, call: impl Future<Output = Result<T>>) -> Result<T> {
    match limit {
        None => call.await,
        Some(limit) => timeout(limit, call).await.unwrap_or_else(|_| Err(Error::silent(limit.as_secs()))),
    }
}
