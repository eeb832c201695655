//! What is remembered of AMS's applications: which came from the registry. One file an application.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aar_model::{AppName, Architecture, Digest, Version};
use aar_sync::durable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What is remembered of an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// AMS's identifier of it; none while it is being made.
    pub(crate) id: Option<String>,
    /// The registry's fields, as far as AMS has them.
    pub(crate) fields: Map<String, Value>,
    /// The registry's versions that AMS has.
    pub(crate) versions: BTreeMap<Version, Made>,
    /// The one that is being made.
    pub(crate) making: Option<Making>,
}

/// A version that was made on AMS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// AMS's number for it.
    pub(crate) number: i64,
    /// What it was made for.
    pub(crate) architecture: Architecture,
    /// The SHA-256 of the package that it was made of.
    pub(crate) fingerprint: Digest,
    /// The registry's fields of the version.
    pub(crate) fields: Map<String, Value>,
}

/// A version that is being made on AMS; written before AMS is told to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Making {
    /// The registry's version.
    pub(crate) version: Version,
    /// What it is made for.
    pub(crate) architecture: Architecture,
    /// The SHA-256 of the package.
    pub(crate) fingerprint: Digest,
    /// When AMS was told to, Unix seconds.
    pub(crate) begun_at: i64,
    /// The highest number that AMS had given before; none where there was no application.
    pub(crate) above: Option<i64>,
    /// The number that AMS has given it, once that is known.
    pub(crate) number: Option<i64>,
}

/// The notes of a state directory.
pub(crate) struct Notes {
    dir: PathBuf,
    by_name: Mutex<HashMap<AppName, Note>>,
}

impl Notes {
    /// Reads the notes of a state directory, if there are any.
    pub(crate) fn read(state: &Path) -> Result<Self> {
        let dir = state.join("applications");
        let by_name = Mutex::new(read_all(&dir)?);
        Ok(Self { dir, by_name })
    }

    /// Opens the notes of a state directory, to write there too.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let dir = state.join("applications");
        durable::create_dirs(state, &dir)?;
        Self::read(state)
    }

    pub(crate) fn all(&self) -> HashMap<AppName, Note> {
        self.lock().clone()
    }

    pub(crate) fn get(&self, name: &AppName) -> Note {
        self.lock().get(name).cloned().unwrap_or_default()
    }

    /// Writes a note; it is durable then.
    pub(crate) fn put(&self, name: &AppName, note: &Note) -> Result<()> {
        let path = self.path(name);
        let json =
            serde_json::to_vec_pretty(note).map_err(|error| Error::file("write", &path)(error.into()))?;
        durable::write(&path, &json)?;
        self.lock().insert(name.clone(), note.clone());
        Ok(())
    }

    /// Forgets an application, also where the power is lost afterwards.
    pub(crate) fn remove(&self, name: &AppName) -> Result<()> {
        let path = self.path(name);
        durable::remove(&path)?;
        durable::sync_parent(&path)?;
        self.lock().remove(name);
        Ok(())
    }

    /// Says that whoever wrote the note last is still at it.
    pub(crate) fn touch(&self, name: &AppName) {
        // Where that fails, less can be proved later, and an application is left alone that need not be.
        let _ = File::open(self.path(name)).and_then(|note| note.set_modified(SystemTime::now()));
    }

    /// When somebody was at it last, Unix seconds.
    pub(crate) fn touched_at(&self, name: &AppName) -> Option<i64> {
        fs::metadata(self.path(name)).and_then(|metadata| metadata.modified()).ok().map(unix_seconds)
    }

    fn path(&self, name: &AppName) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppName, Note>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unix seconds.
pub(crate) fn unix_seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| since.as_secs().try_into().ok()).unwrap_or_default()
}

fn read_all(dir: &Path) -> Result<HashMap<AppName, Note>> {
    let mut notes = HashMap::new();
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(notes),
        entries => entries.map_err(Error::file("read", dir))?,
    };
    for entry in entries {
        let path = entry.map_err(Error::file("read", dir))?.path();
        // Others are what a write left that was cut off.
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")?.parse().ok());
        if let Some(name) = name {
            let json = fs::read(&path).map_err(Error::file("read", &path))?;
            let note = serde_json::from_slice(&json).map_err(|source| Error::Note { path, source })?;
            notes.insert(name, note);
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_and_damaged_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let name: AppName = "game-1.0".parse().unwrap();
        let note = Note { id: Some("c08fr0gj1qm443dtn870".into()), ..Note::default() };
        Notes::open(dir.path()).unwrap().put(&name, &note).unwrap();
        fs::write(dir.path().join("applications/game.json.new"), "{").unwrap();
        let notes = Notes::open(dir.path()).unwrap();
        assert_eq!(notes.all(), [(name.clone(), note)].into());
        notes.remove(&name).unwrap();
        drop(notes);
        assert!(Notes::open(dir.path()).unwrap().all().is_empty());

        fs::write(dir.path().join("applications/game.json"), "{").unwrap();
        let error = Notes::open(dir.path()).map(drop).unwrap_err().to_string();
        assert!(error.contains("game.json` is damaged"), "{error}");
    }
}
