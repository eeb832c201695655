//! The storage that the registry is to be copied to.

use std::path::Path;
use std::sync::Arc;

use aar_api::{OpenStorage, Opened};
use aar_config::{Config, S3, Storage};
use aar_store::RegistryError;
use anyhow::Context;
use url::Url;

use crate::base_dir::BaseDir;
use crate::storage::{self, Stores};

/// What errors name a configuration that did not come from a file of this machine.
const NAME: &str = "the configuration";

/// What opens a storage other than `running`, which the registry is on.
pub(crate) fn opener(running: Storage, base_dir: Arc<BaseDir>) -> OpenStorage {
    let running = Arc::new(running);
    Box::new(move |configuration| {
        let (running, base_dir) = (Arc::clone(&running), Arc::clone(&base_dir));
        Box::pin(async move { open(&configuration, &running, &base_dir).await })
    })
}

async fn open(configuration: &str, running: &Storage, base_dir: &BaseDir) -> Result<Opened, RegistryError> {
    let config = Config::parse(configuration, Path::new(NAME)).and_then(|config| {
        storage::check(&config, Path::new(NAME))?;
        Ok(config)
    });
    let config = config.map_err(|error| RegistryError::Invalid(error.to_string()))?;
    if is_same(running, &config.storage, base_dir) {
        return Err(RegistryError::Conflict(
            "this is the storage that the registry is on: name another one under `storage:`".into(),
        ));
    }
    let opened = open_swept(&config.storage, base_dir).await;
    opened.map_err(|error| RegistryError::Invalid(format!("{error:#}")))
}

async fn open_swept(storage: &Storage, base_dir: &BaseDir) -> anyhow::Result<Opened> {
    let Stores { blobs, records, .. } = Stores::open(storage, base_dir).await?;
    if let Storage::Fs { .. } = storage {
        // It is locked, so whatever left something is gone. A bucket may be in use by others.
        blobs.sweep_uploads().await.context("cannot sweep the storage")?;
    }
    Ok((blobs, records))
}

/// Whether both are one storage, as far as their configurations tell.
fn is_same(one: &Storage, other: &Storage, base_dir: &BaseDir) -> bool {
    match (one, other) {
        (Storage::Fs { root_directory: one }, Storage::Fs { root_directory: other }) => {
            let real = |root: &Option<_>| {
                let root = root.clone().unwrap_or_else(|| base_dir.data());
                root.canonicalize().unwrap_or(root)
            };
            real(one) == real(other)
        }
        (Storage::S3(one), Storage::S3(other)) => {
            (&one.bucket, &one.prefix, server(one)) == (&other.bucket, &other.prefix, server(other))
        }
        _ => false,
    }
}

/// The server, where it is not AWS: there, a bucket's name is enough.
fn server(s3: &S3) -> Option<&Url> {
    let is_aws = |url: &Url| url.host_str().is_some_and(|host| host.ends_with(".amazonaws.com"));
    s3.endpoint.as_ref().filter(|url| !is_aws(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(more: &str) -> Storage {
        let text = format!("storage:\n  s3:\n    region: eu-west-3\n    bucket: one\n{more}");
        Config::parse(&text, Path::new(NAME)).unwrap().storage
    }

    #[test]
    fn a_storage_is_known_under_other_names() {
        let scratch = tempfile::tempdir().unwrap();
        let base_dir = BaseDir::take(scratch.path()).unwrap();
        std::fs::create_dir(base_dir.data()).unwrap();
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(base_dir.data(), &link).unwrap();
        let fs = |root: Option<std::path::PathBuf>| Storage::Fs { root_directory: root };
        let same = |one: &Storage, other: &Storage| is_same(one, other, &base_dir);
        assert!(same(&fs(None), &fs(Some(base_dir.data()))));
        assert!(same(&fs(None), &fs(Some(link))));
        assert!(!same(&fs(None), &fs(Some(scratch.path().join("other")))));
        assert!(!same(&fs(None), &s3("")));

        let aws = "    endpoint: https://s3.eu-west-3.amazonaws.com\n";
        let ceph = "    endpoint: https://ceph.example:443\n";
        assert!(same(&s3(""), &s3(aws)));
        assert!(same(&s3(ceph), &s3("    endpoint: https://CEPH.example\n    redirect: false\n")));
        for other in [ceph, "    prefix: a/\n"] {
            assert!(!same(&s3(""), &s3(other)), "{other}");
        }
        assert!(same(&s3("    prefix: a/\n"), &s3("    prefix: a\n")));
    }
}
