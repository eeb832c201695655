use aar_model::wire::StorageFinding;
use async_trait::async_trait;

/// Tries whether a storage lets the registry do what it does to it.
#[async_trait]
pub trait StorageCheck: Send + Sync + 'static {
    /// Tries everything on scratch files or objects, and leaves none of them behind.
    async fn check(&self) -> Vec<StorageFinding>;
}
