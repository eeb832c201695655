//! What the registry tells of itself, by its command line.

use std::path::Path;

use aar_model::{Fingerprint, Role};
use serde::Deserialize;

use super::places::BASE_DIR;
use crate::command::{CommandError, Question, Ran, Started, run, spawn};
use crate::files::{self, FileError};
use crate::relation::Certificate;

/// The command line.
pub const AAR: &str = "/usr/local/bin/aar";
const ENVIRONMENT: (&str, &str) = ("AAR_BASE_DIR", BASE_DIR);
const CERTIFICATE: &str = "/var/lib/aar/certs/server.crt";

/// What the daemon tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// Its version.
    pub version: String,
    /// `ready`, or `degraded` where the storage cannot be used.
    pub state: String,
    /// Where it listens.
    pub address: String,
    /// Where images are kept, for people.
    pub storage: String,
    /// How many applications there are.
    pub applications: u64,
    /// How much all images take, in bytes.
    pub bytes: u64,
}

/// All that the daemon is asked for at every event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// What it tells of itself.
    #[serde(flatten)]
    pub summary: Summary,
    /// Who is trusted.
    pub trusted: Vec<Trusted>,
}

/// Asks the daemon what it tells of itself and whom it trusts.
///
/// # Errors
/// Where `aar` cannot be run.
pub fn status() -> Result<Question<Answer>, CommandError> {
    // The daemon of this machine, whatever configuration root has for the command line.
    ask(&["status", "--config", "/dev/null", "--format", "json"])
}

/// A certificate of the trust store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Trusted {
    /// SHA-256 over its DER.
    pub fingerprint: Fingerprint,
    /// What it may do, or might before it was revoked.
    pub role: Role,
    /// A name for people.
    pub name: String,
    /// Who brought it.
    pub sources: Vec<String>,
}

/// Asks for the certificates that are trusted, or for those that are revoked.
///
/// # Errors
/// Where `aar` cannot be run.
pub fn certificates(revoked: bool) -> Result<Question<Vec<Trusted>>, CommandError> {
    let mut arguments = vec!["trust", "list", "--format", "json"];
    if revoked {
        arguments.push("--revoked");
    }
    ask(&arguments)
}

fn ask<T>(arguments: &[&str]) -> Result<Question<T>, CommandError> {
    spawn(AAR, arguments, &[ENVIRONMENT], None).map(Started::asks)
}

/// Runs `aar` and answers what it has written.
///
/// # Errors
/// What `aar` says, where it fails.
pub fn aar(arguments: &[&str], input: Option<&[u8]>) -> Result<Ran, CommandError> {
    run_aar(arguments, input)?.ok()
}

/// Runs `aar`, which may fail.
///
/// # Errors
/// Where it cannot be run.
pub fn run_aar(arguments: &[&str], input: Option<&[u8]>) -> Result<Ran, CommandError> {
    run(AAR, arguments, &[ENVIRONMENT], input)
}

/// The registry's own certificate, once it has one.
pub fn certificate() -> Result<Option<Certificate>, FileError> {
    let text = files::read(Path::new(CERTIFICATE))?;
    Ok(text.and_then(|text| Certificate::read_all(&text)).and_then(|all| all.into_iter().next()))
}
