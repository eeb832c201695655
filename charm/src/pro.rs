//! Ubuntu Pro's client.

use std::path::Path;

use aar_config::Secret;
use serde::{Deserialize, Serialize};

use crate::command::{CommandError, Ran, run};
use crate::event::Proxies;
use crate::files;
use crate::status::{chain, one_line};

/// Where the token is written for `pro` to read: in memory, and root's only. Process arguments can be seen by everybody.
const ATTACH_CONFIG: &str = "/run/aar-attach.yaml";

/// Why `pro` did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// Whether this machine is attached to Ubuntu Pro.
///
/// # Errors
/// Where that cannot be told.
pub fn is_attached(proxies: &Proxies) -> Result<bool, Refused> {
    #[derive(Deserialize)]
    struct Status {
        attached: bool,
    }
    let ran = pro(&["status", "--format", "json"], proxies)?;
    let status: Status = ran.ok().and_then(Ran::json).map_err(|error| refused(&error))?;
    Ok(status.attached)
}

/// Attaches this machine, without enabling any service.
///
/// # Errors
/// With the client's own reason.
pub fn attach(token: &Secret, proxies: &Proxies) -> Result<(), Refused> {
    #[derive(Serialize)]
    struct AttachConfig<'a> {
        token: &'a str,
        enable_services: [&'a str; 0],
    }
    let config = AttachConfig { token: token.expose(), enable_services: [] };
    let text = aar_config::to_yaml(&config).map_err(|error| Refused(error.to_string()))?;
    let path = Path::new(ATTACH_CONFIG);
    files::write(path, text.as_bytes(), 0o600, None).map_err(|error| refused(&error))?;
    let arguments = ["attach", "--attach-config", ATTACH_CONFIG, "--no-auto-enable", "--format", "json"];
    let ran = pro(&arguments, proxies);
    forget().map_err(|error| refused(&error))?;
    judge(&ran?, Some(token))
}

/// Detaches this machine.
///
/// # Errors
/// With the client's own reason.
pub fn detach(proxies: &Proxies) -> Result<(), Refused> {
    judge(&pro(&["detach", "--assume-yes", "--format", "json"], proxies)?, None)
}

/// Removes the token's file, which a killed run may have left.
///
/// # Errors
/// Where it cannot be removed.
pub fn forget() -> Result<(), files::FileError> {
    let path = Path::new(ATTACH_CONFIG);
    files::remove(&files::beside(path))?;
    files::remove(path)
}

fn pro(arguments: &[&str], proxies: &Proxies) -> Result<Ran, Refused> {
    run("pro", arguments, &proxies.variables(), None).map_err(|error| match error {
        CommandError::Run { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Refused("Ubuntu Pro's client is missing on the machine: apt install ubuntu-pro-client".into())
        }
        other => refused(&other),
    })
}

fn judge(ran: &Ran, token: Option<&Secret>) -> Result<(), Refused> {
    if ran.success() { Ok(()) } else { Err(Refused(reason(&ran.stdout(), &ran.said(), token))) }
}

/// The client's reason, out of its JSON where it wrote some. The token is not part of it, whoever repeats it.
fn reason(stdout: &str, said: &str, token: Option<&Secret>) -> String {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Message>,
    }
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let answer = serde_json::from_str(stdout).map(|answer: Answer| answer.errors).unwrap_or_default();
    let told: Vec<_> = answer.into_iter().map(|error| one_line(&error.message)).collect();
    let told = if told.is_empty() { said.to_owned() } else { told.join("; ") };
    match token {
        Some(token) => told.replace(token.expose(), "<token>"),
        None => told,
    }
}

fn refused(error: &dyn std::error::Error) -> Refused {
    Refused(chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_the_client_says_without_the_token() {
        let token = Secret::from("C1xyz".to_owned());
        let json = r#"{"errors": [{"message": "Invalid token C1xyz.\nSee https://ubuntu.com/pro", "type": "system"}], "result": "failure"}"#;
        assert_eq!(reason(json, "", Some(&token)), "Invalid token <token>. See https://ubuntu.com/pro");
        assert_eq!(reason("Traceback C1xyz", "Traceback C1xyz", Some(&token)), "Traceback <token>");
        assert_eq!(reason("{\"errors\": []}", "no network", None), "no network");
    }
}
