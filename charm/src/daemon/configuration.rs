//! The daemon's file on the machine: replaced only by one that the daemon takes, and put back where it does not work.

use std::path::{Path, PathBuf};

use aar_config::Secret;
use aar_model::Digest;

use super::places::CONFIG;
use super::service::Applied;
use crate::command::{CommandError, run};
use crate::files::{self, FileError, Owner};
use crate::workload::STATE;

const AARD: &str = "/usr/local/bin/aard";

/// The daemon's file as it is.
pub fn config() -> Result<Option<Secret>, FileError> {
    Ok(files::read(Path::new(CONFIG))?.map(Secret::from))
}

/// Whether there is a daemon's file to go back to.
pub fn has_previous_config() -> bool {
    previous_config().is_file()
}

fn previous_config() -> PathBuf {
    Path::new(STATE).join("config.yaml")
}

/// Why a daemon's file was not put in place.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The daemon would not take it.
    #[error("{0}")]
    Wrong(String),
    /// It could not be tried.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Puts the daemon's file in place, if the daemon would take it, and keeps the one before.
///
/// # Errors
/// Where the daemon would not: all is as it was.
pub fn replace_config(text: &Secret, owner: Option<Owner>) -> Result<(), ReplaceError> {
    let path = Path::new(CONFIG);
    let candidate = files::stage(path, &mut text.expose().as_bytes(), 0o600, owner)?;
    let ran = run(AARD, &["--check-config".as_ref(), candidate.as_os_str()], &[], None)?;
    if !ran.success() {
        files::remove(&candidate)?;
        let said = ran.said().replace(&candidate.display().to_string(), "storage_config");
        return Err(ReplaceError::Wrong(said.trim_start_matches("aard: ").to_owned()));
    }
    // The last one that worked stays until this one does.
    if let Some(before) = config()?
        && Applied::load()?.config == Some(Digest::of(before.expose().as_bytes()))
    {
        files::write(&previous_config(), before.expose().as_bytes(), 0o600, None)?;
    }
    Ok(files::put(path)?)
}

/// Puts the daemon's file in place again that was there before.
pub fn restore_config(owner: Option<Owner>) -> Result<(), FileError> {
    if let Some(before) = files::read(&previous_config())?.map(Secret::from) {
        files::write(Path::new(CONFIG), before.expose().as_bytes(), 0o600, owner)?;
    }
    files::remove(&previous_config())
}

/// The daemon's file works: nothing goes back.
pub fn accept_config() -> Result<(), FileError> {
    files::remove(&previous_config())
}
