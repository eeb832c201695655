//! The registry's program files: those that the charm carries, or a resource, onto the machine; and back, where a new
//! version does not become ready.
//!
//! The charm keeps its own notes in [`STATE`]. An installation goes: keep what will be replaced, note that it is pending,
//! put the files in place; once the daemon is ready, note that it is installed and drop what was kept. Whatever of that is
//! cut off is done again, and what was kept stays the last version that worked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aar_model::{Digest, Hasher};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::command::run;
use crate::files::{self, FileError, create_dirs, put, remove, remove_tree, stage};
use crate::status::chain;

/// Where the charm keeps its notes, and the files of the version before.
pub const STATE: &str = "/var/lib/aar-charm";

/// What was noted about the files on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// The version that is installed, and worked if it ever had to.
    pub installed: Option<Version>,
    /// The version that is being installed.
    pub pending: Option<Version>,
    /// A version that did not become ready, and why.
    pub refused: Option<(Digest, String)>,
}

/// A version of the program files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// What is in all files.
    pub content: Digest,
    /// How the source looks from outside. Where that is as it was, so is the content.
    pub look: Digest,
    /// Whether it is a resource, not what the charm carries.
    pub resource: bool,
    /// The files, as paths below `/`.
    pub files: Vec<PathBuf>,
}

/// The files of a version that could be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The directory that stands for `/`.
    pub root: PathBuf,
    /// What is in it.
    pub version: Version,
}

/// The machine's file system, as far as program files go. Its own type, so that it can be another directory in tests.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
    state: PathBuf,
}

impl Default for Place {
    fn default() -> Self {
        Self::new(Path::new("/"), Path::new(STATE))
    }
}

impl Place {
    /// Another place than the machine itself: where its root and the notes are.
    pub fn new(root: &Path, state: &Path) -> Self {
        Self { root: root.to_owned(), state: state.to_owned() }
    }

    /// What was noted.
    pub fn notes(&self) -> Result<Notes, FileError> {
        note(&self.state.join("workload.json"))
    }

    fn write(&self, notes: &Notes) -> Result<(), FileError> {
        write_note(&self.state.join("workload.json"), notes)
    }

    /// The tree below `root`, if there are files in it. `known` is one that was looked at before.
    pub fn source(
        root: &Path,
        resource: bool,
        known: &[Option<&Version>],
    ) -> Result<Option<Source>, FileError> {
        let mut found = BTreeMap::new();
        list(root, Path::new(""), &mut found)?;
        if found.is_empty() {
            return Ok(None);
        }
        let mut look = Hasher::default();
        for (path, metadata) in &found {
            let stat =
                (metadata.len(), metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino());
            look.update(format!("{} {stat:?}\n", path.display()).as_bytes());
        }
        let look = look.finish();
        let known = known.iter().flatten().find(|version| version.look == look);
        let content = match known {
            Some(version) => version.content,
            None => hash(root, &found)?,
        };
        let files = found.into_keys().collect();
        Ok(Some(Source { root: root.to_owned(), version: Version { content, look, resource, files } }))
    }

    /// Unpacks a resource and answers the directory that stands for `/`.
    ///
    /// # Errors
    /// What is wrong with the archive.
    pub fn unpack(&self, archive: &str) -> Result<PathBuf, String> {
        let target = self.state.join("resource");
        let unpack = || {
            remove_tree(&target).and_then(|()| create_dirs(&target)).map_err(|error| chain(&error))?;
            let directory = target.display().to_string();
            let arguments =
                ["--extract", "--gzip", "--no-same-owner", "--file", archive, "--directory", &directory];
            run("tar", &arguments, &[], None).and_then(crate::command::Ran::ok).map_err(|error| chain(&error))
        };
        unpack()?;
        Ok(target)
    }

    /// Puts a version in place, and keeps what it replaces.
    pub fn install(&self, source: &Source) -> Result<(), FileError> {
        let mut notes = self.notes()?;
        if notes.pending.is_none() {
            self.keep(&notes, source)?;
        }
        // Kept is always the last version that worked, whichever was tried since.
        let tried = notes.pending.replace(source.version.clone());
        self.write(&notes)?;
        for path in &source.version.files {
            let from = source.root.join(path);
            let mut file = File::open(&from).map_err(FileError::new("open", &from))?;
            let metadata = file.metadata().map_err(FileError::new("read", &from))?;
            let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
            let to = self.root.join(path);
            if is_same(&to, &mut file, &metadata, mode).map_err(FileError::new("read", &to))? {
                // What a run that was killed may have left.
                remove(&files::beside(&to))?;
                continue;
            }
            create_dirs(to.parent().unwrap_or(&self.root))?;
            stage(&to, &mut file, mode, None)?;
            put(&to)?;
        }
        self.remove_others(tried.as_ref(), &source.version)?;
        self.remove_others(notes.installed.as_ref(), &source.version)
    }

    /// The version that was put in place works: nothing goes back.
    pub fn accept(&self) -> Result<(), FileError> {
        let mut notes = self.notes()?;
        if let Some(version) = notes.pending.take() {
            notes.installed = Some(version);
            notes.refused = None;
            self.write(&notes)?;
        }
        remove_tree(&self.kept())?;
        remove_tree(&self.state.join("resource"))
    }

    /// Removes what a run that was cut off has left, and nobody goes back to.
    pub fn tidy(&self) -> Result<(), FileError> {
        let notes = self.notes()?;
        if notes == Notes::default() {
            // Nothing is installed, so that there is nothing to note: what is there is left of a removal.
            return remove_tree(&self.state);
        }
        if notes.pending.is_none() {
            remove_tree(&self.kept())?;
            remove_tree(&self.state.join("previous.new"))?;
            remove_tree(&self.state.join("resource"))?;
        }
        Ok(())
    }

    /// The files look other than before, yet are the same.
    pub fn looks_like(&self, version: &Version) -> Result<(), FileError> {
        let notes = self.notes()?;
        self.write(&Notes { installed: Some(version.clone()), ..notes })
    }

    /// Whether all files of a version are there.
    pub fn is_complete(&self, version: &Version) -> bool {
        version.files.iter().all(|path| self.root.join(path).is_file())
    }

    /// Whether there is a version to go back to.
    pub fn can_go_back(&self) -> bool {
        self.kept().is_dir()
    }

    /// Puts the version in place again that was there before, because of `reason`.
    pub fn roll_back(&self, reason: &str) -> Result<(), FileError> {
        let mut notes = self.notes()?;
        let Some(refused) = notes.pending.take() else { return Ok(()) };
        if let Some(before) = &notes.installed {
            for path in &before.files {
                let (from, to) = (self.kept().join(path), self.root.join(path));
                let mut file = File::open(&from).map_err(FileError::new("open", &from))?;
                let metadata = file.metadata().map_err(FileError::new("read", &from))?;
                stage(&to, &mut file, metadata.permissions().mode() & 0o777, None)?;
                put(&to)?;
            }
            self.remove_others(Some(&refused), before)?;
        }
        notes.refused = Some((refused.content, reason.to_owned()));
        self.write(&notes)?;
        remove_tree(&self.kept())
    }

    /// Takes the registry's files, and the charm's notes, from the machine.
    pub fn uninstall(&self) -> Result<(), FileError> {
        let notes = self.notes()?;
        for version in notes.installed.iter().chain(&notes.pending) {
            for path in &version.files {
                remove(&self.root.join(path))?;
            }
        }
        remove_tree(&self.state)
    }

    /// Keeps the installed files; nothing where there are none. It is there whole, or not at all.
    fn keep(&self, notes: &Notes, source: &Source) -> Result<(), FileError> {
        let Some(installed) = &notes.installed else { return Ok(()) };
        if installed.content == source.version.content {
            return Ok(());
        }
        let aside = self.state.join("previous.new");
        remove_tree(&aside)?;
        for path in &installed.files {
            let (from, to) = (self.root.join(path), aside.join(path));
            create_dirs(to.parent().unwrap_or(&aside))?;
            fs::copy(&from, &to).map_err(FileError::new("copy", &from))?;
            File::open(&to).and_then(|file| file.sync_all()).map_err(FileError::new("write", &to))?;
        }
        remove_tree(&self.kept())?;
        fs::rename(&aside, self.kept()).map_err(FileError::new("rename", &aside))
    }

    /// Removes the files of `gone` that `stays` does not have.
    fn remove_others(&self, gone: Option<&Version>, stays: &Version) -> Result<(), FileError> {
        let gone = gone.into_iter().flat_map(|version| &version.files);
        for path in gone.filter(|path| stays.files.binary_search(path).is_err()) {
            remove(&self.root.join(path))?;
        }
        Ok(())
    }

    fn kept(&self) -> PathBuf {
        self.state.join("previous")
    }
}

/// A note in JSON; the default where there is none, or it is damaged.
pub fn note<T: DeserializeOwned + Default>(path: &Path) -> Result<T, FileError> {
    let text = files::read(path)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Writes a note.
pub fn write_note<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    create_dirs(path.parent().unwrap_or(Path::new("/")))?;
    let text = serde_json::to_vec(value).map_err(|error| FileError::new("write", path)(error.into()))?;
    files::write(path, text.as_slice(), 0o600, None)
}

fn list(root: &Path, below: &Path, found: &mut BTreeMap<PathBuf, fs::Metadata>) -> Result<(), FileError> {
    let directory = root.join(below);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(FileError::new("read", &directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(FileError::new("read", &directory))?;
        let path = below.join(entry.file_name());
        let metadata = entry.metadata().map_err(FileError::new("read", &entry.path()))?;
        if metadata.is_dir() {
            list(root, &path, found)?;
        } else if metadata.is_file() {
            found.insert(path, metadata);
        }
    }
    Ok(())
}

fn hash(root: &Path, files: &BTreeMap<PathBuf, fs::Metadata>) -> Result<Digest, FileError> {
    let mut all = Hasher::default();
    for (path, metadata) in files {
        let full = root.join(path);
        let bytes = fs::read(&full).map_err(FileError::new("read", &full))?;
        let executable = metadata.mode() & 0o100 != 0;
        all.update(format!("{} {executable} {}\n", path.display(), Digest::of(&bytes)).as_bytes());
    }
    Ok(all.finish())
}

fn is_same(path: &Path, other: &mut File, metadata: &fs::Metadata, mode: u32) -> io::Result<bool> {
    use std::io::{Read, Seek};
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    if !there.is_file() || there.len() != metadata.len() || there.mode() & 0o7777 != mode {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    other.read_to_end(&mut bytes)?;
    other.rewind()?;
    Ok(fs::read(path)? == bytes)
}
