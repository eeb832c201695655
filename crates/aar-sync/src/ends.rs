//! The two ends, as synchronisation sees them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aar_client::ImageAddress;
use async_trait::async_trait;

use crate::{Catalogue, Package, Plan, Result, Step};

/// The end that says what there should be.
#[async_trait]
pub trait Source: Send + Sync {
    /// All published versions. An error is never taken for emptiness: what cannot be listed changes nothing.
    async fn list(&self) -> Result<Arc<Catalogue>>;

    /// Waits until it is worth listing again; forever where that can only be found out by listing. What changes while nobody
    /// waits is told to the next who does.
    async fn changed(&self);

    /// Whether the last listing had all there is; otherwise [`Self::changed`] soon tells of the rest.
    fn is_settled(&self) -> bool {
        true
    }

    /// Brings an image into a file and answers which: `target`, which has the whole image or does not exist, or the file
    /// in which the image lies anyway. What an earlier call for the same target got is not fetched again where that can be.
    async fn fetch(&self, image: &ImageAddress, package: &Package, target: &Path) -> Result<PathBuf>;
}

/// The end that is to become as the source says.
#[async_trait]
pub trait Target: Send + Sync {
    /// What may be done to it.
    fn rules(&self) -> Rules;

    /// What is there, as far as it may be changed: what others have put there is not listed.
    async fn list(&self) -> Result<Catalogue>;

    /// Refuses a plan as a whole, where it can be known beforehand that its transfers will fail. Its other steps are done.
    async fn admit(&self, plan: &Plan) -> Result<()>;

    /// Carries one step out. Transfers of one application are begun in the order of its versions, and may run at the same
    /// time; no other step runs then. The same step may come again after an interruption.
    async fn carry_out(&self, step: &Step, source: &dyn Source) -> Result<()>;
}

/// What may be done to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What the source does not have is removed.
    pub removes: bool,
    /// An image that is another than the source's is replaced, and fields are made the same as the source's. Otherwise an
    /// image is immutable, and only such fields of an application are changed as the source has.
    pub replaces: bool,
}
