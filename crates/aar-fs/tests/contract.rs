//! The file system keeps the contracts of images, records and trust.
#![allow(clippy::unwrap_used, reason = "tests")]

use aar_fs::FsTrust;
use aar_store::contract;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_the_contract_of_images() {
    contract::blobs(async || {
        let dir = TempDir::new().unwrap();
        let (blobs, _) = aar_fs::open(&dir.path().join("not/yet/there")).await.unwrap();
        (dir, blobs)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_the_contract_of_uploads() {
    contract::uploads(async || {
        let dir = TempDir::new().unwrap();
        let (blobs, _) = aar_fs::open(dir.path()).await.unwrap();
        (dir, blobs)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_the_contract_of_records() {
    contract::records(async || {
        let dir = TempDir::new().unwrap();
        let (_, records) = aar_fs::open(dir.path()).await.unwrap();
        (dir, records)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_the_contract_of_trust() {
    contract::trust(async || {
        let dir = TempDir::new().unwrap();
        let trust = FsTrust::open(&dir.path().join("certs")).await.unwrap();
        (dir, trust)
    })
    .await;
}
