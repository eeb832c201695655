use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aar_client::{ImageAddress, Silent, digest_file};
use aar_model::wire::Image;
use aar_model::{AppName, Version};
use serde_json::{Map, Value};

use super::record::{Action, Notice, Record};
use crate::{Catalogue, Error, Package, Result, durable};

/// The directory of what the mirror keeps for itself. No application has such a name.
const OWN: &str = ".aar-sync";

/// The mirror's files. Everything here blocks.
pub(super) struct Store {
    root: PathBuf,
    /// Whether somebody is told of changes.
    tells: bool,
    /// Whoever reads records to write them holds it.
    records: Mutex<()>,
    /// Held by the process for its life, if it is to change anything.
    _lock: Option<File>,
}

impl Store {
    pub(super) fn open(root: &Path, tells: bool) -> Result<Self> {
        let lock = durable::lock(&root.join(OWN), root)?;
        Ok(Self { root: root.to_owned(), tells, records: Mutex::default(), _lock: Some(lock) })
    }

    /// The store to look at only.
    pub(super) fn look(root: &Path) -> Self {
        Self { root: root.to_owned(), tells: false, records: Mutex::default(), _lock: None }
    }

    pub(super) fn list(&self) -> Result<Catalogue> {
        let _records = self.records();
        let mut catalogue = Catalogue::default();
        for (address, record) in self.all_records()? {
            let Some(image) = record.image else { continue };
            let is_there = record.is_complete
                && fs::metadata(self.image_path(&address, &image))
                    .is_ok_and(|file| file.is_file() && file.len() == image.size);
            let package =
                Package { fingerprint: is_there.then_some(image.fingerprint), ..Package::from(&image) };
            let application = catalogue.0.entry(address.name).or_default();
            application
                .versions
                .entry(address.version)
                .or_default()
                .packages
                .insert(address.architecture, package);
        }
        for (name, application) in &mut catalogue.0 {
            application.fields = read_fields(&self.application_path(name));
            for (version, release) in &mut application.versions {
                release.fields = read_fields(&self.version_path(name, *version));
            }
        }
        Ok(catalogue)
    }

    /// Bytes that are left for the mirror.
    pub(super) fn free(&self) -> Result<u64> {
        let free = rustix::fs::statvfs(&self.root).map_err(|e| Error::file("read", &self.root)(e.into()))?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes of an image that are there from an earlier attempt. All are where only its record is missing or unfinished.
    pub(super) fn begun(&self, address: &ImageAddress, image: &Image) -> u64 {
        let path = self.image_path(address, image);
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        if size(&path) == image.size {
            image.size
        } else {
            size(&with_suffix(&path, ".part")).min(image.size)
        }
    }

    /// Makes everything ready for an image but the image itself. Answers where that is to go, unless it is there already.
    pub(super) fn begin(
        &self,
        address: &ImageAddress,
        image: &Image,
        application: &Map<String, Value>,
        version: &Map<String, Value>,
    ) -> Result<Option<PathBuf>> {
        let (name, number) = (&address.name, address.version);
        let target = self.image_path(address, image);
        let application_file = (self.application_path(name), application);
        let version_file = (self.version_path(name, number), version);
        // To the end: a transfer that is given up may be removed at once.
        let _records = self.records();
        let known = self.records_of(name)?;
        let own = |counts: &dyn Fn(&ImageAddress) -> bool| {
            known.iter().any(|(other, record)| record.image.is_some() && counts(other))
        };
        for (is_own, (path, fields)) in
            [(own(&|_| true), &application_file), (own(&|other| other.version == number), &version_file)]
        {
            if !is_own && path.exists() && &read_fields(path) != *fields {
                return Err(Error::Foreign(path.clone()));
            }
        }
        let record = known.get(address).cloned().unwrap_or_default();
        // It may be that of a transfer that was interrupted right before its end, or of a record that was lost.
        let is_there = has_digest(&target, image)?;
        if record.image.is_none() && target.exists() && !is_there {
            return Err(Error::Foreign(target));
        }
        if record.image.as_ref() != Some(image) || record.is_complete {
            if let Some(old) = &record.image
                && old.extension() != image.extension()
            {
                self.remove_image(address, old)?; // under its other name nobody would find it any more
            }
            let begun = Record { image: Some(image.clone()), is_complete: false, ..record };
            self.write_record(address, &begun)?;
        }
        if let Some(dir) = target.parent() {
            durable::create_dirs(&self.root, dir)?;
        }
        for (path, fields) in [application_file, version_file] {
            if !path.exists() || &read_fields(&path) != fields {
                self.write_fields(&path, fields)?;
            }
        }
        Ok((!is_there).then_some(target))
    }

    /// Takes note that an image is there.
    pub(super) fn complete(&self, address: &ImageAddress, image: &Image) -> Result<()> {
        let _records = self.records();
        let record = self.record(address)?.unwrap_or_default();
        self.write_record(address, &Record { image: Some(image.clone()), is_complete: true, ..record })
    }

    pub(super) fn change_application(&self, name: &AppName, fields: &Map<String, Value>) -> Result<()> {
        self.write_fields(&self.application_path(name), fields)
    }

    pub(super) fn change_version(
        &self,
        name: &AppName,
        version: Version,
        fields: &Map<String, Value>,
    ) -> Result<()> {
        self.write_fields(&self.version_path(name, version), fields)
    }

    /// Removes images of an application: those that `goes` says. Files of others stay, and with them their directories.
    pub(super) fn remove(&self, name: &AppName, goes: impl Fn(&ImageAddress) -> bool) -> Result<()> {
        let _records = self.records();
        let known = self.records_of(name)?;
        let (going, staying): (Vec<_>, Vec<_>) = known
            .into_iter()
            .filter(|(_, record)| record.image.is_some())
            .partition(|(address, _)| goes(address));
        for (address, record) in &going {
            if let Some(image) = &record.image {
                self.remove_image(address, image)?;
            }
            if !staying.iter().any(|(other, _)| other.version == address.version) {
                let file = self.version_path(name, address.version);
                durable::remove(&file)?;
                durable::remove_dir(file.parent().unwrap_or(&self.root))?;
            }
        }
        if staying.is_empty() {
            let file = self.application_path(name);
            durable::remove(&file)?;
            durable::remove_dir(file.parent().unwrap_or(&self.root))?;
        }
        durable::sync_parent(&self.root.join(name.as_str()))?;
        for (address, record) in going {
            if self.tells && record.told.is_some() {
                self.write_record(&address, &Record { image: None, is_complete: false, ..record })?;
            } else {
                self.remove_record(&address)?;
            }
        }
        Ok(())
    }

    /// The images of which something is to be told.
    pub(super) fn due(&self) -> Result<Vec<ImageAddress>> {
        let _records = self.records();
        let is_due = |(address, record)| self.notice(&address, &record).map(|_| address);
        Ok(self.all_records()?.into_iter().filter_map(is_due).collect())
    }

    /// Takes note that it begins to be told of an image what is to be told now; nothing may be any more. From then on, a
    /// removal is to be told too.
    pub(super) fn telling(&self, address: &ImageAddress) -> Result<Option<Notice>> {
        let _records = self.records();
        let Some(record) = self.record(address)? else { return Ok(None) };
        let Some(notice) = self.notice(address, &record) else { return Ok(None) };
        let begun = Record { told: Some(notice.fingerprint), is_telling: true, ..record.clone() };
        if begun != record {
            self.write_record(address, &begun)?;
        }
        Ok(Some(notice))
    }

    /// Takes note that something was told.
    pub(super) fn told(&self, notice: &Notice) -> Result<()> {
        let _records = self.records();
        let Some(record) = self.record(&notice.image)? else { return Ok(()) };
        let told = match notice.action {
            Action::Removed if record.image.is_none() => return self.remove_record(&notice.image),
            Action::Removed => None,
            Action::Added => Some(notice.fingerprint),
        };
        self.write_record(&notice.image, &Record { told, is_telling: false, ..record })
    }

    /// What is to be told of an image.
    fn notice(&self, address: &ImageAddress, record: &Record) -> Option<Notice> {
        let (action, fingerprint, path) = match (&record.image, record.told) {
            (Some(image), told)
                if record.is_complete && (record.is_telling || told != Some(image.fingerprint)) =>
            {
                (Action::Added, image.fingerprint, Some(self.image_path(address, image)))
            }
            (None, Some(fingerprint)) => (Action::Removed, fingerprint, None),
            _ => return None,
        };
        Some(Notice { action, image: address.clone(), fingerprint, path })
    }

    fn write_fields(&self, path: &Path, fields: &Map<String, Value>) -> Result<()> {
        // The directory is missing where only the beginning of an image was recorded.
        durable::create_dirs(&self.root, path.parent().unwrap_or(&self.root))?;
        let json =
            serde_json::to_vec_pretty(fields).map_err(|error| Error::file("write", path)(error.into()))?;
        durable::write(path, &json)
    }

    fn remove_image(&self, address: &ImageAddress, image: &Image) -> Result<()> {
        let path = self.image_path(address, image);
        durable::remove(&with_suffix(&path, ".part"))?;
        durable::remove(&path)?;
        durable::remove_dir(path.parent().unwrap_or(&self.root))
    }

    fn all_records(&self) -> Result<BTreeMap<ImageAddress, Record>> {
        let mut all = BTreeMap::new();
        for name in entries::<AppName>(&self.root.join(OWN).join("images"), "")? {
            all.append(&mut self.records_of(&name)?);
        }
        Ok(all)
    }

    fn records_of(&self, name: &AppName) -> Result<BTreeMap<ImageAddress, Record>> {
        let mut records = BTreeMap::new();
        let dir = self.root.join(OWN).join("images").join(name.as_str());
        for version in entries::<Version>(&dir, "")? {
            for architecture in entries(&dir.join(version.to_string()), ".json")? {
                let address = ImageAddress { name: name.clone(), version, architecture };
                if let Some(record) = self.record(&address)? {
                    records.insert(address, record);
                }
            }
        }
        Ok(records)
    }

    fn record(&self, address: &ImageAddress) -> Result<Option<Record>> {
        let path = self.record_path(address);
        match fs::read(&path) {
            Ok(bytes) => {
                let invalid = |error: serde_json::Error| Error::file("read", &path)(error.into());
                serde_json::from_slice(&bytes).map(Some).map_err(invalid)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path)(error)),
        }
    }

    fn write_record(&self, address: &ImageAddress, record: &Record) -> Result<()> {
        let path = self.record_path(address);
        if let Some(dir) = path.parent() {
            durable::create_dirs(&self.root, dir)?;
        }
        let json = serde_json::to_vec(record).map_err(|error| Error::file("write", &path)(error.into()))?;
        durable::write(&path, &json)
    }

    fn remove_record(&self, address: &ImageAddress) -> Result<()> {
        let path = self.record_path(address);
        durable::remove(&path)?;
        for dir in path.ancestors().skip(1).take(2) {
            durable::remove_dir(dir)?;
        }
        Ok(())
    }

    fn records(&self) -> MutexGuard<'_, ()> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_path(&self, address: &ImageAddress) -> PathBuf {
        let ImageAddress { name, version, architecture } = address;
        self.root.join(format!("{OWN}/images/{name}/{version}/{architecture}.json"))
    }

    fn application_path(&self, name: &AppName) -> PathBuf {
        self.root.join(format!("{name}/application.json"))
    }

    fn version_path(&self, name: &AppName, version: Version) -> PathBuf {
        self.root.join(format!("{name}/{version}/version.json"))
    }

    fn image_path(&self, address: &ImageAddress, image: &Image) -> PathBuf {
        let ImageAddress { name, version, architecture } = address;
        self.root.join(format!("{name}/{version}/{architecture}/image.{}", image.extension()))
    }
}

/// The entries of a directory whose names, without a suffix, mean something; none where there is no such directory.
fn entries<T: FromStr>(dir: &Path, suffix: &str) -> Result<Vec<T>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::file("read", dir))?.file_name();
        names.extend(
            name.to_str().and_then(|name| name.strip_suffix(suffix)).and_then(|name| name.parse().ok()),
        );
    }
    Ok(names)
}

/// Fields from a file; none where it is missing or damaged, so that it is written again.
fn read_fields(path: &Path) -> Map<String, Value> {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Whether a file is this very image. Read only where its size says that it may be.
fn has_digest(path: &Path, image: &Image) -> Result<bool> {
    if !fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == image.size) {
        return Ok(false);
    }
    let (_, digest, _) = digest_file(path, &Silent)?;
    Ok(digest == image.fingerprint)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
