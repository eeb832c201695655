//! Who is trusted.

use aar_model::{Fingerprint, FingerprintPrefix, Role};
use serde::Deserialize;

use super::run::{Failure, Results, fail, result};
use crate::daemon::{self, Trusted};
use crate::relation::{Certificate, SOURCE};
use crate::tools;

/// The source of what operators bring.
const OPERATOR: &str = "operator";

#[derive(Deserialize)]
struct Register {
    certificate: String,
    role: Option<Role>,
    name: Option<String>,
}

pub(super) fn register() -> Result<Results, Failure> {
    let Register { certificate, role, name } = tools::action_get()?;
    // A shell may have left the two characters of a line end.
    let all = Certificate::read_all(&certificate.replace("\\n", "\n"));
    let Some(certificate) = all.and_then(|all| all.into_iter().next()) else {
        return fail("this is no certificate in PEM: give it as certificate=\"$(cat client.crt)\"");
    };
    let mut arguments = vec!["trust", "add", "--quiet", "--source", OPERATOR];
    if role == Some(Role::Publisher) {
        arguments.push("--publisher");
    }
    if let Some(name) = &name {
        arguments.extend(["--name", name]);
    }
    daemon::aar(&arguments, Some(certificate.to_pem().as_bytes()))?;
    let trusted = daemon::certificates(false)?.answer()?;
    let known = trusted.iter().find(|known| known.fingerprint == certificate.fingerprint);
    Ok(known.map(described).unwrap_or_default())
}

#[derive(Deserialize)]
struct List {
    revoked: Option<bool>,
    format: Option<String>,
}

pub(super) fn list() -> Result<Results, Failure> {
    let List { revoked, format } = tools::action_get()?;
    let format = format.as_deref().unwrap_or("json");
    let mut arguments = vec!["trust", "list", "--format", format];
    if revoked.unwrap_or(false) {
        arguments.push("--revoked");
    }
    let clients = daemon::aar(&arguments, None)?.stdout();
    let count = daemon::certificates(revoked.unwrap_or(false))?.answer()?.len();
    Ok(vec![result("count", count), result("clients", clients.trim_end())])
}

#[derive(Deserialize)]
struct One {
    fingerprint: String,
}

pub(super) fn remove() -> Result<Results, Failure> {
    let known = find(&daemon::certificates(false)?.answer()?)?;
    let fingerprint = known.fingerprint.to_string();
    let relations: Vec<_> = known.sources.iter().filter_map(|source| source.strip_prefix(SOURCE)).collect();
    if relations.is_empty() {
        daemon::aar(&["trust", "remove", &fingerprint], None)?;
        return Ok(described(&known));
    }
    if known.sources.iter().any(|source| source == OPERATOR) {
        daemon::aar(&["trust", "remove", "--source", OPERATOR, &fingerprint], None)?;
    }
    fail(format!(
        "a relation brings this certificate, so that it stays trusted: juju remove-relation {}, or use revoke-client",
        relations.join(" and ")
    ))
}

pub(super) fn revoke() -> Result<Results, Failure> {
    let mut all = daemon::certificates(false)?.answer()?;
    all.extend(daemon::certificates(true)?.answer()?);
    let known = find(&all)?;
    daemon::aar(&["trust", "revoke", "--yes", &known.fingerprint.to_string()], None)?;
    Ok(described(&known))
}

/// The one certificate that the action names.
fn find(all: &[Trusted]) -> Result<Trusted, Failure> {
    let One { fingerprint } = tools::action_get()?;
    let Ok(prefix) = fingerprint.replace(':', "").parse::<FingerprintPrefix>() else {
        return fail("a fingerprint is given by its first 8 to 64 hex digits, as list-clients shows it");
    };
    let matches = |fingerprint: &Fingerprint| prefix.matches(fingerprint);
    let mut matching = all.iter().filter(|known| matches(&known.fingerprint));
    match (matching.next(), matching.count()) {
        (Some(known), 0) => Ok(known.clone()),
        (None, _) => {
            fail(format!("no certificate has a fingerprint that begins with {prefix}: see list-clients"))
        }
        (Some(_), more) => fail(format!(
            "{} certificates have a fingerprint that begins with {prefix}: give more digits",
            more + 1
        )),
    }
}

fn described(known: &Trusted) -> Results {
    vec![
        result("fingerprint", known.fingerprint),
        result("role", known.role),
        result("name", &known.name),
        result("sources", known.sources.join(", ")),
    ]
}
