//! Reading: what a viewer sees of the registry. Answered from the index alone.

use aar_model::wire::{Application, ApplicationVersion, Image, RegistryApplication, RegistryVersion};
use aar_model::{AppName, Architecture, Version};

use super::core::Registry;
use super::document::{ApplicationDocument, Documents, VersionDocument, decode, version_view};
use super::error::RegistryError;
use crate::{ByteStream, Error, RecordKey, Result, Scope};

/// With whose eyes the registry is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Viewer {
    /// Sees published versions.
    Client,
    /// Sees all versions.
    Publisher,
}

impl Viewer {
    pub(super) fn sees(self, published: bool) -> bool {
        published || self == Self::Publisher
    }
}

/// An image that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// The application.
    pub application: AppName,
    /// The version.
    pub version: Version,
    /// The image.
    pub image: Image,
}

impl Registry {
    /// One application.
    pub fn application(&self, name: &AppName, viewer: Viewer) -> Result<Application, RegistryError> {
        self.documents(name)?.view(name, viewer).ok_or_else(|| no_application(name))
    }

    /// Calls `visit` with every application, in the order of their names.
    pub fn applications(&self, viewer: Viewer, visit: &mut dyn FnMut(Application)) -> Result<()> {
        let mut current: Option<(AppName, Documents)> = None;
        let mut finish = |current: Option<(AppName, Documents)>| {
            if let Some((name, documents)) = current
                && let Some(application) = documents.view(&name, viewer)
            {
                visit(application);
            }
        };
        let mut outcome = Ok(());
        self.index.scan(Scope::All, &mut |key, _, document| {
            if current.as_ref().is_none_or(|(name, _)| name != key.app()) {
                finish(current.replace((key.app().clone(), Documents::default())));
            }
            if let Some((_, documents)) = &mut current
                && outcome.is_ok()
            {
                outcome = documents.add(&key, document);
            }
        })?;
        finish(current);
        outcome
    }

    /// The applications as AMS lists a registry: published versions only, for whoever asks.
    pub fn registry_applications(&self) -> Result<Vec<RegistryApplication>> {
        let mut listed = Vec::new();
        self.applications(Viewer::Client, &mut |application| listed.push(registry_view(application)))?;
        Ok(listed)
    }

    /// One version.
    pub fn version(
        &self,
        name: &AppName,
        version: Version,
        viewer: Viewer,
    ) -> Result<ApplicationVersion, RegistryError> {
        Ok(version_view(version, &self.version_document(name, version, viewer)?))
    }

    /// One image of a version: that for `architecture`, or the only one.
    pub fn image(
        &self,
        name: &AppName,
        version: Version,
        architecture: Option<Architecture>,
        viewer: Viewer,
    ) -> Result<StoredImage, RegistryError> {
        let document = self.version_document(name, version, viewer)?;
        let image = match (architecture, document.images.as_slice()) {
            (Some(wanted), _) => document.image(wanted).ok_or_else(|| {
                let there = architectures(&document.images);
                RegistryError::NotFound(format!(
                    "version {version} of application {name} has no image for {wanted}, only for {there}"
                ))
            })?,
            (None, [only]) => only,
            (None, several) => {
                let there = architectures(several);
                return Err(RegistryError::Invalid(format!(
                    "version {version} of application {name} has several images; add ?architecture= with one of {there}"
                )));
            }
        };
        Ok(StoredImage { application: name.clone(), version, image: image.clone() })
    }

    /// The bytes of `range` of an image, which lies within it.
    pub async fn read(&self, image: &Image, range: std::ops::Range<u64>) -> Result<ByteStream> {
        match self.blobs.read(&image.fingerprint, range).await {
            // A record says that it is there.
            Err(error @ Error::NotFound(_)) => {
                let what = format!("image {}", image.fingerprint);
                Err(Error::Corrupt { what, source: error.into() })
            }
            read => read,
        }
    }

    fn version_document(
        &self,
        name: &AppName,
        version: Version,
        viewer: Viewer,
    ) -> Result<VersionDocument, RegistryError> {
        let application: Option<ApplicationDocument> =
            self.document(&RecordKey::application(name.clone()))?;
        if application.is_none_or(|application| application.deleted) {
            return Err(no_application(name));
        }
        self.document(&RecordKey::version(name.clone(), version))?
            .filter(|document: &VersionDocument| viewer.sees(document.published))
            .ok_or_else(|| no_version(name, version))
    }

    fn document<T: serde::de::DeserializeOwned>(&self, key: &RecordKey) -> Result<Option<T>> {
        let mut found = Ok(None);
        self.index
            .scan(Scope::Record(key), &mut |key, _, document| found = decode(&key, document).map(Some))?;
        found
    }
}

pub(super) fn no_application(name: &AppName) -> RegistryError {
    RegistryError::NotFound(format!("there is no application {name}"))
}

pub(super) fn no_version(name: &AppName, version: Version) -> RegistryError {
    RegistryError::NotFound(format!("application {name} has no version {version}"))
}

fn architectures(images: &[Image]) -> String {
    let names: Vec<_> = images.iter().map(|image| image.architecture.as_str()).collect();
    names.join(", ")
}

fn registry_view(application: Application) -> RegistryApplication {
    let versions = application.versions.into_iter().map(|version| {
        let fields = version.fields;
        let listed = RegistryVersion {
            boot_activity: fields.boot_activity,
            features: fields.features,
            hooks: fields.hooks,
            bootstrap: fields.bootstrap,
            video_encoder: fields.video_encoder,
        };
        (version.number.number(), listed)
    });
    RegistryApplication {
        name: application.name,
        architectures: application.architectures,
        boot_package: application.fields.boot_package,
        instance_type: application.fields.instance_type,
        tags: application.fields.tags,
        versions: versions.collect(),
        vm: application.fields.vm,
    }
}
