//! The JSON shapes of the REST API, as AMS's clients know them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{
    AppName, ApplicationFields, Architecture, CertificateInfo, Digest, Role, TrustChange, Version,
    VersionFields,
};

/// Path prefix of this version of the API.
pub const API_PREFIX: &str = "/1.0";

/// Header with the SHA-256 of an image.
pub const FINGERPRINT_HEADER: &str = "x-ams-fingerprint";

/// Header with the metadata of a push, JSON of a [`PushRequest`].
pub const REQUEST_HEADER: &str = "x-ams-request";

/// Header with the SHA-256 of a version's metadata, over the body as it was sent.
pub const MANIFEST_SHA256_HEADER: &str = "x-ams-manifestsha256";

/// Header with the identifier of a request, which the daemon's log repeats.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// An answer that is complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sync<T> {
    /// `sync`
    #[serde(rename = "type")]
    pub kind: String,
    /// `Success`
    pub status: String,
    /// 200
    pub status_code: u16,
    /// Number of objects before paging; collections only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_size: Option<usize>,
    /// The answer itself.
    pub metadata: T,
}

impl<T> Sync<T> {
    /// An answer that holds one object.
    pub fn new(metadata: T) -> Self {
        Self { kind: "sync".into(), status: "Success".into(), status_code: 200, total_size: None, metadata }
    }

    /// An answer that holds a page of a collection of `total_size` objects.
    pub fn collection(metadata: T, total_size: usize) -> Self {
        Self { total_size: Some(total_size), ..Self::new(metadata) }
    }
}

/// An answer that stands for an operation; HTTP 202.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Async {
    /// `async`
    #[serde(rename = "type")]
    pub kind: String,
    /// The operation's status in words.
    pub status: String,
    /// The operation's status as a number.
    pub status_code: u16,
    /// Path of the operation.
    pub operation: String,
    /// The operation itself.
    pub metadata: Operation,
}

impl From<Operation> for Async {
    fn from(metadata: Operation) -> Self {
        Self {
            kind: "async".into(),
            status: metadata.status.clone(),
            status_code: metadata.status_code,
            operation: format!("{API_PREFIX}/operations/{}", metadata.id),
            metadata,
        }
    }
}

/// An answer that refuses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Error {
    /// `error`
    #[serde(rename = "type")]
    pub kind: String,
    /// What was wrong and what to do.
    pub error: String,
    /// The HTTP status.
    pub error_code: u16,
}

impl Error {
    /// A refusal with the HTTP status `error_code`.
    pub fn new(error_code: u16, error: impl Into<String>) -> Self {
        Self { kind: "error".into(), error: error.into(), error_code }
    }
}

/// Work that a changing call stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// A UUID.
    pub id: String,
    /// `task`
    pub class: String,
    /// What it does, for people.
    pub description: String,
    /// RFC 3339
    pub created_at: String,
    /// RFC 3339
    pub updated_at: String,
    /// The status in words.
    pub status: String,
    /// 103 running, 105 pending, 200 success, 400 failure, 401 cancelled.
    pub status_code: u16,
    /// Paths of what it works on, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, Vec<String>>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Whether it can be cancelled.
    pub may_cancel: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub err: String,
}

/// What listeners are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event<T> {
    /// `lifecycle` or `operation`
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened, RFC 3339.
    pub timestamp: String,
    /// A [`LifecycleEvent`] or an [`Operation`].
    pub metadata: T,
}

/// A change of what the registry holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleEvent {
    /// What happened, such as `application-version-added`.
    pub action: String,
    /// The path of what it happened to.
    pub source: String,
}

/// What the service is and how the caller stands to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Extensions of the API that are served.
    pub api_extensions: Vec<String>,
    /// `stable`
    pub api_status: String,
    /// `1.0`
    pub api_version: String,
    /// `trusted` or `untrusted`
    pub auth: String,
    /// `2waySSL`
    pub auth_methods: Vec<String>,
    /// The caller's role, where it is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// The daemon's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Semantic version.
    pub version: String,
}

/// What administrators see of the registry at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// `ready`, or `degraded` where the storage could not be used since the start.
    pub state: String,
    /// Where the API is served, as it is configured.
    pub address: String,
    /// Where images are kept: a directory, or `s3://<bucket>/<prefix>`.
    pub storage: String,
    /// Applications, published or not.
    pub applications: u64,
    /// Different images.
    pub images: u64,
    /// Bytes of all images.
    pub bytes: u64,
}

/// An application with the versions that the caller may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Application {
    /// The name once more: a registry has no other identifier.
    pub id: AppName,
    /// The name.
    pub name: AppName,
    /// `ready`
    pub status: String,
    /// 2
    pub status_code: i32,
    /// Whether any version is published.
    pub published: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
    /// Architectures of all images.
    pub architectures: Vec<Architecture>,
    /// The versions, lowest first.
    pub versions: Vec<ApplicationVersion>,
    /// The fields that publishers set.
    #[serde(flatten)]
    pub fields: ApplicationFields,
}

/// A version of an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApplicationVersion {
    /// Its number.
    pub number: Version,
    /// `active`
    pub status: String,
    /// 3
    pub status_code: i32,
    /// Whether clients see it.
    pub published: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// Its images, one an architecture.
    pub images: Vec<Image>,
    /// The fields that publishers set.
    #[serde(flatten)]
    pub fields: VersionFields,
}

/// An image of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What it is built for.
    pub architecture: Architecture,
    /// SHA-256 of its bytes.
    pub fingerprint: Digest,
    /// Bytes.
    pub size: u64,
    /// What it is packed in, `application/zip`.
    pub media_type: String,
}

impl Image {
    /// The name of a file that holds the image: `<application>_<version>_<architecture>.<extension>`.
    pub fn file_name(&self, application: &AppName, version: Version) -> String {
        format!("{application}_{version}_{}.{}", self.architecture, self.extension())
    }

    /// What the name of a file that holds the image ends with, after a dot.
    pub fn extension(&self) -> &'static str {
        match self.media_type.as_str() {
            "application/x-bzip2" => "tar.bz2",
            "application/zip" => "zip",
            "application/gzip" => "tar.gz",
            "application/x-xz" => "tar.xz",
            "application/zstd" => "tar.zst",
            _ => "img",
        }
    }
}

/// An addon in a version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Addon {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: i64,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A file that is installed beside the application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExtraData {
    /// Where it goes on Android's file system.
    pub target: String,
    /// Owner and group.
    pub owner: String,
    /// Unix permissions.
    pub permissions: String,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A network service of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// First port.
    pub port: i64,
    /// Last port of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_end: Option<i64>,
    /// `tcp`, `udp`
    #[serde(deserialize_with = "null_as_empty")]
    pub protocols: Vec<String>,
    /// Whether it is reachable from outside.
    pub expose: bool,
    /// Its name.
    pub name: String,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// AMS's watchdog.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watchdog {
    /// Whether it is off.
    pub disabled: bool,
    /// Android packages that may come to the front.
    #[serde(rename = "allowed-packages", deserialize_with = "null_as_empty")]
    pub allowed_packages: Vec<String>,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Settings of the hooks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// How long one may take, `10m`.
    pub timeout: String,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Settings of the bootstrap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bootstrap {
    /// Files that are kept after it.
    #[serde(deserialize_with = "null_as_empty")]
    pub keep: Vec<String>,
    /// Fields that this registry does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Takes null for an empty list, as AMS has it.
fn null_as_empty<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(list).map(Option::unwrap_or_default)
}

/// An application as AMS lists a registry: published versions only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryApplication {
    /// The name.
    pub name: AppName,
    /// Architectures of the published images.
    pub architectures: Vec<Architecture>,
    /// Android package that is started.
    pub boot_package: String,
    /// AMS instance type.
    pub instance_type: String,
    /// Free tags.
    pub tags: Vec<String>,
    /// The published versions by number.
    pub versions: BTreeMap<u32, RegistryVersion>,
    /// Runs in a virtual machine instead of a container.
    pub vm: bool,
}

/// A version as AMS lists a registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryVersion {
    /// Android activity that is started.
    pub boot_activity: String,
    /// Feature flags.
    pub features: Vec<String>,
    /// Settings of the hooks.
    pub hooks: Hooks,
    /// Settings of the bootstrap.
    pub bootstrap: Bootstrap,
    /// `gpu`, `gpu-preferred`, `software`, `vpu` or `unknown`.
    pub video_encoder: String,
}

/// The extension of the API that stands for uploads which may come in several goes, `/1.0/uploads`.
pub const RESUMABLE_UPLOADS: &str = "resumable_uploads";

/// The version of the tus protocol that these uploads follow.
pub const TUS_VERSION: &str = "1.0.0";

/// The headers of the tus protocol.
pub mod tus {
    /// The protocol's version; in every request and answer.
    pub const RESUMABLE: &str = "tus-resumable";
    /// The versions that the registry knows.
    pub const VERSION: &str = "tus-version";
    /// The extensions that the registry knows.
    pub const EXTENSION: &str = "tus-extension";
    /// The algorithms that a checksum may be of.
    pub const CHECKSUM_ALGORITHM: &str = "tus-checksum-algorithm";
    /// Bytes of the upload that have come.
    pub const OFFSET: &str = "upload-offset";
    /// Bytes of the upload in all.
    pub const LENGTH: &str = "upload-length";
    /// What the upload is: keys, each with its value in base64.
    pub const METADATA: &str = "upload-metadata";
    /// Algorithm and checksum of a body.
    pub const CHECKSUM: &str = "upload-checksum";
    /// Until when an upload is kept.
    pub const EXPIRES: &str = "upload-expires";
    /// The media type of bodies.
    pub const MEDIA_TYPE: &str = "application/offset+octet-stream";
}

/// The metadata of a push, in the header [`REQUEST_HEADER`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushRequest {
    /// Fields of the application; they update it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub application: Map<String, Value>,
    /// Fields of the version; they count for its first image only.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub version: Map<String, Value>,
}

/// The change of a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionPatch {
    /// Publish or withdraw.
    #[serde(default)]
    pub published: Option<bool>,
}

/// What `POST /1.0/certificates` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddCertificate {
    /// PEM, or the DER in base64.
    pub certificate: String,
    /// `client` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who brings it; `operator` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What `POST /1.0/certificates` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedCertificate {
    /// What changed.
    pub change: TrustChange,
    /// The certificate as it is trusted now.
    pub certificate: CertificateInfo,
}

/// What a rebuild of the index did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildReport {
    /// Records that were read.
    pub records: u64,
    /// Entries of the index that were not as the records say.
    pub changed: u64,
    /// Records that cannot be read and are left out; the daemon's log names them.
    #[serde(default)]
    pub damaged: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// What the collector removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectReport {
    /// The images that no record refers to.
    pub removed: Vec<CollectedImage>,
    /// Their bytes altogether.
    pub bytes: u64,
    /// Whether they are still there, as nothing but a report was wanted.
    pub dry_run: bool,
}

/// An image that no record refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedImage {
    /// SHA-256 of its bytes.
    pub fingerprint: Digest,
    /// Bytes.
    pub size: u64,
}

/// What re-hashing all images found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Images that were read.
    pub images: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// The images that are not what their records say.
    pub damaged: Vec<DamagedImage>,
}

/// What a copy to another storage did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReport {
    /// Images that were copied.
    pub images: u64,
    /// Images that the other storage had already.
    pub images_skipped: u64,
    /// Bytes that were copied.
    pub bytes: u64,
    /// Records that were copied.
    pub records: u64,
    /// Records that the other storage had already.
    pub records_skipped: u64,
    /// Images that are not what their records say, and were not copied.
    pub damaged: Vec<DamagedImage>,
    /// Records that only the other storage has: their keys.
    pub extra: Vec<String>,
}

/// An image that is missing or whose bytes have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedImage {
    /// SHA-256 that its bytes should have.
    pub fingerprint: Digest,
    /// What is wrong.
    pub problem: String,
    /// Who uses it, each as `name/version/architecture`.
    pub applications: Vec<String>,
}

/// What trying the storage found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageReport {
    /// One for each thing that was tried.
    pub checks: Vec<StorageFinding>,
}

/// What came of one thing that was tried on the storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageFinding {
    /// What was tried: a permission by its name, such as `s3:PutObject`, or a few words.
    pub check: String,
    /// On what: an ARN, a path or an address, without secrets.
    pub resource: String,
    /// How it went.
    pub outcome: StorageOutcome,
    /// The problem with all its causes, why nothing was tried, or what else is worth knowing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What would mend it, where that is known beyond the problem's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How it went with one thing that was tried on the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageOutcome {
    /// It works.
    Ok,
    /// It does not.
    Failed,
    /// There was nothing to try it on.
    Skipped,
}
