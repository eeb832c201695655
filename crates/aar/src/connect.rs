//! How the registry is reached: by option, environment, configuration file, or the daemon's socket.

use std::env;
use std::path::{Path, PathBuf};

use aar_ams::Ams;
use aar_client::Client;
use aar_config::client::ClientConfig;
use aar_config::relation::RelationData;
use aar_model::Fingerprint;
use aar_tls::{Certificate, Connector, Identity};
use url::Url;

use crate::cli;
use crate::error::{Error, Result};

/// A registry and its address.
pub(crate) struct Registry {
    pub(crate) client: Client,
    pub(crate) address: String,
    /// Whether it is that of this machine.
    pub(crate) is_local: bool,
}

impl Registry {
    /// The registry that the options, the environment or the configuration file name, else the daemon on this machine.
    pub(crate) async fn choose(options: cli::Registry, base_dir: &Path) -> Result<Self> {
        let file = config_file(options.config.as_deref())?;
        if let Some(url) = options.registry.or(file.registry) {
            let pin = options.fingerprint.or(file.fingerprint);
            let identity = identity(options.cert.or(file.cert), options.key.or(file.key))?;
            return Self::remote(url, pin, identity).await;
        }
        let socket = socket(base_dir);
        if !socket.exists() {
            return Err(Error::Usage(format!(
                "no registry is named and no daemon listens on `{}`: give --registry, AAR_REGISTRY or `registry` in \
                 the client's configuration",
                socket.display()
            )));
        }
        Ok(Self::local(base_dir))
    }

    /// The registry whose charm has told a relation what is in `file`; the options and the configuration file say which
    /// certificate to show.
    pub(crate) fn from_relation(options: cli::Registry, file: &Path) -> Result<Self> {
        let told = RelationData::load(file)?;
        let shown = told.certificate.map(|text| Certificate::read_all(text.as_bytes())).transpose();
        let shown =
            shown.map_err(|source| Error::Certificate { origin: format!("`{}`", file.display()), source })?;
        let shown = shown.and_then(|all| all.first().map(Certificate::fingerprint));
        let pin = match (told.fingerprint, shown) {
            (Some(fingerprint), Some(shown)) if fingerprint != shown => {
                return Err(Error::Usage(format!(
                    "in `{}`, the fingerprint is {fingerprint}, and that of the certificate is {shown}",
                    file.display()
                )));
            }
            (told, shown) => told.or(shown),
        };
        let pin = pin.ok_or_else(|| {
            Error::Usage(format!(
                "`{}` has neither `fingerprint` nor `certificate`: the registry's charm has not told them yet",
                file.display()
            ))
        })?;
        let config = config_file(options.config.as_deref())?;
        let identity = identity(options.cert.or(config.cert), options.key.or(config.key))?;
        let client = remembering(Client::https(&told.registry, Connector::new(identity.as_ref(), pin)?)?);
        Ok(Self { client, address: told.registry.into(), is_local: false })
    }

    /// The daemon on this machine.
    pub(crate) fn local(base_dir: &Path) -> Self {
        let socket = socket(base_dir);
        Self {
            address: socket.display().to_string(),
            client: remembering(Client::unix(socket)),
            is_local: true,
        }
    }

    async fn remote(url: Url, pin: Option<Fingerprint>, identity: Option<Identity>) -> Result<Self> {
        let Some(pin) = pin else { return Err(unpinned(&url).await) };
        let client = remembering(Client::https(&url, Connector::new(identity.as_ref(), pin)?)?);
        Ok(Self { client, address: url.into(), is_local: false })
    }
}

/// The AMS at `url`, which over the network is shown the same certificate as the registry.
pub(crate) fn ams(url: &Url, pin: Option<Fingerprint>, options: &cli::Registry) -> Result<Ams> {
    if url.scheme() == "unix" {
        return Ok(Ams::unix(url.path()));
    }
    let pin = pin.ok_or_else(|| {
        Error::Usage(
            "give --ams-fingerprint: `openssl x509 -in /var/snap/ams/common/server/ams.crt -noout -fingerprint -sha256` on \
             AMS's machine prints it"
                .into(),
        )
    })?;
    let file = config_file(options.config.as_deref())?;
    let identity = identity(options.cert.clone().or(file.cert), options.key.clone().or(file.key))?;
    Ok(Ams::https(url, Connector::new(identity.as_ref(), pin)?)?)
}

/// The daemon's socket.
fn socket(base_dir: &Path) -> PathBuf {
    base_dir.join("run/aar.sock")
}

/// Finds out what an unknown server shows: it is refused because it is not what no server can be, and named.
async fn unpinned(url: &Url) -> Error {
    let knock = async {
        let client = Client::https(url, Connector::new(None, Fingerprint::of(b""))?)?;
        Ok(client.version().await?)
    };
    match knock.await {
        Err(Error::Client(aar_client::Error::Pin { address, presented, .. })) => {
            Error::Unpinned { address, presented }
        }
        Err(other) => other,
        Ok(_) => Error::Usage("give the fingerprint of the registry's certificate".into()),
    }
}

fn identity(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Identity>> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(Identity::load(&cert, &key)?)),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(Error::Usage("a certificate without its key is of no use: give --key too".into()))
        }
        (None, Some(_)) => {
            Err(Error::Usage("a key without its certificate is of no use: give --cert too".into()))
        }
    }
}

/// The configuration file; an empty one where none was named and the usual one is not there.
fn config_file(named: Option<&Path>) -> Result<ClientConfig> {
    if let Some(path) = named {
        return Ok(ClientConfig::load(path)?);
    }
    match folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("aar/config.yaml")) {
        Some(path) if path.exists() => Ok(ClientConfig::load(&path)?),
        _ => Ok(ClientConfig::default()),
    }
}

/// The client, which remembers where its user's programs keep their state what it uploads.
fn remembering(client: Client) -> Client {
    match folder("XDG_STATE_HOME", ".local/state") {
        Some(folder) => client.remember_uploads(folder.join("aar/uploads")),
        None => client,
    }
}

/// A user's folder as the XDG base directory specification has it.
fn folder(variable: &str, usual: &str) -> Option<PathBuf> {
    let folder = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    folder.or_else(|| env::home_dir().map(|home| home.join(usual)))
}
