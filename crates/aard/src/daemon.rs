//! The daemon's life: it is put together, serves, and stops once what runs is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aar_api::{Api, Parts};
use aar_config::{Config, ListenAddr};
use aar_fs::FsTrust;
use aar_sled::SledIndex;
use aar_store::{Index, Reconciled, Registry, Snapshot, StorageCheck, Trust};
use aar_tls::{Acceptor, Certificate, Identity};
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::administration::Administration;
use crate::base_dir::BaseDir;
use crate::check::Checker;
use crate::cli::{Arguments, ConfigPath};
use crate::shutdown::Places;
use crate::storage::Stores;
use crate::{housekeeping, listeners, logging, names, other_storage};

/// How long a stop waits for what runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the daemon until it is told to stop.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    let path = ConfigPath::new(arguments);
    // The configuration comes before everything else: where it is wrong, nothing is touched.
    let config = path.load()?;
    let base_dir = Arc::new(BaseDir::take(&arguments.base_dir)?);
    let log = logging::init(config.log)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(begun, config, path, base_dir, log));
    // What is still held by a stuck disk must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    begun: Instant,
    config: Config,
    config_path: ConfigPath,
    base_dir: Arc<BaseDir>,
    log: logging::LogControl,
) -> Result<()> {
    let stores = Stores::open(&config.storage, &base_dir).await?;
    // The registry's threads are set to work first, and the certificates are read while they are at it.
    let (registry, (identity, acceptor, trust)) =
        tokio::try_join!(open_registry(&stores, &base_dir), load_certificates(&base_dir, &config.http.addr))?;

    let storage: Arc<dyn StorageCheck> =
        Arc::new(Checker { storage: stores.checked, registry: Arc::clone(&registry) });
    let api = Arc::new(Api::new(Parts {
        registry: Arc::clone(&registry),
        downloads: stores.downloads,
        storage_name: stores.name,
        address: config.http.addr.to_string(),
        storage: Arc::clone(&storage),
        trust: Arc::clone(&trust) as Arc<dyn Trust>,
        read_certificate,
        open_storage: other_storage::opener(config.storage.clone(), Arc::clone(&base_dir)),
        certificate_not_after: identity.certificate().not_after(),
    }));
    let places = Places::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;

    let socket = base_dir.listen()?;
    let network = listeners::bind(&config.http.addr).await?;
    let address = network.local_addr().context("cannot tell the address that is listened on")?;
    let metrics = match &config.metrics {
        Some(metrics) => Some(listeners::bind(&metrics.addr).await?),
        None => None,
    };
    let mut administration = Administration {
        config,
        config_path,
        certificates: base_dir.certificates(),
        log,
        trust: Arc::clone(&trust),
        acceptor: Arc::new(ArcSwap::from_pointee(acceptor)),
        api: Arc::clone(&api),
        places: places.clone(),
        network: None,
        metrics: None,
    };
    administration.serve(Some(network), metrics);
    let socket = tokio::spawn(listeners::serve_socket(socket, Arc::clone(&api), places.clone()));
    if let Some(bucket) = stores.bucket {
        tokio::spawn(housekeeping::sweep(bucket));
        tokio::spawn(housekeeping::check(storage, Arc::clone(&registry)));
    }
    tokio::spawn(async move {
        housekeeping::recover(&registry).await;
        tokio::join!(housekeeping::collect(&registry), housekeeping::expire_uploads(&registry));
    });
    tokio::spawn(housekeeping::save_seen(Arc::clone(&trust) as Arc<dyn Trust>));

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        fingerprint = %identity.fingerprint(),
        elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
    notify(&[NotifyState::Ready]);

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => administration.reload().await,
        }
    }

    tracing::info!("stopping");
    notify(&[NotifyState::Stopping]);
    api.set_stopping();
    administration.stop_accepting();
    socket.abort();
    if let Err(error) = base_dir.remove_socket() {
        tracing::warn!("{error:#}");
    }
    let cut_off = places.stop(PATIENCE).await;
    if let Err(error) = trust.save_seen().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot write down when certificates were last seen"
        );
    }
    tracing::info!(cut_off, "stopped");
    Ok(())
}

async fn load_certificates(
    base_dir: &BaseDir,
    addr: &ListenAddr,
) -> Result<(Identity, Acceptor, Arc<FsTrust>)> {
    let certificates = base_dir.certificates();
    let identity = Identity::load_or_create(&certificates, &names::of_this_machine(addr))
        .context("cannot load the server's certificate")?;
    let acceptor = Acceptor::new(&identity).context("cannot use the server's certificate")?;
    let trust = FsTrust::open(&certificates).await.context("cannot read the trust store")?;
    Ok((identity, acceptor, Arc::new(trust)))
}

async fn open_registry(stores: &Stores, base_dir: &BaseDir) -> Result<Arc<Registry>> {
    let index_path = base_dir.index();
    // The store is listed meanwhile.
    let index = tokio::task::spawn_blocking(move || SledIndex::open(&index_path, Snapshot::add));
    let index = async {
        let (index, indexed) =
            index.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        Ok((Arc::new(index) as Arc<dyn Index>, indexed))
    };
    let (registry, found) = Registry::open(Arc::clone(&stores.blobs), Arc::clone(&stores.records), index)
        .await
        .context("cannot bring the index to what the storage holds")?;
    if let Some(found) = found {
        log_reconciled(found);
    }
    Ok(Arc::new(registry))
}

/// Says what came of comparing the index with the storage.
pub(crate) fn log_reconciled(found: Reconciled) {
    tracing::info!(
        records = found.records,
        changed = found.changed,
        damaged = found.damaged,
        "the index is as the storage says"
    );
}

/// The first certificate of a text: the leaf, where it is a chain.
fn read_certificate(text: &str) -> Result<(Vec<u8>, Option<String>), String> {
    let certificates = Certificate::read_all(text.as_bytes()).map_err(|error| error.to_string())?;
    let leaf = certificates.first().ok_or("there is no certificate in it")?;
    Ok((leaf.der().to_vec(), leaf.common_name().map(str::to_owned)))
}

/// As many files as the system lets this process have: every connection takes one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, the limit that there is serves.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot tell systemd");
    }
}
