//! AMS as the end that says what there should be.

use std::collections::HashMap;
use std::fs::{self, File};
use std::future::pending;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aar_client::ImageAddress;
use aar_model::{AppName, Architecture, Version, is_registry_owned};
use aar_sync::{Application, Catalogue, Package, Release, Source, durable};
use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::ams::Ams;
use crate::error::{Error, Result};
use crate::wire;

/// Fields of an application that mean something to its own AMS only, and would make several publishers fight: its base
/// image there, and what its caller may do.
const OWN: &[&str] = &["parent_image_id", "entitlements"];

/// AMS as the end that says what there should be: its published versions, as it exports them.
pub struct AmsSource {
    ams: Ams,
    /// What applications are for that are not tied to an ABI.
    architecture: Architecture,
    ids: Mutex<HashMap<AppName, String>>,
    _lock: Option<File>,
}

#[async_trait]
impl Source for AmsSource {
    async fn list(&self) -> aar_sync::Result<Arc<Catalogue>> {
        let extension = "application_image_export";
        if !self.ams.has_extension(extension).await? {
            return Err(Error::Extension { extension, consequence: "does not give images away" }.into());
        }
        let mut catalogue = Catalogue::default();
        let mut ids = HashMap::new();
        for application in self.ams.applications().await? {
            let Ok(name) = application.name.parse::<AppName>() else {
                tracing::warn!(
                    name = application.name,
                    "left out: a registry has no applications of such a name"
                );
                continue;
            };
            // It came from a registry itself.
            if application.immutable {
                continue;
            }
            ids.insert(name.clone(), application.id.clone());
            let application = self.convert(application);
            if !application.versions.is_empty() {
                catalogue.0.insert(name, application);
            }
        }
        *self.ids.lock().unwrap_or_else(PoisonError::into_inner) = ids;
        Ok(Arc::new(catalogue))
    }

    async fn changed(&self) {
        pending::<()>().await;
    }

    async fn fetch(&self, image: &ImageAddress, _: &Package, target: &Path) -> aar_sync::Result<PathBuf> {
        self.export(image, target).await?;
        Ok(target.to_owned())
    }
}

impl AmsSource {
    /// The published versions of `ams`, whose machines are of `architecture`, to be exported. Nobody else may have the
    /// state directory `state`, which is made where there is none.
    pub fn open(ams: Ams, architecture: Architecture, state: &Path) -> aar_sync::Result<Self> {
        let lock = durable::lock(state, state)?;
        let exports = Self::exports(state);
        // What an earlier run left cannot be gone on with.
        match fs::remove_dir_all(&exports) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(Error::file("remove", &exports)(e).into());
            }
            _ => fs::create_dir(&exports).map_err(Error::file("create", &exports))?,
        }
        Ok(Self { _lock: Some(lock), ..Self::look(ams, architecture) })
    }

    /// The published versions of `ams`, only to make plans.
    pub fn look(ams: Ams, architecture: Architecture) -> Self {
        Self { ams, architecture, ids: Mutex::default(), _lock: None }
    }

    /// Where in a state directory images lie between AMS and the registry.
    pub fn exports(state: &Path) -> PathBuf {
        state.join("exports")
    }

    async fn export(&self, image: &ImageAddress, target: &Path) -> Result<()> {
        let id = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(&image.name).cloned();
        let id = id.unwrap_or_else(|| image.name.to_string());
        let mut part = target.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // AMS does not go on in the middle: what is there of an earlier export is of no use.
        if let Err(e) = self.ams.export(&id, image.version.number().into(), &part).await {
            let _ = fs::remove_file(&part);
            return Err(e);
        }
        fs::rename(&part, target).map_err(Error::file("rename", &part))
    }

    fn convert(&self, application: wire::Application) -> Application {
        let architecture = match application.abi.as_str() {
            "x86_64" | "x86" => Architecture::X86_64,
            "arm64-v8a" | "armeabi-v7a" => Architecture::Aarch64,
            _ => self.architecture,
        };
        let published = application.versions.into_iter().filter(|it| it.published && it.is_active());
        let versions = published.filter_map(|version| {
            let number = Version::try_from(version.number).ok()?;
            let packages = [(architecture, Package::default())].into();
            Some((number, Release { fields: publishable(version.fields), packages }))
        });
        Application { versions: versions.collect(), fields: publishable(application.fields) }
    }
}

fn publishable(fields: Map<String, Value>) -> Map<String, Value> {
    let is_own = |name: &str| is_registry_owned(name) || OWN.contains(&name);
    without_nulls(fields.into_iter().filter(|(name, _)| !is_own(name)).collect())
}

/// Without what AMS leaves open, at any depth: it has `null` for empty lists, where a registry has lists only.
fn without_nulls(fields: Map<String, Value>) -> Map<String, Value> {
    let present = fields.into_iter().filter(|(_, value)| !value.is_null());
    present
        .map(|(name, value)| match value {
            Value::Object(fields) => (name, without_nulls(fields).into()),
            other => (name, other),
        })
        .collect()
}
