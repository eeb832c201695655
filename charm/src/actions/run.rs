use std::path::Path;

use super::{backup, clients, maintenance};
use crate::command::CommandError;
use crate::daemon::{self, AAR};
use crate::event::Event;
use crate::facts::FactError;
use crate::files::FileError;
use crate::reconcile::ReconcileError;
use crate::relation::Certificate;
use crate::status::chain;
use crate::tools;

/// Results by dotted keys.
pub(super) type Results = Vec<(String, String)>;

/// As much as fits into an argument of a program, in bytes, with some room to spare.
const LONGEST_RESULT: usize = 120 * 1024;

/// Why an action fails, for the operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// In a sentence.
    #[error("{0}")]
    Told(String),
    /// As a program says.
    #[error("{}", told(.0))]
    Command(#[from] CommandError),
    /// With a file.
    #[error("{}", chain(.0))]
    File(#[from] FileError),
    /// With the machine.
    #[error("{}", chain(.0))]
    Fact(#[from] FactError),
    /// The agent does not answer.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
}

/// A failure in a sentence.
pub(super) fn fail<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Told(text.into()))
}

/// Runs an action.
///
/// # Errors
/// Where the agent does not answer: what fails otherwise is told to the operator.
pub fn run(name: &str, event: Event) -> Result<(), ReconcileError> {
    match act(name, event) {
        Ok(results) => Ok(tools::action_set(&results)?),
        Err((results, Failure::Reconcile(error))) => {
            tools::action_set(&results)?;
            Err(error)
        }
        Err((results, failure)) => {
            tools::action_set(&results)?;
            Ok(tools::action_fail(&failure.to_string())?)
        }
    }
}

/// The results, also beside a failure.
fn act(name: &str, event: Event) -> Result<Results, (Results, Failure)> {
    let none = |failure: Failure| (Results::new(), failure);
    if !Path::new(AAR).exists() {
        return Err(none(Failure::Told(
            "the registry is not installed on this unit yet: see its status".into(),
        )));
    }
    let results = match name {
        "register-client" => clients::register(),
        "list-clients" => clients::list(),
        "remove-client" => clients::remove(),
        "revoke-client" => clients::revoke(),
        "show-certificate" => show_certificate(),
        "check-storage" => return checked(maintenance::check_storage()),
        "rebuild-index" => maintenance::rebuild_index(),
        "collect-garbage" => maintenance::collect_garbage(),
        "backup" => backup::backup(),
        "restore" => backup::restore(event),
        other => fail(format!("this charm has no action {other}")),
    };
    results.and_then(|results| check_length(&results).map(|()| results)).map_err(none)
}

fn checked(outcome: Result<(Results, Option<String>), Failure>) -> Result<Results, (Results, Failure)> {
    match outcome {
        Ok((results, None)) => Ok(results),
        Ok((results, Some(problem))) => Err((results, Failure::Told(problem))),
        Err(failure) => Err((Results::new(), failure)),
    }
}

fn check_length(results: &Results) -> Result<(), Failure> {
    match results.iter().find(|(_, value)| value.len() > LONGEST_RESULT) {
        None => Ok(()),
        Some((key, _)) => fail(format!("{key} is too long for an action: run `aar` on the unit's machine")),
    }
}

fn show_certificate() -> Result<Results, Failure> {
    match daemon::certificate()? {
        Some(certificate) => Ok(described(&certificate)),
        None => fail(
            "the registry has no certificate yet: it makes one when it first serves, see the unit's status",
        ),
    }
}

pub(super) fn described(certificate: &Certificate) -> Results {
    vec![result("certificate", certificate.to_pem()), result("fingerprint", certificate.fingerprint)]
}

#[allow(clippy::needless_pass_by_value)] // numbers are written where they are made
pub(super) fn result(key: &str, value: impl ToString) -> (String, String) {
    (key.to_owned(), value.to_string())
}

/// What a program said, without its name before.
fn told(error: &CommandError) -> String {
    match error {
        CommandError::Failed { said, .. } => said.trim_start_matches("aar: ").to_owned(),
        other => chain(other),
    }
}
