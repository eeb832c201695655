//! Two at once: each pair of changes that can meet has a defined outcome.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use aar_model::wire::PushRequest;
use aar_model::{AppName, Architecture, Digest, Version};
use aar_store::memory::Memory;
use aar_store::{Blobs, Push, Pushed, Registry, RegistryError, Viewer};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::Barrier;

/// Rounds of each test: enough for either order, and for steps in between.
const ROUNDS: usize = 300;

async fn open() -> (Memory, Arc<Registry>) {
    let store = Memory::default();
    let index = std::future::ready(Memory::default().opened());
    let (registry, _) =
        Registry::open(Arc::new(store.clone()), Arc::new(store.clone()), index).await.unwrap();
    (store, Arc::new(registry))
}

fn game() -> AppName {
    "game".parse().unwrap()
}

fn one() -> Version {
    "1".parse().unwrap()
}

async fn push(registry: &Registry, name: &str, content: &'static [u8]) -> Result<Pushed, RegistryError> {
    let push = Push {
        name: name.parse().unwrap(),
        version: one(),
        architecture: Architecture::X86_64,
        fingerprint: Digest::of(content),
        size: Some(content.len() as u64),
        media_type: None,
        request: PushRequest::default(),
    };
    let bytes =
        stream::iter(content.chunks(3).map(|chunk| Ok(Bytes::from_static(chunk)))).then(async |chunk| {
            tokio::task::yield_now().await;
            chunk
        });
    registry.push(push, Box::pin(bytes)).await
}

/// Runs two futures at once, as tasks that begin together.
async fn together<A: Send + 'static, B: Send + 'static>(
    a: impl Future<Output = A> + Send + 'static,
    b: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    let start = Arc::new(Barrier::new(2));
    let other = Arc::clone(&start);
    let a = tokio::spawn(async move {
        start.wait().await;
        a.await
    });
    let b = tokio::spawn(async move {
        other.wait().await;
        b.await
    });
    (a.await.unwrap(), b.await.unwrap())
}

async fn image(registry: &Registry, name: &str) -> Option<Vec<u8>> {
    let image = registry.image(&name.parse().unwrap(), one(), None, Viewer::Client).ok()?.image;
    let mut bytes = registry.read(&image, 0..image.size).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = bytes.next().await {
        all.extend(chunk.unwrap());
    }
    Some(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_images_for_one_version_exactly_one_wins() {
    for _ in 0..ROUNDS {
        let (store, registry) = open().await;
        let (a, b) = (Arc::clone(&registry), Arc::clone(&registry));
        let outcome = together(async move { push(&a, "game", b"image a").await }, async move {
            push(&b, "game", b"image b").await
        })
        .await;
        let winner: &[u8] = match outcome {
            (Ok(_), Err(RegistryError::Conflict(_))) => b"image a",
            (Err(RegistryError::Conflict(_)), Ok(_)) => b"image b",
            other => panic!("{other:?}"),
        };
        assert_eq!(image(&registry, "game").await.unwrap(), winner);
        assert_eq!(Blobs::list(&store).await.unwrap().len(), 1, "the loser's image is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_image_from_two_publishers_is_stored_once_for_both() {
    for _ in 0..ROUNDS {
        let (store, registry) = open().await;
        let (a, b) = (Arc::clone(&registry), Arc::clone(&registry));
        let (a, b) = together(async move { push(&a, "game", b"same image").await }, async move {
            push(&b, "other", b"same image").await
        })
        .await;
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
        assert_eq!(Blobs::list(&store).await.unwrap().len(), 1);
        assert_eq!(registry.totals().images, 1);
        registry.delete_application(&game()).await.unwrap();
        assert_eq!(image(&registry, "other").await.unwrap(), b"same image");
        registry.delete_application(&"other".parse().unwrap()).await.unwrap();
        assert_eq!(Blobs::list(&store).await.unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_relies_on_an_image_keeps_it_while_its_last_holder_is_deleted() {
    for _ in 0..ROUNDS {
        let (store, registry) = open().await;
        push(&registry, "game", b"same image").await.unwrap();
        let (a, b) = (Arc::clone(&registry), Arc::clone(&registry));
        let (deleted, pushed) = together(async move { a.delete_application(&game()).await }, async move {
            push(&b, "other", b"same image").await
        })
        .await;
        assert!(deleted.is_ok() && pushed.is_ok(), "{deleted:?} {pushed:?}");
        assert_eq!(image(&registry, "other").await.unwrap(), b"same image");
        assert_eq!(Blobs::list(&store).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_spares_what_a_push_is_bringing() {
    for _ in 0..ROUNDS {
        let (store, registry) = open().await;
        // An orphan of the very image that is being pushed.
        let orphan = Digest::of(b"same image");
        let mut upload = store.begin(&orphan, None).await.unwrap();
        upload.write(Bytes::from_static(b"same image")).await.unwrap();
        upload.commit().await.unwrap();
        let (a, b) = (Arc::clone(&registry), Arc::clone(&registry));
        let (collected, pushed) =
            together(async move { a.collect_garbage(Duration::ZERO, false).await }, async move {
                push(&b, "game", b"same image").await
            })
            .await;
        assert!(collected.is_ok() && pushed.is_ok(), "{collected:?} {pushed:?}");
        assert_eq!(image(&registry, "game").await.unwrap(), b"same image");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_beside_pushes_and_deletes_loses_nothing() {
    for _ in 0..ROUNDS {
        let (store, registry) = open().await;
        push(&registry, "stays", b"image that stays").await.unwrap();
        push(&registry, "game", b"image").await.unwrap();
        let (a, b) = (Arc::clone(&registry), Arc::clone(&registry));
        let (rebuilt, ()) = together(
            async move {
                a.rebuild().await.unwrap();
                a.collect_garbage(Duration::ZERO, false).await
            },
            async move {
                push(&b, "other", b"image").await.unwrap();
                b.delete_application(&game()).await.unwrap();
            },
        )
        .await;
        rebuilt.unwrap();
        assert_eq!(image(&registry, "stays").await.unwrap(), b"image that stays");
        assert_eq!(image(&registry, "other").await.unwrap(), b"image");
        assert_eq!(image(&registry, "game").await, None);
        assert_eq!((Blobs::list(&store).await.unwrap().len(), registry.totals().images), (2, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_and_a_push_of_one_application_come_one_after_the_other() {
    for _ in 0..ROUNDS {
        let (store, registry) = open().await;
        push(&registry, "game", b"image").await.unwrap();
        let (a, b) = (Arc::clone(&registry), Arc::clone(&registry));
        let (deleted, pushed) = together(async move { a.delete_application(&game()).await }, async move {
            push(&b, "game", b"image").await
        })
        .await;
        assert!(deleted.is_ok(), "{deleted:?}");
        let there = image(&registry, "game").await;
        if pushed.unwrap().existed {
            assert_eq!(there, None, "the delete came last");
        } else {
            assert_eq!(there.unwrap(), b"image", "the push came last");
        }
        registry.collect_garbage(Duration::ZERO, false).await.unwrap();
        assert_eq!(Blobs::list(&store).await.unwrap().len() as u64, registry.totals().images);
    }
}
