//! A bucket keeps the contracts of images and records, whatever server it is on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use aar_model::Digest;
use aar_s3::{Credentials, Options, S3Store};
use aar_store::{Blobs, Note, UploadId, contract};
use aar_tests::s3::S3Server;
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

macro_rules! on_every_server {
    ($($promise:ident,)*) => {
        mod juicefs {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::$promise(&super::S3Server::shared_juicefs()).await;
            })*
        }

        mod seaweedfs {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::$promise(&super::S3Server::shared_seaweedfs()).await;
            })*
        }

        mod ceph {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs Ceph: `make test-ceph`"]
            async fn $promise() {
                super::$promise(&super::S3Server::shared_ceph()).await;
            })*
        }
    };
}

on_every_server! {
    a_bucket_keeps_the_contract_of_images,
    a_bucket_keeps_the_contract_of_uploads,
    a_bucket_keeps_the_contract_of_records,
    an_upload_that_is_removed_leaves_no_file,
    a_sweep_aborts_what_another_process_left_and_spares_what_is_under_way_here,
    whoever_may_do_everything_passes_the_check_which_leaves_nothing,
}

async fn a_bucket_keeps_the_contract_of_images(server: &S3Server) {
    contract::blobs(async || ((), store(server, &prefix()))).await;
}

async fn a_bucket_keeps_the_contract_of_uploads(server: &S3Server) {
    contract::uploads(async || {
        let spool = TempDir::new().unwrap();
        let store = spooling(server, &prefix(), spool.path());
        (spool, store)
    })
    .await;
}

async fn a_bucket_keeps_the_contract_of_records(server: &S3Server) {
    contract::records(async || ((), store(server, &prefix()))).await;
}

async fn an_upload_that_is_removed_leaves_no_file(server: &S3Server) {
    let spool = TempDir::new().unwrap();
    let store = spooling(server, &prefix(), spool.path());
    let files = || spool.path().read_dir().unwrap().count();
    let id: UploadId = format!("{:032x}", 1).parse().unwrap();
    let data = vec![7; 6 << 20];
    for kept in [1, data.len()] {
        store.uploads().create(&id, Note::new(Value::Null, Digest::of(&data), 12 << 20)).await.unwrap();
        let mut incoming = store.uploads().resume(&id, true).await.unwrap();
        incoming.write(Bytes::copy_from_slice(&data[..kept])).await.unwrap();
        incoming.keep().await.unwrap();
        assert_eq!(files(), 1);

        store.uploads().remove(&id).await.unwrap();

        assert_eq!(files(), 0, "{kept} bytes");
    }
}

async fn a_sweep_aborts_what_another_process_left_and_spares_what_is_under_way_here(server: &S3Server) {
    let prefix = prefix();
    let (dead, living, neighbour) =
        (store(server, &prefix), store(server, &prefix), store(server, &format!("{prefix}x/")));
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

async fn whoever_may_do_everything_passes_the_check_which_leaves_nothing(server: &S3Server) {
    let store = store(server, &prefix());
    for check in store.check().await {
        check.outcome.unwrap_or_else(|error| panic!("{}: {error:?}", check.permission));
    }
    assert_eq!(store.sweep_uploads().await.unwrap(), 0);
}

/// One of its own for each store.
fn prefix() -> String {
    format!("contract-{:016x}/", fastrand::u64(..))
}

/// A store that has nothing to spool.
fn store(server: &S3Server, prefix: &str) -> S3Store {
    spooling(server, prefix, Path::new("/nowhere"))
}

fn spooling(server: &S3Server, prefix: &str, spool: &Path) -> S3Store {
    aar_s3::open(Options {
        region: server.region.clone(),
        bucket: server.bucket.clone(),
        endpoint: Some(server.endpoint.clone()),
        public_endpoint: None,
        prefix: prefix.into(),
        credentials: Credentials::Keys {
            access_key: server.access_key.clone(),
            secret_access_key: server.secret_access_key.clone().into(),
        },
        redirect_duration: Duration::from_secs(900),
        part_size: Some(5 << 20),
        spool: spool.into(),
    })
    .unwrap()
}
