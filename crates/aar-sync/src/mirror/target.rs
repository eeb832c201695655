use std::path::Path;
use std::sync::Arc;

use aar_client::ImageAddress;
use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::record::Notice;
use super::store::Store;
use crate::{Catalogue, Error, Package, Plan, Result, Rules, Source, Step, Target};

/// A directory that becomes as a registry is.
pub struct Mirror {
    store: Arc<Store>,
    change: Notify,
}

impl Mirror {
    /// The mirror in `root`, which is created where it is missing. `tells` says whether somebody is told of changes, for
    /// [`Self::due`].
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has it.
    pub fn open(root: &Path, tells: bool) -> Result<Self> {
        Ok(Self { store: Arc::new(Store::open(root, tells)?), change: Notify::new() })
    }

    /// The mirror in `root`, of which nothing but a plan is wanted: another process may have it.
    pub fn look(root: &Path) -> Self {
        Self { store: Arc::new(Store::look(root)), change: Notify::new() }
    }

    /// The images of which something is to be told: that they came or went.
    pub async fn due(&self) -> Result<Vec<ImageAddress>> {
        self.blocking(Store::due).await
    }

    /// Takes note that it begins to be told of an image what is to be told now, if anything still is.
    pub async fn telling(&self, image: &ImageAddress) -> Result<Option<Notice>> {
        let image = image.clone();
        self.blocking(move |store| store.telling(&image)).await
    }

    /// Takes note that something was told.
    pub async fn told(&self, notice: &Notice) -> Result<()> {
        let notice = notice.clone();
        self.blocking(move |store| store.told(&notice)).await
    }

    /// Waits until something more may be due.
    pub async fn changed(&self) {
        self.change.notified().await;
    }

    async fn transfer(
        &self,
        address: &ImageAddress,
        package: &Package,
        application: &Map<String, Value>,
        version: &Map<String, Value>,
        source: &dyn Source,
    ) -> Result<()> {
        let Some(image) = package.image(address) else {
            let problem = "it lists an image without its facts".to_owned();
            return Err(aar_client::Error::Protocol(problem).into());
        };
        let (own, expected) = (address.clone(), image.clone());
        let (application, version) = (application.clone(), version.clone());
        let begin = move |store: &Store| store.begin(&own, &expected, &application, &version);
        if let Some(target) = self.blocking(begin).await? {
            source.fetch(address, package, &target).await?;
        }
        let own = address.clone();
        self.blocking(move |store| store.complete(&own, &image)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.store);
        spawn_blocking(move || work(&store)).await.unwrap_or_else(|panic| Err(Error::End(panic.into())))
    }
}

#[async_trait]
impl Target for Mirror {
    fn rules(&self) -> Rules {
        Rules { removes: true, replaces: true }
    }

    async fn list(&self) -> Result<Catalogue> {
        self.blocking(Store::list).await
    }

    async fn admit(&self, plan: &Plan) -> Result<()> {
        let images: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Transfer { image, package, .. } => Some((image.clone(), package.image(image)?)),
                _ => None,
            })
            .collect();
        self.blocking(move |store| {
            let needed = images.iter().map(|(address, image)| image.size - store.begun(address, image)).sum();
            let free = store.free()?;
            if needed > free {
                return Err(Error::NoSpace { needed, free, path: store.root().to_owned() });
            }
            Ok(())
        })
        .await
    }

    async fn carry_out(&self, step: &Step, source: &dyn Source) -> Result<()> {
        match step.clone() {
            Step::Transfer { image, package, application, version } => {
                self.transfer(&image, &package, &application, &version, source).await?;
            }
            Step::ChangeApplication { name, fields } => {
                self.blocking(move |store| store.change_application(&name, &fields)).await?;
            }
            Step::ChangeVersion { name, version, fields } => {
                self.blocking(move |store| store.change_version(&name, version, &fields)).await?;
            }
            Step::RemoveApplication { name } => {
                self.blocking(move |store| store.remove(&name, |_| true)).await?;
            }
            Step::RemoveVersion { name, version } => {
                self.blocking(move |store| store.remove(&name, |it| it.version == version)).await?;
            }
            Step::RemoveImage { image } => {
                self.blocking(move |store| store.remove(&image.name, |it| *it == image)).await?;
            }
        }
        self.change.notify_one();
        Ok(())
    }
}
