//! Carrying out the steps of a plan. What fails becomes a fact of this run.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use aar_config::Secret;
use aar_model::{Digest, Role};

use crate::command::{CommandError, Ran, run};
use crate::daemon::{self, Applied, ReplaceError, Settings};
use crate::facts::Facts;
use crate::files::{self, FileError};
use crate::memory::Attached;
use crate::plan::Step;
use crate::pro;
use crate::status::{Status, chain};
use crate::tools;
use crate::workload::Place;

/// What makes the daemon's user.
const SYSUSERS: &str = "/usr/local/lib/sysusers.d/aar.conf";

/// Carries out one step; answers whether it succeeded. What failed is noted in `facts`.
///
/// # Errors
/// Where one of Juju's tools fails: that is nothing to be told in a status.
pub fn carry_out(step: &Step, facts: &mut Facts) -> Result<bool, CommandError> {
    if let Some(work) = work(step) {
        tools::status_set(&Status::Maintenance(work.into()))?;
    }
    let memory = &mut facts.juju.memory;
    match step {
        Step::OpenPort(port) => {
            tools::open_port(*port)?;
            memory.port = Some(*port);
        }
        Step::ClosePort(port) => {
            tools::close_port(*port)?;
            memory.port = memory.port.filter(|open| open != port);
        }
        Step::Publish { relation, data } => {
            tools::relation_set(relation, data)?;
            memory.published.insert(relation.clone(), crate::plan::hash(data));
        }
        Step::ShowVersion(version) => {
            tools::application_version_set(version)?;
            memory.version = Some(version.clone());
        }
        Step::Remember(all) => {
            tools::state_set(&all.write())?;
            facts.juju.memory = all.clone();
            facts.juju.remembered = all.clone();
        }
        Step::Attach { token, again } => return Ok(attach(token, *again, facts)),
        Step::Start => return Ok(serve(daemon::start(), facts)),
        Step::Restart => return Ok(serve(daemon::restart(), facts)),
        Step::Reload(address) => return Ok(serve(daemon::reload(address), facts)),
        Step::Render(_) | Step::RestoreConfig(_) => return Ok(config(step, facts)),
        Step::Trust { .. } | Step::Distrust { .. } => return Ok(trust(step, facts)),
        _ => return Ok(files(step, facts)),
    }
    Ok(true)
}

/// What is done to files of the machine, and to the service.
fn files(step: &Step, facts: &mut Facts) -> bool {
    let (machine, run, place) = (&facts.machine, &mut facts.run, Place::default());
    let done = match (step, &machine.source) {
        (Step::Install, Some(source)) => {
            run.installed = true;
            return succeeded(place.install(source), |problem| run.install = Some(problem));
        }
        (Step::NoteLook, Some(source)) => place.looks_like(&source.version).map_err(Failed::from),
        (Step::Prepare, _) => prepare(),
        (Step::Accept, _) => place.accept().map_err(Failed::from),
        (Step::RollBack(reason), _) => {
            (run.service, run.started) = (None, false);
            place.roll_back(reason).map_err(Failed::from)
        }
        (Step::Uninstall, _) => {
            let done = Settings::default().store().and_then(|()| place.uninstall());
            done.map_err(Failed::from).and_then(|()| Ok(daemon::reload_units()?))
        }
        (Step::Settle(settings), _) => settings.store().map_err(Failed::from),
        (Step::Stop, _) => daemon::stop().map_err(Failed::from),
        _ => Ok(()),
    };
    succeeded(done, |problem| run.other.push(problem))
}

fn attach(token: &Secret, again: bool, facts: &mut Facts) -> bool {
    let proxies = &facts.juju.event.proxies;
    let detached = if again { pro::detach(proxies) } else { Ok(()) };
    let done = detached.and_then(|()| pro::attach(token, proxies));
    if done.is_ok() {
        facts.juju.memory.attached = Some(Attached::With(Digest::of(token.expose().as_bytes())));
    }
    succeeded(done, |problem| facts.run.attach = Some(problem))
}

fn config(step: &Step, facts: &mut Facts) -> bool {
    let (machine, run) = (&facts.machine, &mut facts.run);
    match step {
        Step::Render(text) => match daemon::replace_config(text, machine.owner) {
            Err(ReplaceError::Wrong(problem)) => {
                run.config = Some((Digest::of(text.expose().as_bytes()), problem));
                false
            }
            done => succeeded(done, |problem| run.other.push(problem)),
        },
        Step::RestoreConfig(reason) => {
            run.service = None;
            let current = machine.config.as_ref().map(|text| Digest::of(text.expose().as_bytes()));
            run.config = current.map(|hash| (hash, reason.clone()));
            let applied = Applied { refused: run.config.clone(), ..machine.applied.clone() };
            let done = applied.store().and_then(|()| daemon::restore_config(machine.owner));
            succeeded(done, |problem| run.other.push(problem))
        }
        _ => true,
    }
}

fn trust(step: &Step, facts: &mut Facts) -> bool {
    let (source, fingerprint, done) = match step {
        Step::Trust { source, role, name, certificate } => {
            let mut arguments = vec!["trust", "add", "--quiet", "--source", source, "--name", name];
            if *role == Role::Publisher {
                arguments.push("--publisher");
            }
            let done = daemon::aar(&arguments, Some(certificate.to_pem().as_bytes()));
            (source, certificate.fingerprint, done)
        }
        Step::Distrust { source, fingerprint } => {
            let done = daemon::aar(&["trust", "remove", "--source", source, &fingerprint.to_string()], None);
            (source, *fingerprint, done)
        }
        _ => return true,
    };
    succeeded(done, |problem| {
        facts.run.trust.insert((source.clone(), fingerprint), problem);
    })
}

/// Something of the machine failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// What takes so long that people want to know.
fn work(step: &Step) -> Option<&'static str> {
    match step {
        Step::Install => Some("installing the registry"),
        Step::Attach { .. } => Some("attaching the machine to Ubuntu Pro"),
        Step::Start | Step::Restart => Some("starting the registry"),
        Step::RollBack(_) => Some("going back to the version before"),
        Step::Stop => Some("stopping the registry, once what runs is done"),
        _ => None,
    }
}

fn succeeded<T, E: std::error::Error>(done: Result<T, E>, note: impl FnOnce(String)) -> bool {
    match done {
        Ok(_) => true,
        Err(error) => {
            note(chain(&error));
            false
        }
    }
}

/// Notes what the daemon runs with now, or why it does not; answers whether it does.
fn serve(done: Result<(), String>, facts: &mut Facts) -> bool {
    if let Err(reason) = done {
        facts.run.service = Some(reason);
        return false;
    }
    facts.run.started = true;
    let machine = &facts.machine;
    let config = machine.config.as_ref().map(Secret::expose).unwrap_or_default();
    let files = machine.notes.pending.as_ref().or(machine.notes.installed.as_ref());
    let applied = Applied {
        workload: files.map(|version| version.content),
        config: Some(Digest::of(config.as_bytes())),
        restarting: Some(daemon::restarting_part(config)),
        settings: Some(machine.settings.hash()),
        refused: machine.applied.refused.clone().filter(|(hash, _)| {
            // Once it works, it is not refused any more.
            *hash != Digest::of(config.as_bytes())
        }),
    };
    // In this order: once it is noted, nothing brings a run back here that was cut off.
    let noted = daemon::accept_config().and_then(|()| applied.store());
    succeeded(noted, |problem| facts.run.other.push(problem))
}

/// Makes the daemon's user and its directories.
fn prepare() -> Result<(), Failed> {
    if files::owner(daemon::USER).is_none() {
        run("systemd-sysusers", &[SYSUSERS], &[], None).and_then(Ran::ok)?;
    }
    let base = Path::new(daemon::BASE_DIR);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(base).map_err(FileError::new("create", base))?;
    let Some(owner) = files::owner(daemon::USER) else {
        return Err(FileError::new("find the user of", base)(std::io::ErrorKind::NotFound.into()).into());
    };
    // Juju may have mounted storage in it before there was a user.
    for path in [base, Path::new(daemon::DATA)].into_iter().filter(|path| path.is_dir()) {
        chown(path, Some(owner.uid), Some(owner.gid))
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
            .map_err(FileError::new("hand over", path))?;
    }
    Ok(())
}
