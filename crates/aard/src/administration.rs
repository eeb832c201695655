//! What the configuration decides, and how it changes while the daemon runs.

use std::path::PathBuf;
use std::sync::Arc;

use aar_api::Api;
use aar_config::Config;
use aar_fs::FsTrust;
use aar_tls::{Acceptor, Identity};
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::cli::ConfigPath;
use crate::logging::LogControl;
use crate::shutdown::Places;
use crate::{listeners, metrics};

/// The parts of the daemon that a new configuration can change.
pub(crate) struct Administration {
    pub(crate) config: Config,
    pub(crate) config_path: ConfigPath,
    pub(crate) certificates: PathBuf,
    pub(crate) log: LogControl,
    pub(crate) trust: Arc<FsTrust>,
    pub(crate) acceptor: Arc<ArcSwap<Acceptor>>,
    pub(crate) api: Arc<Api>,
    pub(crate) places: Places,
    /// The tasks that accept connections; open connections outlive them.
    pub(crate) network: Option<AbortHandle>,
    pub(crate) metrics: Option<AbortHandle>,
}

impl Administration {
    /// Begins to serve the network, and the metrics where they have an address.
    pub(crate) fn serve(&mut self, network: Option<TcpListener>, metrics_listener: Option<TcpListener>) {
        if let Some(listener) = network {
            let (acceptor, api) = (Arc::clone(&self.acceptor), Arc::clone(&self.api));
            let serving = listeners::serve_network(listener, acceptor, api, self.places.clone());
            replace(&mut self.network, Some(tokio::spawn(serving).abort_handle()));
        }
        if let Some(listener) = metrics_listener {
            let serving = metrics::serve(listener, Arc::clone(&self.api));
            replace(&mut self.metrics, Some(tokio::spawn(serving).abort_handle()));
        }
    }

    /// Takes no connection from the network any more.
    pub(crate) fn stop_accepting(&mut self) {
        replace(&mut self.network, None);
    }

    /// Reads configuration, trust and certificate anew. What is wrong changes nothing.
    pub(crate) async fn reload(&mut self) {
        match self.apply().await {
            Ok(identity) => tracing::info!(fingerprint = %identity.fingerprint(), "reloaded"),
            Err(error) => tracing::error!("cannot reload, nothing has changed: {error:#}"),
        }
    }

    async fn apply(&mut self) -> Result<Identity> {
        // Everything that can fail comes first.
        let config = self.config_path.load()?;
        let identity =
            Identity::load(&self.certificates.join("server.crt"), &self.certificates.join("server.key"))
                .context("cannot load the server's certificate")?;
        let acceptor = Acceptor::new(&identity).context("cannot use the server's certificate")?;
        let network = if config.http == self.config.http {
            None
        } else {
            Some(listeners::bind(&config.http.addr).await?)
        };
        let metrics = match &config.metrics {
            Some(metrics) if config.metrics != self.config.metrics => {
                Some(listeners::bind(&metrics.addr).await?)
            }
            _ => None,
        };
        self.trust.reload().await.context("cannot read the trust store")?;

        self.acceptor.store(Arc::new(acceptor));
        self.api.set_certificate_not_after(identity.certificate().not_after());
        self.log.set_level(config.log.level);
        if config.metrics.is_none() {
            replace(&mut self.metrics, None);
        }
        self.serve(network, metrics);
        self.api.set_address(config.http.addr.to_string());
        if config.storage != self.config.storage || config.log.format != self.config.log.format {
            tracing::warn!("a change of `storage` or `log.format` takes effect when the daemon is restarted");
        }
        self.config = config;
        Ok(identity)
    }
}

fn replace(task: &mut Option<AbortHandle>, next: Option<AbortHandle>) {
    if let Some(previous) = std::mem::replace(task, next) {
        previous.abort();
    }
}
