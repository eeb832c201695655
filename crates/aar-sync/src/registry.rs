//! A registry, as either end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aar_client::{Client, ImageAddress, Progress, Silent};
use aar_model::wire::{self, Image, PushRequest};
use aar_model::{ApplicationFields, VersionFields, is_registry_owned};
use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::{Application, Catalogue, Error, Package, Plan, Release, Result, Rules, Source, Step, Target};

/// How long the first pause is at most before the registry is listened to again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long a pause is at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A connection that stood so long was none that failed.
const STABLE: Duration = Duration::from_secs(10);

/// A registry.
pub struct Registry {
    client: Client,
    /// What was listed last, with its tag.
    seen: Mutex<Option<(String, Arc<Catalogue>)>>,
    change: Notify,
    scratch: PathBuf,
}

impl Registry {
    /// The registry that `client` talks to. Images that are not in files on their way to it are put into `scratch`.
    pub fn new(client: Client, scratch: impl Into<PathBuf>) -> Self {
        Self { client, seen: Mutex::default(), change: Notify::new(), scratch: scratch.into() }
    }

    /// Listens to the registry, over as many connections as it takes, so that changes are noticed at once. After each
    /// connect one look is due, for what has changed before.
    pub async fn listen(&self) -> Infallible {
        let mut fruitless = 0;
        loop {
            let begun = Instant::now();
            let error = match self.client.events().await {
                Err(error) => error,
                Ok(mut events) => {
                    tracing::info!("listening to the registry");
                    loop {
                        self.change.notify_one();
                        match events.next().await {
                            Err(error) => break error,
                            Ok(event) => {
                                tracing::debug!(action = event.action, source = event.source, "told");
                            }
                        }
                    }
                }
            };
            fruitless = if begun.elapsed() > STABLE { 0 } else { fruitless + 1 };
            tracing::warn!(error = &error as &dyn StdError, "not listening to the registry");
            let longest = (FIRST_PAUSE * 2_u32.pow(fruitless.min(10))).min(LONGEST_PAUSE);
            // All who were cut off at the same time shall not come back at the same time.
            sleep(longest.mul_f64(fastrand::f64())).await;
        }
    }

    async fn push(
        &self,
        image: &ImageAddress,
        package: &Package,
        request: &PushRequest,
        source: &dyn Source,
    ) -> Result<()> {
        let own = self.scratch.join(format!("{}_{}_{}", image.name, image.version, image.architecture));
        let file = source.fetch(image, package, &own).await?;
        let before = metadata(&file)?;
        let silent: Arc<dyn Progress> = Arc::new(Silent);
        let pushed = self.client.push(image, &file, request, &silent).await?;
        if file == own {
            fs::remove_file(&own).map_err(Error::file("remove", &own))?;
        } else if is_changed(&before, &metadata(&file)?) {
            if !pushed.existed {
                self.client.delete_version(&image.name, image.version, Some(image.architecture)).await?;
            }
            return Err(Error::Changed(file));
        }
        Ok(())
    }
}

fn metadata(path: &Path) -> Result<Metadata> {
    fs::metadata(path).map_err(Error::file("read", path))
}

fn is_changed(before: &Metadata, after: &Metadata) -> bool {
    let facts = |it: &Metadata| (it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec());
    facts(before) != facts(after)
}

#[async_trait]
impl Source for Registry {
    async fn list(&self) -> Result<Arc<Catalogue>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let listing = self.client.applications_since(seen.as_ref().map(|(tag, _)| tag.as_str())).await?;
        let listing = match (listing, seen) {
            (None, Some((_, catalogue))) => return Ok(catalogue),
            (listing, _) => {
                listing.ok_or_else(|| protocol("it says that nothing has changed since nothing"))?
            }
        };
        let catalogue = Arc::new(catalogue(listing.applications, |version| version.published)?);
        let now = listing.tag.map(|tag| (tag, Arc::clone(&catalogue)));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(catalogue)
    }

    async fn changed(&self) {
        self.change.notified().await;
    }

    async fn fetch(&self, image: &ImageAddress, package: &Package, target: &Path) -> Result<PathBuf> {
        let Some(expected) = package.image(image) else {
            return Err(protocol("it lists an image without its facts").into());
        };
        let silent: Arc<dyn Progress> = Arc::new(Silent);
        self.client.pull(image, &expected, target, &silent).await?;
        Ok(target.to_owned())
    }
}

#[async_trait]
impl Target for Registry {
    fn rules(&self) -> Rules {
        Rules { removes: false, replaces: false }
    }

    async fn list(&self) -> Result<Catalogue> {
        let listing = self.client.applications_since(None).await?;
        let listing = listing.ok_or_else(|| protocol("it says that nothing has changed since nothing"))?;
        catalogue(listing.applications, |_| true)
    }

    async fn admit(&self, _: &Plan) -> Result<()> {
        Ok(()) // it says itself when it is full
    }

    async fn carry_out(&self, step: &Step, source: &dyn Source) -> Result<()> {
        match step {
            Step::Transfer { image, package, application, version } => {
                let request = PushRequest { application: application.clone(), version: version.clone() };
                self.push(image, package, &request, source).await
            }
            Step::ChangeApplication { name, fields } => {
                Ok(self.client.change_application(name, fields).await?)
            }
            // The rules exclude them.
            Step::ChangeVersion { .. }
            | Step::RemoveApplication { .. }
            | Step::RemoveVersion { .. }
            | Step::RemoveImage { .. } => Ok(()),
        }
    }
}

impl Package {
    /// The image, where all is known of it.
    pub(crate) fn image(&self, address: &ImageAddress) -> Option<Image> {
        let media_type = self.media_type.clone()?;
        Some(Image {
            architecture: address.architecture,
            fingerprint: self.fingerprint?,
            size: self.size?,
            media_type,
        })
    }
}

fn protocol(problem: &str) -> aar_client::Error {
    aar_client::Error::Protocol(problem.to_owned())
}

fn catalogue(
    applications: Vec<wire::Application>,
    counts: impl Fn(&wire::ApplicationVersion) -> bool,
) -> Result<Catalogue> {
    let release = |version: wire::ApplicationVersion| {
        let packages = version.images.iter().map(|image| (image.architecture, image.into())).collect();
        Ok((version.number, Release { fields: fields_of_version(&version.fields)?, packages }))
    };
    let application = |application: wire::Application| {
        let versions = application.versions.into_iter().filter(&counts).map(release);
        let versions = versions.collect::<Result<_>>()?;
        Ok((application.name, Application { fields: fields_of_application(&application.fields)?, versions }))
    };
    Ok(Catalogue(applications.into_iter().map(application).collect::<Result<BTreeMap<_, _>>>()?))
}

fn fields_of_application(fields: &ApplicationFields) -> Result<Map<String, Value>> {
    map(serde_json::to_value(fields))
}

fn fields_of_version(fields: &VersionFields) -> Result<Map<String, Value>> {
    map(serde_json::to_value(fields))
}

/// The fields that are a publisher's to set.
fn map(fields: serde_json::Result<Value>) -> Result<Map<String, Value>> {
    match fields {
        Ok(Value::Object(fields)) => {
            Ok(fields.into_iter().filter(|(name, _)| !is_registry_owned(name)).collect())
        }
        _ => Err(protocol("it lists fields that are none").into()),
    }
}
