//! A bucket keeps the contracts of images and records. It takes a server, which the environment names.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::env;
use std::time::Duration;

use aar_s3::{Credentials, Options, S3Store};
use aar_store::contract;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server: run by make test through AAR_S3_TEST_ENDPOINT and its like"]
async fn a_bucket_keeps_the_contract_of_images() {
    contract::blobs(async || ((), store())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server: run by make test through AAR_S3_TEST_ENDPOINT and its like"]
async fn a_bucket_keeps_the_contract_of_records() {
    contract::records(async || ((), store())).await;
}

/// A store below a prefix of its own.
fn store() -> S3Store {
    aar_s3::open(Options {
        region: "us-east-1".into(),
        bucket: variable("AAR_S3_TEST_BUCKET"),
        endpoint: Some(variable("AAR_S3_TEST_ENDPOINT")),
        public_endpoint: None,
        prefix: format!("contract-{:016x}/", fastrand::u64(..)),
        credentials: Credentials::Keys {
            access_key: variable("AAR_S3_TEST_ACCESS_KEY"),
            secret_access_key: variable("AAR_S3_TEST_SECRET").into(),
        },
        redirect_duration: Duration::from_secs(900),
        part_size: None,
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
