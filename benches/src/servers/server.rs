//! What every server can do, and what every registry can.

use std::{fmt, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    curl::{Curl, Upload},
    image::Image,
    servers::Daemon,
};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerKind {
    /// The registry.
    Aard,
    /// nginx, serving the same bytes as static files.
    Nginx,
    /// docker-registry, serving images as blobs.
    DockerRegistry,
    /// No server: a charm that is written with `ops`, for what the registry's charm does.
    Ops,
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aard => "aard",
            Self::Nginx => "nginx",
            Self::DockerRegistry => "docker-registry",
            Self::Ops => "ops",
        })
    }
}

/// A server on loopback that can hand out images.
#[async_trait]
pub(crate) trait Server: Send + Sync {
    /// Which one it is.
    fn kind(&self) -> ServerKind;

    /// Its process.
    fn daemon(&self) -> &Daemon;

    /// Starts it; returns how long it took from exec to its first good answer.
    async fn start(&mut self) -> Result<Duration>;

    /// Stops it, if it runs.
    fn stop(&mut self);

    /// Takes an image in. A registry must be running for that, nginx must not.
    async fn store(&mut self, image: &Image, curl: &Curl) -> Result<()>;

    /// Where a client gets an image that was stored.
    fn image_url(&self, image: &Image) -> String;
}

/// A server that images are pushed to.
#[async_trait]
pub(crate) trait Registry: Server {
    /// Does all that comes before the image itself is sent.
    async fn open_upload(&self, image: &Image) -> Result<Upload>;

    /// Removes an image that was pushed.
    async fn remove(&self, image: &Image) -> Result<()>;
}
