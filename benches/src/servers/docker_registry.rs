//! docker-registry, with its drivers for file systems and S3.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use serde_json::json;

use crate::{
    curl::{Curl, Upload},
    image::Image,
    keys::{Keys, write_private},
    load::request,
    servers::{Daemon, Registry, Server, ServerKind},
    storage::{CloudFront, Storage},
};

/// Its program.
pub(crate) const PROGRAM: &str = "docker-registry";

/// Where it keeps everything in its storage.
const FOLDER: &str = "docker/registry/v2";

/// A docker-registry.
pub(crate) struct DockerRegistry {
    daemon: Daemon,
    config: PathBuf,
    data: PathBuf,
    storage: Storage,
}

impl DockerRegistry {
    /// Sets it up in `dir`, without any blob.
    pub(crate) fn set_up(dir: &Path, keys: &Keys, storage: Storage) -> Result<Self> {
        fs::create_dir(dir)?;
        let daemon = Daemon::new(dir, keys)?;
        let data = dir.join("data");
        let config = dir.join("config.yml");
        write_private(&config, configuration(&data, &storage, &daemon, keys).as_bytes())?;
        Ok(Self { daemon, config, data, storage })
    }
}

#[async_trait]
impl Server for DockerRegistry {
    fn kind(&self) -> ServerKind {
        ServerKind::DockerRegistry
    }

    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    async fn start(&mut self) -> Result<Duration> {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(&self.config).env("OTEL_TRACES_EXPORTER", "none");
        // Its S3 driver refuses to start with one.
        command.env_remove("AWS_CA_BUNDLE");
        self.daemon.start(&mut command, "/v2/").await
    }

    fn stop(&mut self) {
        self.daemon.stop();
    }

    async fn store(&mut self, image: &Image, curl: &Curl) -> Result<()> {
        curl.upload(self.open_upload(image).await?, image).await
    }

    fn image_url(&self, image: &Image) -> String {
        self.daemon.url(&format!("/v2/{}/blobs/sha256:{}", image.name, image.fingerprint))
    }
}

#[async_trait]
impl Registry for DockerRegistry {
    async fn open_upload(&self, image: &Image) -> Result<Upload> {
        let path = format!("/v2/{}/blobs/uploads/", image.name);
        let mut connection = self.daemon.target.connect().await?;
        let answer = connection.exchange(&request("POST", &path, &["Content-Length: 0"])).await?;
        ensure!(answer.status == 202, "`{path}` answered {}", answer.status);
        let location = answer.header("location").context("an upload has no location")?;
        let url = self.daemon.url(&format!("{location}&digest=sha256:{}", image.fingerprint));
        Ok(Upload { url, headers: vec!["Content-Type: application/octet-stream".to_owned()] })
    }

    /// It removes a blob's bytes only in a garbage collection while it is stopped: they are removed by hand.
    async fn remove(&self, image: &Image) -> Result<()> {
        let folders = [
            format!("{FOLDER}/blobs/sha256/{}/{}/", &image.fingerprint[..2], image.fingerprint),
            format!("{FOLDER}/repositories/{}/", image.name),
        ];
        for folder in folders {
            match &self.storage {
                Storage::Disk => fs::remove_dir_all(self.data.join(folder))?,
                Storage::Bucket { bucket, .. } => {
                    bucket.list(&folder).iter().for_each(|key| bucket.delete(key));
                }
            }
        }
        Ok(())
    }
}

fn configuration(data: &Path, storage: &Storage, daemon: &Daemon, keys: &Keys) -> String {
    let mut middleware = json!({});
    let mut driver = match storage {
        Storage::Disk => json!({ "filesystem": { "rootdirectory": data } }),
        Storage::Bucket { bucket, cloudfront } => {
            if let Some(cloudfront) = cloudfront {
                let options = json!({
                    "baseurl": CloudFront::BASE_URL,
                    "privatekey": cloudfront.private_key,
                    "keypairid": CloudFront::KEYPAIR_ID,
                });
                middleware = json!({ "storage": [{ "name": "cloudfront", "options": options }] });
            }
            json!({
                "s3": {
                    "region": bucket.region,
                    "bucket": bucket.bucket,
                    "accesskey": bucket.access_key,
                    "secretkey": bucket.secret_access_key,
                    "regionendpoint": bucket.endpoint,
                    "secure": false,
                },
                "cache": { "blobdescriptor": "inmemory" },
            })
        }
    };
    driver["maintenance"] = json!({ "uploadpurging": { "enabled": false } });
    format!(
        "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {driver}
middleware: {middleware}
http:
  addr: 127.0.0.1:{port}
  relativeurls: true
  secret: bench
  tls:
    certificate: {certificate}
    key: {key}
    clientcas: [{client}]
",
        port = daemon.port,
        certificate = keys.server.certificate.display(),
        key = keys.server.key.display(),
        client = keys.client.certificate.display(),
    )
}
