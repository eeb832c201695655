//! docker-registry, with its file system driver.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;

use crate::{
    curl::{Curl, Upload},
    image::Image,
    keys::Keys,
    load::request,
    servers::{Daemon, Registry, Server, ServerKind},
};

/// Its program.
pub(crate) const PROGRAM: &str = "docker-registry";

/// A docker-registry.
pub(crate) struct DockerRegistry {
    daemon: Daemon,
    config: PathBuf,
    data: PathBuf,
}

impl DockerRegistry {
    /// Sets it up in `dir`, without any blob.
    pub(crate) fn set_up(dir: &Path, keys: &Keys) -> Result<Self> {
        fs::create_dir(dir)?;
        let daemon = Daemon::new(dir, keys)?;
        let data = dir.join("data");
        let config = dir.join("config.yml");
        fs::write(&config, configuration(&data, &daemon, keys))?;
        Ok(Self { daemon, config, data: data.join("docker/registry/v2") })
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
        let blob = format!("blobs/sha256/{}/{}", &image.fingerprint[..2], image.fingerprint);
        fs::remove_dir_all(self.data.join(blob))?;
        fs::remove_dir_all(self.data.join("repositories").join(&image.name))?;
        Ok(())
    }
}

fn configuration(data: &Path, daemon: &Daemon, keys: &Keys) -> String {
    format!(
        "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {data}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: 127.0.0.1:{port}
  relativeurls: true
  secret: bench
  tls:
    certificate: {certificate}
    key: {key}
    clientcas: [{client}]
",
        data = data.display(),
        port = daemon.port,
        certificate = keys.server.certificate.display(),
        key = keys.server.key.display(),
        client = keys.client.certificate.display(),
    )
}
