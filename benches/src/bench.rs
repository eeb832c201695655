//! What every scenario works with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{
    curl::Curl,
    keys::{KeyType, Keys},
    servers::{Aard, DockerRegistry, Nginx, Server, ServerKind},
    storage::Storage,
};

/// Bytes in a MiB.
pub(crate) const MIB: u64 = 1 << 20;
/// Bytes in a GiB.
#[allow(clippy::cast_precision_loss)]
pub(crate) const GIB: f64 = (1_u64 << 30) as f64;

/// One run of the program.
pub(crate) struct Bench {
    /// Runs of each measurement.
    pub(crate) runs: u32,
    /// How much work each measurement is.
    pub(crate) scale: Scale,
    servers: Vec<ServerKind>,
    aard: PathBuf,
    aar: PathBuf,
    dir: TempDir,
}

/// How much work each measurement is.
pub(crate) struct Scale {
    /// Bytes of the image that is pulled and pushed.
    pub(crate) image: u64,
    /// Bytes of the image that 32 clients pull.
    pub(crate) small_image: u64,
    /// Small requests.
    pub(crate) requests: u64,
    /// Requests for a list.
    pub(crate) list_requests: u64,
    /// TLS handshakes.
    pub(crate) handshakes: u64,
    /// Applications in a full registry.
    pub(crate) applications: u32,
    /// Versions of each of them.
    pub(crate) versions: u32,
    /// Redirects.
    pub(crate) redirects: u64,
    /// Versions of each application whose images are asked for in a rush.
    pub(crate) rush_versions: u32,
    /// Events that a charm is told.
    pub(crate) events: u32,
}

impl Scale {
    const FULL: Self = Self {
        image: 1024 * MIB,
        small_image: 256 * MIB,
        requests: 100_000,
        list_requests: 20_000,
        handshakes: 5_000,
        applications: 100,
        versions: 100,
        redirects: 100_000,
        rush_versions: 40,
        events: 20,
    };
    const QUICK: Self = Self {
        image: 64 * MIB,
        small_image: 16 * MIB,
        requests: 2_000,
        list_requests: 500,
        handshakes: 200,
        applications: 100,
        versions: 2,
        redirects: 2_000,
        rush_versions: 1,
        events: 3,
    };
}

impl Bench {
    /// Makes the directory in which everything happens, below `dir`.
    pub(crate) fn new(
        dir: &Path,
        servers: Vec<ServerKind>,
        aard: PathBuf,
        aar: PathBuf,
        runs: u32,
        quick: bool,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("aar-bench-")
            .tempdir_in(dir)
            .with_context(|| format!("cannot make a directory in `{}`", dir.display()))?;
        let scale = if quick { Scale::QUICK } else { Scale::FULL };
        Ok(Self { runs, scale, servers, aard, aar, dir })
    }

    /// Whether `server` is to be measured.
    pub(crate) fn measures(&self, server: ServerKind) -> bool {
        self.servers.contains(&server)
    }

    /// A directory for one scenario, removed with its value.
    pub(crate) fn workspace(&self, key_type: KeyType) -> Result<Workspace> {
        let dir = TempDir::new_in(&self.dir)?;
        let keys = Keys::generate(dir.path(), key_type)?;
        Ok(Workspace { curl: Curl::new(&keys), keys, dir, aard: self.aard.clone(), aar: self.aar.clone() })
    }
}

/// A directory with keys, in which servers are set up.
pub(crate) struct Workspace {
    /// The client that moves images.
    pub(crate) curl: Curl,
    /// The server's and the client's keys.
    pub(crate) keys: Keys,
    aard: PathBuf,
    aar: PathBuf,
    dir: TempDir,
}

impl Workspace {
    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A registry without any application; not started.
    pub(crate) async fn aard(&self, storage: &Storage) -> Result<Aard> {
        Aard::set_up(&self.dir.path().join("aard"), &self.aard, &self.aar, &self.keys, storage).await
    }

    /// An nginx without any file; not started.
    pub(crate) fn nginx(&self) -> Result<Nginx> {
        Nginx::set_up(&self.dir.path().join("nginx"), &self.keys)
    }

    /// A docker-registry without any blob; not started.
    pub(crate) fn docker_registry(&self, storage: Storage) -> Result<DockerRegistry> {
        DockerRegistry::set_up(&self.dir.path().join("docker-registry"), &self.keys, storage)
    }

    /// A server of that kind, empty, with its data on disk; not started.
    pub(crate) async fn server(&self, kind: ServerKind) -> Result<Box<dyn Server>> {
        Ok(match kind {
            ServerKind::Aard => Box::new(self.aard(&Storage::Disk).await?),
            ServerKind::Nginx => Box::new(self.nginx()?),
            ServerKind::DockerRegistry => Box::new(self.docker_registry(Storage::Disk)?),
            ServerKind::Ops => bail!("{kind} is no server"),
        })
    }
}
