//! The trust store: through the daemon, or on the disk while there is none.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use aar_client::Client;
use aar_fs::FsTrust;
use aar_model::wire::{AddCertificate, AddedCertificate};
use aar_model::{CertificateInfo, FingerprintPrefix, Role};
use aar_store::{NewCertificate, Trust, TrustError};
use aar_tls::Certificate;

use crate::connect::Registry;
use crate::error::{Error, Result};

/// The trust store of the registry on this machine.
pub(crate) enum TrustStore {
    /// The daemon lives and is asked.
    Daemon(Client),
    /// It does not.
    Disk(Disk),
}

impl TrustStore {
    pub(crate) async fn open(base_dir: &Path) -> Result<Self> {
        let daemon = Registry::local(base_dir).client;
        match daemon.service_status().await {
            Ok(_) => Ok(Self::Daemon(daemon)),
            Err(e) if e.is_nobody_there() => Ok(Self::Disk(Disk::open(base_dir).await?)),
            Err(e) => Err(e.into()),
        }
    }

    pub(crate) async fn add(
        &self,
        certificate: &Certificate,
        role: Role,
        name: Option<String>,
        source: String,
    ) -> Result<AddedCertificate> {
        match self {
            Self::Daemon(daemon) => {
                let certificate = certificate.to_pem();
                let add = AddCertificate { certificate, role: Some(role), name, source: Some(source) };
                Ok(daemon.add_certificate(&add).await?)
            }
            Self::Disk(disk) => {
                let name = name.or_else(|| certificate.common_name().map(String::from)).unwrap_or_default();
                let der = certificate.der().to_vec();
                let (certificate, change) =
                    disk.trust.add(NewCertificate { der, name, role, source }).await?;
                disk.hand_over()?;
                Ok(AddedCertificate { change, certificate })
            }
        }
    }

    pub(crate) async fn list(&self, revoked: bool) -> Result<Vec<CertificateInfo>> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.certificates(revoked).await?),
            Self::Disk(disk) => Ok(disk.trust.list(revoked)),
        }
    }

    pub(crate) async fn get(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.certificate(prefix).await?),
            Self::Disk(disk) => Ok(disk.trust.get(prefix)?),
        }
    }

    pub(crate) async fn remove(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.remove_certificate(prefix).await?),
            Self::Disk(disk) => {
                let removed = disk.trust.remove(prefix).await?;
                disk.hand_over()?;
                Ok(removed)
            }
        }
    }

    pub(crate) async fn withdraw(&self, prefix: &FingerprintPrefix, source: &str) -> Result<CertificateInfo> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.withdraw_certificate(prefix, source).await?),
            Self::Disk(disk) => {
                let left = disk.trust.withdraw(prefix, source).await?;
                disk.hand_over()?;
                Ok(left)
            }
        }
    }

    pub(crate) async fn revoke(&self, prefix: &FingerprintPrefix) -> Result<CertificateInfo> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.revoke_certificate(prefix).await?),
            Self::Disk(disk) => {
                let revoked = disk.trust.revoke(prefix).await?;
                disk.hand_over()?;
                Ok(revoked)
            }
        }
    }
}

/// The trust store of a daemon that does not run, and cannot start as long as this lives.
pub(crate) struct Disk {
    trust: FsTrust,
    base_dir: PathBuf,
    _lock: File,
}

impl Disk {
    async fn open(base_dir: &Path) -> Result<Self> {
        let lock = lock(base_dir)?;
        let trust = FsTrust::open(&base_dir.join("certs")).await.map_err(TrustError::Store)?;
        let this = Self { trust, base_dir: base_dir.to_owned(), _lock: lock };
        this.hand_over()?; // what opening has made
        Ok(this)
    }

    /// Gives what root has made here to whom the base directory belongs: the daemon could not read it else.
    fn hand_over(&self) -> Result<()> {
        let base = fs::symlink_metadata(&self.base_dir).map_err(Error::file("read", &self.base_dir))?;
        let mut left = vec![self.base_dir.join("run"), self.base_dir.join("certs")];
        while let Some(path) = left.pop() {
            let metadata = fs::symlink_metadata(&path).map_err(Error::file("read", &path))?;
            if metadata.uid() != base.uid() {
                lchown(&path, Some(base.uid()), Some(base.gid())).map_err(Error::file("hand over", &path))?;
            }
            if metadata.is_dir() {
                for entry in fs::read_dir(&path).map_err(Error::file("read", &path))? {
                    left.push(entry.map_err(Error::file("read", &path))?.path());
                }
            }
        }
        Ok(())
    }
}

/// Takes the lock that the daemon holds while it lives.
fn lock(base_dir: &Path) -> Result<File> {
    let folder = base_dir.join("run");
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::file("create", &folder)(e));
        }
        _ => {}
    }
    let path = folder.join("aard.lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Error::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::DaemonBetween),
        Err(TryLockError::Error(e)) => Err(Error::file("lock", &path)(e)),
    }
}
