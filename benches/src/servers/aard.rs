//! The registry.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    curl::{Curl, Upload},
    image::Image,
    keys::{Keys, write_private},
    load::request,
    servers::{Daemon, Registry, Server, ServerKind},
    storage::{CloudFront, Storage},
};

const ARCHITECTURE: &str = "x86_64";
/// Connections over which a registry is filled.
const FILLERS: u32 = 16;

/// A registry that trusts the client as a publisher.
pub(crate) struct Aard {
    daemon: Daemon,
    program: PathBuf,
    command_line: PathBuf,
    base_dir: PathBuf,
}

impl Aard {
    /// Sets it up in `base_dir`, without any application.
    pub(crate) async fn set_up(
        base_dir: &Path,
        program: &Path,
        command_line: &Path,
        keys: &Keys,
        storage: &Storage,
    ) -> Result<Self> {
        let certificates = base_dir.join("certs");
        DirBuilder::new().recursive(true).mode(0o700).create(&certificates)?;
        let daemon = Daemon::new(base_dir, keys)?;
        // JSON is YAML.
        let config = configuration(daemon.port, storage)?.to_string();
        write_private(&base_dir.join("config.yaml"), config.as_bytes())?;
        write_private(&certificates.join("server.crt"), &fs::read(&keys.server.certificate)?)?;
        write_private(&certificates.join("server.key"), &fs::read(&keys.server.key)?)?;
        let aard = Self {
            daemon,
            program: program.to_owned(),
            command_line: command_line.to_owned(),
            base_dir: base_dir.to_owned(),
        };
        let client = keys.client.certificate.to_str().context("a path is not UTF-8")?;
        aard.command_line(&["trust", "add", "--publisher", client]).await?;
        Ok(aard)
    }

    /// Pushes tiny images: `applications` applications of `versions` versions each.
    pub(crate) async fn fill(&self, applications: u32, versions: u32) -> Result<()> {
        let mut tasks = JoinSet::new();
        for filler in 0..FILLERS {
            let target = self.daemon.target.clone();
            tasks.spawn(async move {
                let mut connection = target.connect().await?;
                for application in (filler..applications).step_by(FILLERS as usize) {
                    for version in 0..versions {
                        let push = push_tiny(&application_name(application), version);
                        let answer = connection.exchange(&push).await?;
                        ensure!(
                            (200..300).contains(&answer.status),
                            "a push was answered {}: {}",
                            answer.status,
                            String::from_utf8_lossy(answer.body)
                        );
                    }
                }
                anyhow::Ok(())
            });
        }
        while let Some(filled) = tasks.join_next().await {
            filled??;
        }
        Ok(())
    }

    /// Rebuilds the index while the daemon runs; returns how long the command took.
    pub(crate) async fn rebuild(&self) -> Result<Duration> {
        let start = Instant::now();
        self.command_line(&["maintenance", "rebuild"]).await?;
        Ok(start.elapsed())
    }

    /// Removes the index of a stopped daemon.
    pub(crate) fn remove_index(&self) -> Result<()> {
        fs::remove_dir_all(self.base_dir.join("index")).context("cannot remove the index")
    }

    async fn command_line(&self, arguments: &[&str]) -> Result<()> {
        let output = tokio::process::Command::new(&self.command_line)
            .args(arguments)
            .arg("--base-dir")
            .arg(&self.base_dir)
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run `{}`", self.command_line.display()))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`aar {}` failed: {}", arguments.join(" "), errors.trim());
        Ok(())
    }
}

fn configuration(port: u16, storage: &Storage) -> Result<Value> {
    let mut config = json!({ "http": { "addr": format!("127.0.0.1:{port}") }, "log": { "level": "warn" } });
    if let Storage::Bucket { bucket, cloudfront } = storage {
        let mut s3 = json!({
            "region": bucket.region,
            "bucket": bucket.bucket,
            "access-key": bucket.access_key,
            "secret-access-key": bucket.secret_access_key,
            "endpoint": bucket.endpoint,
        });
        if let Some(cloudfront) = cloudfront {
            s3["cloudfront"] = json!({
                "base-url": CloudFront::BASE_URL,
                "private-key": fs::read_to_string(&cloudfront.private_key)?,
                "keypair-id": CloudFront::KEYPAIR_ID,
            });
        }
        config["storage"] = json!({ "s3": s3 });
    }
    Ok(config)
}

/// The name of a filled registry's application.
pub(crate) fn application_name(number: u32) -> String {
    format!("bench-{number:03}")
}

#[async_trait]
impl Server for Aard {
    fn kind(&self) -> ServerKind {
        ServerKind::Aard
    }

    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    async fn start(&mut self) -> Result<Duration> {
        let mut command = Command::new(&self.program);
        command.arg("--base-dir").arg(&self.base_dir).envs(aar_tests::unit_environment());
        self.daemon.start(&mut command, "/1.0/status").await
    }

    fn stop(&mut self) {
        self.daemon.stop();
    }

    async fn store(&mut self, image: &Image, curl: &Curl) -> Result<()> {
        curl.upload(self.open_upload(image).await?, image).await
    }

    fn image_url(&self, image: &Image) -> String {
        self.daemon.url(&image_path(&image.name, 0))
    }
}

#[async_trait]
impl Registry for Aard {
    async fn open_upload(&self, image: &Image) -> Result<Upload> {
        Ok(Upload {
            url: self.image_url(image),
            headers: vec![
                "Content-Type: application/octet-stream".to_owned(),
                format!("X-AMS-Fingerprint: {}", image.fingerprint),
            ],
        })
    }

    async fn remove(&self, image: &Image) -> Result<()> {
        let path = format!("/1.0/applications/{}", image.name);
        let mut connection = self.daemon.target.connect().await?;
        let answer = connection.exchange(&request("DELETE", &path, &["Content-Length: 0"])).await?;
        ensure!((200..300).contains(&answer.status), "DELETE of `{path}` answered {}", answer.status);
        Ok(())
    }
}

fn image_path(application: &str, version: u32) -> String {
    format!("/1.0/applications/{application}/{version}?architecture={ARCHITECTURE}")
}

/// A pull of an image that a registry was filled with.
pub(crate) fn pull_tiny(application: u32, version: u32) -> Vec<u8> {
    request("GET", &image_path(&application_name(application), version), &[])
}

/// A push of an image of a few bytes, which no other version has, with metadata as AMS sends it.
fn push_tiny(application: &str, version: u32) -> Vec<u8> {
    let image = format!("{application} {version}\n");
    let fingerprint = hex::encode(openssl::sha::sha256(image.as_bytes()));
    let metadata = json!({
        "application": {
            "name": application,
            "instance_type": "a4.3",
            "boot_package": "com.example.bench",
            "abi": "x86_64",
            "tags": ["bench", "game"],
            "resources": {"cpus": 4, "memory": "3GB", "disk-size": "3GB"},
        },
        "version": {
            "number": version,
            "manifest_version": "0.1",
            "boot_activity": "com.example.bench.MainActivity",
            "video_encoder": "gpu-preferred",
            "required_permissions": ["android.permission.INTERNET"],
        },
    });
    let mut push = request(
        "PUT",
        &image_path(application, version),
        &[
            "Content-Type: application/octet-stream",
            &format!("Content-Length: {}", image.len()),
            &format!("X-AMS-Fingerprint: {fingerprint}"),
            &format!("X-AMS-Request: {metadata}"),
        ],
    );
    push.extend_from_slice(image.as_bytes());
    push
}
