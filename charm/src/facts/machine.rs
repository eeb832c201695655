use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use aar_config::Secret;
use aar_model::{Digest, Fingerprint};

use super::all::Run;
use super::juju::Juju;
use crate::command::{CommandError, Question};
use crate::daemon::{self, Answer, Applied, Service, Settings, Summary, Trusted};
use crate::event::{Event, Kind};
use crate::files::{self, FileError, Owner};
use crate::memory::Attached;
use crate::pro;
use crate::relation::{Certificate, Told};
use crate::status::chain;
use crate::tools;
use crate::workload::{Notes, Place, Source};

/// What the machine says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // they are facts, each by itself
pub struct Machine {
    /// What was noted about the program files.
    pub notes: Notes,
    /// Whether there is a version to go back to.
    pub can_go_back: bool,
    /// The program files that could be installed; none where nobody looked, or there are none.
    pub source: Option<Source>,
    /// Why a resource cannot be used.
    pub resource_problem: Option<String>,
    /// The daemon's user.
    pub owner: Option<Owner>,
    /// Whether the daemon's directories belong to that user.
    pub base_is_owned: bool,
    /// Whether the machine is attached to Ubuntu Pro, or why that is not known.
    pub attached: Result<bool, String>,
    /// The network interfaces with their addresses.
    pub interfaces: BTreeMap<String, String>,
    /// The daemon's file.
    pub config: Option<Secret>,
    /// Whether there is a daemon's file to go back to.
    pub has_previous_config: bool,
    /// What the service was last started with.
    pub applied: Applied,
    /// What is around the service.
    pub settings: Settings,
    /// The service.
    pub service: Service,
    /// What the daemon tells of itself, or why it does not; nothing where it is not up.
    pub summary: Option<Result<Summary, String>>,
    /// The registry's own certificate.
    pub certificate: Option<Certificate>,
    /// Who is trusted, or why that is not known; nobody where the registry is not installed.
    pub trusted: Result<Vec<Trusted>, String>,
    /// The certificates that relations bring and that were revoked.
    pub revoked: Vec<Fingerprint>,
    /// Whether something is mounted where images are kept.
    pub data_is_mounted: bool,
}

/// The machine does not tell what it should.
#[derive(Debug, thiserror::Error)]
pub enum FactError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program does not answer.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// What the registry was asked, and where it stands. Its answer takes as long as all the rest.
pub struct Asked {
    notes: Notes,
    owner: Option<Owner>,
    base_is_owned: bool,
    /// Whether there is a registry to be asked.
    is_there: bool,
    answer: Result<Question<Answer>, CommandError>,
}

impl Asked {
    /// Asks what does not depend on what Juju says, which can be asked meanwhile.
    pub fn of_the_machine(event: &Event, run: &Run) -> Result<Self, FactError> {
        let place = Place::default();
        let mut notes = place.notes()?;
        // What somebody has removed is not installed. What a run that was cut off has removed in part is to be removed yet.
        let leaves = matches!(event.kind, Kind::Stop | Kind::Remove);
        notes.installed = notes.installed.filter(|version| leaves || place.is_complete(version));
        let is_installed = notes.installed.is_some() || (notes.pending.is_some() && run.installed);
        let owner = files::owner(daemon::USER);
        let base_is_owned = owner.is_some_and(is_base_owned);
        Ok(Self {
            notes,
            owner,
            base_is_owned,
            is_there: is_installed && base_is_owned,
            answer: daemon::status(),
        })
    }
}

impl Machine {
    /// Looks at the machine. What it is looked at for depends on what happened: some of it takes long.
    pub fn gather(juju: &Juju, asked: Asked, before: Option<&Self>) -> Result<Self, FactError> {
        let place = Place::default();
        let Asked { notes, owner, base_is_owned, is_there, answer } = asked;
        let (source, resource_problem) = match before {
            // The charm's files do not change while it runs.
            Some(before) => (before.source.clone(), before.resource_problem.clone()),
            None => source(&place, &notes, &juju.event)?,
        };
        let (service, summary, trusted) = match answer.and_then(Question::answer) {
            Ok(Answer { summary, trusted }) => {
                (Service::that_answers(), Some(Ok(summary)), Some(Ok(trusted)))
            }
            Err(problem) => {
                let service = Service::ask()?;
                let summary = service.is_up().then(|| Err(chain(&problem)));
                let trusted = is_there.then(|| daemon::certificates(false).and_then(Question::answer));
                (service, summary, trusted)
            }
        };
        let (trusted, revoked) = match trusted.map(|trusted| known(juju, trusted)) {
            None => (Ok(Vec::new()), Vec::new()),
            Some(Ok((trusted, revoked))) => (Ok(trusted), revoked),
            Some(Err(error)) => (Err(chain(&error)), Vec::new()),
        };
        Ok(Self {
            can_go_back: place.can_go_back(),
            notes,
            source,
            resource_problem,
            owner,
            base_is_owned,
            attached: is_attached(juju, before),
            interfaces: interfaces(),
            config: daemon::config()?,
            has_previous_config: daemon::has_previous_config(),
            applied: Applied::load()?,
            settings: Settings::load()?,
            service,
            summary,
            certificate: daemon::certificate()?,
            trusted,
            revoked,
            data_is_mounted: is_mounted(daemon::DATA),
        })
    }
}

/// The certificates that are trusted, and those that relations bring and that were revoked, which are asked for only where
/// there may be any.
fn known(
    juju: &Juju,
    trusted: Result<Vec<Trusted>, CommandError>,
) -> Result<(Vec<Trusted>, Vec<Fingerprint>), CommandError> {
    let trusted = trusted?;
    let mut revoked = Vec::new();
    if brings_others(juju, &trusted) {
        let all = daemon::certificates(true)?.answer()?;
        revoked.extend(all.into_iter().map(|certificate| certificate.fingerprint));
    }
    Ok((trusted, revoked))
}

/// The program files to install. A resource is asked for only when it can be another one than before.
fn source(
    place: &Place,
    notes: &Notes,
    event: &Event,
) -> Result<(Option<Source>, Option<String>), FactError> {
    let known = [notes.installed.as_ref(), notes.pending.as_ref()];
    let may_be_new = matches!(event.kind, Kind::Install | Kind::UpgradeCharm);
    if may_be_new || notes.installed.is_none() || notes.pending.is_some() {
        let archive = tools::resource_get("aar")?;
        let archive = archive.filter(|path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0));
        if let Some(archive) = archive {
            return Ok(match place.unpack(&archive) {
                Ok(root) => match Place::source(&root, true, &known)? {
                    Some(source) => (Some(source), None),
                    None => (None, Some("there are no files in it".to_owned())),
                },
                Err(problem) => (None, Some(problem)),
            });
        }
    } else if known[0].is_some_and(|version| version.resource) {
        return Ok((None, None));
    }
    Ok((Place::source(&event.charm_dir.join("workload"), false, &known)?, None))
}

/// Whether the machine is attached. Ubuntu Pro's client takes a second to tell: it is asked where that may be other than
/// what is remembered.
fn is_attached(juju: &Juju, before: Option<&Machine>) -> Result<bool, String> {
    let token = juju.options.ua_token.as_ref().map(|token| Digest::of(token.expose().as_bytes()));
    let as_remembered = match (juju.memory.attached, token) {
        (None, _) | (Some(Attached::Otherwise), Some(_)) => false,
        (Some(Attached::With(one)), Some(other)) => one == other,
        (Some(_), None) => true,
    };
    let often = matches!(
        juju.event.kind,
        Kind::Other(_)
            | Kind::ConfigChanged
            | Kind::Action(_)
            | Kind::Stop
            | Kind::Remove
            | Kind::DataDetaching
    );
    // What was found out in this run counts for more than what is remembered.
    let is_known = before.map_or(often, |before| before.attached == Ok(true));
    if as_remembered && is_known {
        return Ok(true);
    }
    pro::is_attached(&juju.event.proxies).map_err(|error| error.to_string())
}

/// Whether a relation brings a certificate that is not among `known`.
fn brings_others(juju: &Juju, known: &[Trusted]) -> bool {
    let told = juju.relations.iter().flat_map(|relation| &relation.units).map(|(_, told)| told);
    let brought = told.filter_map(|told| match told {
        Told::Certificates(all) => Some(all),
        _ => None,
    });
    brought.flatten().any(|one| !known.iter().any(|known| known.fingerprint == one.fingerprint))
}

/// Whether the daemon's directories are the daemon's, also what Juju has mounted in them.
fn is_base_owned(owner: Owner) -> bool {
    let is_owned = |metadata: &fs::Metadata| metadata.is_dir() && metadata.uid() == owner.uid;
    fs::metadata(daemon::BASE_DIR)
        .is_ok_and(|metadata| is_owned(&metadata) && metadata.mode() & 0o7777 == 0o700)
        && fs::metadata(daemon::DATA).map_or(true, |metadata| is_owned(&metadata))
}

/// The first address of each interface, one of IPv4 where there is one.
fn interfaces() -> BTreeMap<String, String> {
    let mut all = if_addrs::get_if_addrs().unwrap_or_default();
    all.retain(|interface| !interface.is_link_local());
    all.sort_by_key(|interface| interface.ip().is_ipv6());
    let mut found = BTreeMap::new();
    for interface in all {
        let address = interface.ip().to_string();
        found.entry(interface.name).or_insert(address);
    }
    found
}

fn is_mounted(path: &str) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(path))
}
