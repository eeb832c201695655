//! A bucket keeps the contracts of images and records. It takes a server, which the environment names.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::env;
use std::time::Duration;

use aar_model::Digest;
use aar_s3::{Credentials, Options, S3Store};
use aar_store::{Blobs, contract};
use bytes::Bytes;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server: run by make test through AAR_S3_TEST_ENDPOINT and its like"]
async fn a_bucket_keeps_the_contract_of_images() {
    contract::blobs(async || ((), store(&prefix()))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server: run by make test through AAR_S3_TEST_ENDPOINT and its like"]
async fn a_bucket_keeps_the_contract_of_records() {
    contract::records(async || ((), store(&prefix()))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server: run by make test through AAR_S3_TEST_ENDPOINT and its like"]
async fn a_sweep_aborts_what_another_process_left_and_spares_what_is_under_way_here() {
    let prefix = prefix();
    let (dead, living, neighbour) = (store(&prefix), store(&prefix), store(&format!("{prefix}x/")));
    let data = vec![7; 12 << 20];
    let image = Digest::of(&data);
    let mut left = dead.begin(&image, Some(12 << 20)).await.unwrap();
    left.write(data.clone().into()).await.unwrap();
    let other = Digest::of(b"other");
    let mut under_way = neighbour.begin(&other, None).await.unwrap();
    under_way.write(Bytes::from_static(b"other")).await.unwrap();

    assert_eq!(dead.sweep_uploads().await.unwrap(), 0);
    assert_eq!(neighbour.sweep_uploads().await.unwrap(), 0);
    assert_eq!(living.sweep_uploads().await.unwrap(), 1);
    assert_eq!(living.sweep_uploads().await.unwrap(), 0);

    left.commit().await.unwrap_err();
    assert_eq!(living.size(&image).await.unwrap(), None);
    assert_eq!(under_way.commit().await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server: run by make test through AAR_S3_TEST_ENDPOINT and its like"]
async fn whoever_may_do_everything_passes_the_check_which_leaves_nothing() {
    let store = store(&prefix());
    for check in store.check().await {
        check.outcome.unwrap_or_else(|error| panic!("{}: {error:?}", check.permission));
    }
    assert_eq!(store.sweep_uploads().await.unwrap(), 0);
}

/// One of its own for each store.
fn prefix() -> String {
    format!("contract-{:016x}/", fastrand::u64(..))
}

fn store(prefix: &str) -> S3Store {
    aar_s3::open(Options {
        region: "us-east-1".into(),
        bucket: variable("AAR_S3_TEST_BUCKET"),
        endpoint: Some(variable("AAR_S3_TEST_ENDPOINT")),
        public_endpoint: None,
        prefix: prefix.into(),
        credentials: Credentials::Keys {
            access_key: variable("AAR_S3_TEST_ACCESS_KEY"),
            secret_access_key: variable("AAR_S3_TEST_SECRET").into(),
        },
        redirect_duration: Duration::from_secs(900),
        part_size: Some(5 << 20),
    })
    .unwrap()
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: this test needs AAR_S3_TEST_ENDPOINT, AAR_S3_TEST_ACCESS_KEY, AAR_S3_TEST_SECRET and \
             AAR_S3_TEST_BUCKET of an S3 server"
        )
    })
}
