//! AMS as the end that is to become as a registry says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aar_client::{ImageAddress, Silent, digest_file};
use aar_model::{AppName, Digest, Version};
use aar_sync::{Catalogue, Plan, Release, Rules, Source, Step, Target, durable};
use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::ams::Ams;
use crate::error::{Error, Result};
use crate::notes::{Made, Making, Note, Notes, unix_seconds};
use crate::package::{Package, Packing};
use crate::wire::{Application, ApplicationVersion, Operation};

/// Where packages lie in the state directory.
const PACKAGES: &str = "packages";
/// How long AMS may take to make a version, before others have their turn.
const LIMIT: Duration = Duration::from_secs(3600);
/// How often a version is looked at that is being made.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is noted that a package is still on its way to AMS.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// By how many seconds the clocks may differ, with the time that AMS takes for a package once it has it.
const TOLERANCE: i64 = 30;

/// The fields of an application that AMS changes without making a new version: the registry's names for them and AMS's.
const CHANGEABLE: &[(&str, &str)] = &[
    ("addons", "addons"),
    ("inhibit_auto_updates", "inhibit_auto_updates"),
    ("instance_type", "instance-type"),
    ("node_selector", "node_selector"),
    ("resources", "resources"),
    ("tags", "tags"),
];

/// AMS as the end that is to become as a registry says. What did not come from there is never touched.
pub struct AmsTarget {
    ams: Ams,
    notes: Notes,
    /// Where packages lie between the registry and AMS.
    packages: PathBuf,
    turns: Mutex<HashMap<AppName, Arc<tokio::sync::Mutex<()>>>>,
    /// The versions that are to be made, or could not be made, since the last plan.
    pending: Mutex<HashMap<AppName, BTreeSet<Version>>>,
    _lock: Option<File>,
}

/// An image to make a version of, with the fields of its application and of its version.
struct Wanted<'a> {
    image: &'a ImageAddress,
    package: &'a aar_sync::Package,
    fingerprint: Digest,
    application: &'a Map<String, Value>,
    version: &'a Map<String, Value>,
}

#[async_trait]
impl Target for AmsTarget {
    fn rules(&self) -> Rules {
        Rules { removes: true, replaces: true }
    }

    async fn list(&self) -> aar_sync::Result<Catalogue> {
        let present = self.present().await?;
        Ok(Catalogue(present.into_iter().map(|(name, note)| (name, note.into_application())).collect()))
    }

    async fn admit(&self, plan: &Plan) -> aar_sync::Result<()> {
        let mut pending: HashMap<_, BTreeSet<_>> = HashMap::new();
        let mut wanted = BTreeMap::new();
        for step in &plan.steps {
            let Step::Transfer { image, package, .. } = step else { continue };
            pending.entry(image.name.clone()).or_default().insert(image.version);
            if let Some(fingerprint) = package.fingerprint {
                wanted.insert(fingerprint.to_string(), package.size.unwrap_or_default());
            }
        }
        *self.pending() = pending;
        self.sweep(|file| wanted.keys().any(|fingerprint| file.starts_with(fingerprint)))?;
        // They come and go one after the other, but for those under way at the same time.
        let left = |(fingerprint, size): (&String, &u64)| {
            let length = |file: String| fs::metadata(self.packages.join(file)).map_or(0, |file| file.len());
            size.saturating_sub(length(fingerprint.clone()).max(length(format!("{fingerprint}.part"))))
        };
        let needed = wanted.iter().map(left).max().unwrap_or_default();
        let path = &self.packages;
        let disk = rustix::fs::statvfs(path).map_err(|e| Error::file("examine", path)(e.into()))?;
        let free = disk.f_bavail * disk.f_frsize;
        if needed > free {
            return Err(aar_sync::Error::NoSpace { needed, free, path: path.clone() });
        }
        Ok(())
    }

    async fn carry_out(&self, step: &Step, source: &dyn Source) -> aar_sync::Result<()> {
        let _turn = self.turn(step.name()).await;
        match step {
            Step::RemoveApplication { name } => self.remove(name).await?,
            Step::RemoveVersion { name, version } => self.remove_version(name, *version).await?,
            // AMS has one image a version: that for its machines.
            Step::RemoveImage { image } => self.remove_version(&image.name, image.version).await?,
            Step::ChangeApplication { name, fields } => self.change(name, fields).await?,
            Step::ChangeVersion { name, version, fields } => {
                // On AMS, the package alone says what a version is like.
                let mut note = self.notes.get(name);
                if let Some(made) = note.versions.get_mut(version) {
                    made.fields.clone_from(fields);
                    self.notes.put(name, &note)?;
                }
            }
            Step::Transfer { image, package, application, version } => {
                let fingerprint = package.fingerprint.ok_or_else(|| {
                    Error::NoPackage("its SHA-256 is unknown, and AMS has to be told it".to_owned())
                })?;
                self.keep_order(image)?;
                self.bring(Wanted { image, package, fingerprint, application, version }, source).await?;
                if let Some(pending) = self.pending().get_mut(&image.name) {
                    pending.remove(&image.version);
                }
            }
        }
        Ok(())
    }
}

impl AmsTarget {
    /// Opens the state directory `state`, which nobody else may have open; it is made where there is none.
    pub fn open(ams: Ams, state: &Path) -> aar_sync::Result<Self> {
        let lock = durable::lock(state, state)?;
        let packages = state.join(PACKAGES);
        fs::create_dir_all(&packages).map_err(Error::file("create", &packages))?;
        Ok(Self {
            ams,
            notes: Notes::open(state)?,
            packages,
            turns: Mutex::default(),
            pending: Mutex::default(),
            _lock: Some(lock),
        })
    }

    /// Looks at a state directory, only to make plans: nothing can be carried out.
    pub fn look(ams: Ams, state: &Path) -> aar_sync::Result<Self> {
        let packages = state.join(PACKAGES);
        Ok(Self {
            ams,
            notes: Notes::read(state)?,
            packages,
            turns: Mutex::default(),
            pending: Mutex::default(),
            _lock: None,
        })
    }

    pub(crate) fn ams(&self) -> &Ams {
        &self.ams
    }

    /// What is noted and still there.
    pub(crate) async fn present(&self) -> Result<HashMap<AppName, Note>> {
        let mut notes = self.notes.all();
        if notes.is_empty() {
            return Ok(notes);
        }
        let applications = self.ams.applications().await?;
        for note in notes.values_mut() {
            note.compare(applications.iter().find(|application| Some(&application.id) == note.id.as_ref()));
        }
        notes.retain(|_, note| note.id.is_some() || note.making.is_some());
        Ok(notes)
    }

    /// Makes a version of an image, or goes on with that.
    async fn bring(&self, wanted: Wanted<'_>, source: &dyn Source) -> aar_sync::Result<()> {
        let name = &wanted.image.name;
        let (mut note, there) = self.recall(name).await?;
        let is_of_use = |making: &Making, there: Option<&Application>| {
            let has_failed = there
                .and_then(|there| there.version(making.number?))
                .is_some_and(ApplicationVersion::has_failed);
            !has_failed
                && making.fingerprint == wanted.fingerprint
                && making.version == wanted.image.version
                && making.architecture == wanted.image.architecture
        };
        if note.making.as_ref().is_some_and(|making| !is_of_use(making, there.as_ref())) {
            self.give_up(name, &mut note, false).await?;
            (note, _) = self.recall(name).await?;
        }
        let spool = self.packages.join(wanted.fingerprint.to_string());
        // An application is never made twice: if it is known, its first version may only not have a number yet.
        let is_begun = |note: &Note| {
            let making = note.making.as_ref();
            making.is_some_and(|it| it.number.is_some() || (it.above.is_none() && note.id.is_some()))
        };
        let mut operation = None;
        if !is_begun(&note) {
            let file = if is_whole(&spool, wanted.fingerprint).await {
                spool.clone() // an earlier call got it, and AMS did not take it
            } else {
                source.fetch(wanted.image, wanted.package, &spool).await?
            };
            // Meanwhile AMS may have come to show what an earlier call has made.
            let there;
            (note, there) = self.recall(name).await?;
            if !is_begun(&note) {
                operation = Some(self.make(&wanted, &file, &mut note, there.as_ref()).await?);
            }
        }
        let number = timeout(LIMIT, self.finish(name, &mut note, operation))
            .await
            .map_err(|_| Error::Unfinished { name: name.clone(), version: wanted.image.version })??;
        let made = Made {
            number,
            architecture: wanted.image.architecture,
            fingerprint: wanted.fingerprint,
            fields: wanted.version.clone(),
        };
        let replaced = note.versions.insert(wanted.image.version, made);
        note.making = None;
        self.notes.put(name, &note)?;
        let _ = fs::remove_file(spool); // else it is swept before the next transfers
        if let (Some(replaced), Some(id)) = (replaced, &note.id) {
            self.ams.delete_version(id, replaced.number).await?;
        }
        if note.fields.is_empty() {
            self.change(name, wanted.application).await?;
        }
        Ok(())
    }

    /// Has AMS begin with a version, and notes before that it does.
    async fn make(
        &self,
        wanted: &Wanted<'_>,
        file: &Path,
        note: &mut Note,
        there: Option<&Application>,
    ) -> Result<Operation> {
        let name = &wanted.image.name;
        self.prove(name, file).await?;
        // Of an application that AMS does not show yet, an earlier call may be the one that is carried out.
        let earlier = note.making.take().filter(|_| note.id.is_none()).map(|making| making.begun_at);
        note.making = Some(Making {
            version: wanted.image.version,
            architecture: wanted.image.architecture,
            fingerprint: wanted.fingerprint,
            begun_at: earlier.unwrap_or_else(|| unix_seconds(SystemTime::now())),
            above: there.and_then(|there| there.versions.iter().map(|version| version.number).max()),
            number: None,
        });
        self.notes.put(name, note)?;
        let begun = match &note.id {
            Some(id) => self.showing_life(name, self.ams.update(id, file)).await,
            None => self.showing_life(name, self.ams.create(file)).await,
        };
        let operation = match begun {
            Ok(operation) => operation,
            Err(e) => {
                if e.is_refusal() {
                    note.making = None;
                    self.keep(name, note)?;
                }
                return Err(e);
            }
        };
        if note.id.is_none() {
            let path = operation.resources.get("applications").and_then(|paths| paths.first());
            let id = path.and_then(|path| path.rsplit('/').next());
            let id =
                id.ok_or_else(|| Error::Protocol("an operation that names no application".to_owned()))?;
            // It may be the name.
            note.id = self.ams.application(id).await?.map(|application| application.id);
            self.notes.put(name, note)?;
        }
        Ok(operation)
    }

    /// Refuses what AMS could not make the application of.
    async fn prove(&self, name: &AppName, file: &Path) -> Result<()> {
        let path = file.to_owned();
        let read = spawn_blocking(move || Package::read(&path)).await;
        let package = read.unwrap_or_else(|panic| Err(Error::NoPackage(panic.to_string())))?;
        if package.name != name.as_str() {
            return Err(Error::OtherName(package.name));
        }
        let extension = "zip_archive_support";
        if package.packing == Packing::Zip && !self.ams.has_extension(extension).await? {
            return Err(Error::Extension { extension, consequence: "makes no applications of zip archives" });
        }
        Ok(())
    }

    /// Keeps the note fresh while a package is on its way: what AMS has made until then can only be of that.
    async fn showing_life<T>(&self, name: &AppName, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        loop {
            tokio::select! {
                done = &mut call => return done,
                () = sleep(SIGN_OF_LIFE) => self.notes.touch(name),
            }
        }
    }

    /// Waits until the version that is being made is ready, and publishes it. Answers AMS's number for it.
    async fn finish(&self, name: &AppName, note: &mut Note, operation: Option<Operation>) -> Result<i64> {
        let mut is_through = false;
        if let Some(operation) = operation {
            match self.ams.finish(operation).await {
                Ok(()) => is_through = true,
                Err(e) if e.is_not_found() => {} // AMS was restarted: the version tells
                Err(e @ Error::Failed(_)) => return self.failed(name, note, e).await,
                Err(e) => return Err(e),
            }
        }
        let begun = Instant::now();
        loop {
            let there = match &note.id {
                Some(id) => self.ams.application(id).await?,
                None => None,
            };
            note.compare(there.as_ref());
            let (Some(there), Some(making)) = (there, &mut note.making) else {
                self.keep(name, note)?;
                return Err(Error::Failed("the application was removed while it was being made".into()));
            };
            if making.number.is_none() {
                making.number = there.newest_above(making.above, |_| true);
                self.notes.put(name, note)?;
            }
            let number = note.making.as_ref().and_then(|making| making.number);
            let version = number.and_then(|number| there.version(number));
            match version {
                Some(version) if version.is_active() => {
                    if !version.published {
                        self.ams.publish(&there.id, version.number).await?;
                    }
                    return Ok(version.number);
                }
                Some(version) if version.has_failed() => {
                    let error = Error::Failed(version.error_message.clone());
                    return self.failed(name, note, error).await;
                }
                None if is_through && begun.elapsed() > LOOK * 3 => {
                    let error = Error::Protocol("it is through, and there is no new version".to_owned());
                    return self.failed(name, note, error).await;
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// Removes what has failed, so that it is tried again from the start.
    async fn failed(&self, name: &AppName, note: &mut Note, error: Error) -> Result<i64> {
        let _ = self.give_up(name, note, true).await; // else the next to look does it
        Err(error)
    }

    /// Removes the version that is being made. Only where AMS has surely begun with it, it is what is newest there; else
    /// AMS may have made that by itself.
    async fn give_up(&self, name: &AppName, note: &mut Note, has_begun: bool) -> Result<()> {
        let there = match &note.id {
            Some(id) => self.ams.application(id).await?,
            None => None,
        };
        note.compare(there.as_ref());
        if let (Some(there), Some(making)) = (&there, &note.making) {
            let number = making.number.or_else(|| there.newest_above(making.above, |_| has_begun));
            self.delete(there, number.as_slice(), note).await?;
        }
        note.making = None;
        self.keep(name, note)
    }

    async fn remove(&self, name: &AppName) -> Result<()> {
        match self.recall(name).await {
            Ok((_, Some(there))) => self.ams.delete(&there.id).await?,
            Ok((_, None)) | Err(Error::Foreign(_)) => {}
            Err(e) => return Err(e),
        }
        self.notes.remove(name)
    }

    async fn remove_version(&self, name: &AppName, version: Version) -> Result<()> {
        let (mut note, there) = self.recall(name).await?;
        if note.making.as_ref().is_some_and(|making| making.version == version) {
            self.give_up(name, &mut note, false).await?;
        }
        let Some(there) = there else { return self.keep(name, &note) };
        let numbers = note.numbers_of(version, &there);
        self.delete(&there, &numbers, &mut note).await?;
        note.versions.remove(&version);
        self.keep(name, &note)
    }

    /// Deletes versions, and with the last one the application: AMS has none without.
    async fn delete(&self, there: &Application, numbers: &[i64], note: &mut Note) -> Result<()> {
        if there.versions.iter().all(|version| numbers.contains(&version.number)) {
            self.ams.delete(&there.id).await?;
            note.compare(None);
            return Ok(());
        }
        for number in numbers {
            self.ams.delete_version(&there.id, *number).await?;
        }
        Ok(())
    }

    /// Follows the fields that AMS can change: those that are others than they were on the registry, so that what people
    /// set on AMS instead stays.
    async fn change(&self, name: &AppName, fields: &Map<String, Value>) -> Result<()> {
        let mut note = self.notes.get(name);
        let Some(id) = &note.id else { return Ok(()) };
        let value =
            |fields: &Map<String, Value>, field: &str| fields.get(field).filter(|it| !is_empty(it)).cloned();
        let mut changes = Map::new();
        for (field, on_ams) in CHANGEABLE {
            let (new, old) = (value(fields, field), value(&note.fields, field));
            if new != old {
                let cleared = || note.fields.get(*field).map(emptied);
                changes.insert((*on_ams).to_owned(), new.or_else(cleared).unwrap_or_default());
            }
        }
        if !changes.is_empty() {
            self.ams.change(id, &changes).await?;
        }
        note.fields = fields.clone();
        self.notes.put(name, &note)
    }

    /// What is noted of an application and still holds, and what AMS has of it.
    async fn recall(&self, name: &AppName) -> Result<(Note, Option<Application>)> {
        let mut note = self.notes.get(name);
        let touched_at = self.notes.touched_at(name);
        let mut there = match &note.id {
            Some(id) => self.ams.application(id).await?,
            None => None,
        };
        if there.is_none() {
            let mut all = self.ams.applications().await?.into_iter();
            if let Some(namesake) = all.find(|application| application.name == name.as_str()) {
                let making = note.making.as_ref().filter(|_| note.id.is_none());
                if !making.is_some_and(|making| making.explains(namesake.created_at, touched_at)) {
                    return Err(Error::Foreign(name.clone()));
                }
                note.id = Some(namesake.id.clone());
                there = Some(namesake);
            }
        }
        note.compare(there.as_ref());
        if let (Some(making), Some(there)) = (&mut note.making, &there) {
            let new = || {
                there.newest_above(making.above, |version| making.explains(version.created_at, touched_at))
            };
            making.number = making.number.or_else(new);
        }
        Ok((note, there))
    }

    /// Writes a note, or forgets it where it says nothing any more.
    fn keep(&self, name: &AppName, note: &Note) -> Result<()> {
        if note.id.is_none() && note.making.is_none() {
            return self.notes.remove(name);
        }
        self.notes.put(name, note)
    }

    /// Removes the packages that are not to be kept.
    fn sweep(&self, is_kept: impl Fn(&str) -> bool) -> Result<()> {
        let dir = &self.packages;
        for entry in fs::read_dir(dir).map_err(Error::file("read", dir))? {
            let entry = entry.map_err(Error::file("read", dir))?;
            if !entry.file_name().to_str().is_some_and(&is_kept) {
                fs::remove_file(entry.path()).map_err(Error::file("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Refuses a version that would come before an older one: that could never be made then.
    fn keep_order(&self, image: &ImageAddress) -> Result<()> {
        let older = self.pending().get(&image.name).and_then(|pending| pending.first().copied());
        match older.filter(|older| *older < image.version) {
            Some(older) => Err(Error::HeldBack { name: image.name.clone(), version: image.version, older }),
            None => Ok(()),
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<AppName, BTreeSet<Version>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step at a time for an application, in the order in which they come.
    async fn turn(&self, name: &AppName) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(name.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

impl Making {
    /// Whether what was made at `created_at` is this: made after AMS was told to, and before whoever told it was gone.
    fn explains(&self, created_at: i64, touched_at: Option<i64>) -> bool {
        let until = touched_at.unwrap_or(self.begun_at);
        (self.begun_at - TOLERANCE..=until + TOLERANCE).contains(&created_at)
    }
}

impl Note {
    /// Forgets what AMS does not have any more.
    fn compare(&mut self, there: Option<&Application>) {
        let Some(there) = there else {
            // A first version may be on its way.
            let making = self.making.take().filter(|_| self.id.is_none());
            *self = Self { making, ..Self::default() };
            return;
        };
        let versions: Vec<_> = self.versions.keys().copied().collect();
        for version in versions {
            if self.numbers_of(version, there).is_empty() {
                self.versions.remove(&version);
            }
        }
        let is_gone = |making: &Making| making.number.is_some_and(|number| there.version(number).is_none());
        if self.making.as_ref().is_some_and(is_gone) {
            self.making = None;
        }
    }

    /// AMS's numbers for one of the registry's versions: the one that was made, and those that AMS made of that by itself
    /// when its base image changed.
    fn numbers_of(&self, version: Version, there: &Application) -> Vec<i64> {
        let Some(made) = self.versions.get(&version) else { return Vec::new() };
        let others = self.versions.values().map(|made| made.number);
        let next = others.chain(self.making.as_ref().and_then(|making| making.number));
        let next = next.filter(|number| *number > made.number).min().unwrap_or(i64::MAX);
        let numbers = there.versions.iter().filter(|version| !version.is_being_deleted());
        numbers.map(|version| version.number).filter(|number| (made.number..next).contains(number)).collect()
    }

    fn into_application(self) -> aar_sync::Application {
        let made = |made: Made| {
            let package = aar_sync::Package { fingerprint: Some(made.fingerprint), ..Default::default() };
            Release { fields: made.fields, packages: [(made.architecture, package)].into() }
        };
        let mut versions: BTreeMap<_, _> =
            self.versions.into_iter().map(|(version, it)| (version, made(it))).collect();
        if let Some(making) = self.making {
            let begun = aar_sync::Package::default();
            versions.entry(making.version).or_default().packages.insert(making.architecture, begun);
        }
        aar_sync::Application { fields: self.fields, versions }
    }
}

/// Whether a package is in a file already.
async fn is_whole(file: &Path, fingerprint: Digest) -> bool {
    let file = file.to_owned();
    let read = spawn_blocking(move || digest_file(&file, &Silent)).await;
    matches!(read, Ok(Ok((_, digest, _))) if digest == fingerprint)
}

/// Whether a field with this value is as good as left out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}

/// What a field is set to that is to be as good as left out.
fn emptied(value: &Value) -> Value {
    match value {
        Value::Bool(_) => false.into(),
        Value::String(_) => "".into(),
        Value::Array(_) => Vec::<Value>::new().into(),
        Value::Object(_) => Map::new().into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_while_the_package_was_on_its_way_is_taken_for_its_version() {
        let making = Making {
            version: "1".parse().unwrap(),
            architecture: aar_model::Architecture::X86_64,
            fingerprint: Digest::of(b""),
            begun_at: 1_000_000,
            above: None,
            number: None,
        };
        let (before, after) = (1_000_000 - TOLERANCE, 1_000_300 + TOLERANCE);
        for (created_at, is_explained) in
            [(before - 1, false), (before, true), (1_000_100, true), (after, true), (after + 1, false)]
        {
            assert_eq!(making.explains(created_at, Some(1_000_300)), is_explained, "{created_at}");
        }
        assert!(!making.explains(1_000_100, None), "nobody showed life after the beginning");
    }

    #[test]
    fn what_ams_made_of_a_version_by_itself_counts_as_that_version() {
        let made = |number| Made {
            number,
            architecture: aar_model::Architecture::X86_64,
            fingerprint: Digest::of(b""),
            fields: Map::new(),
        };
        let versions = [("1".parse().unwrap(), made(0)), ("2".parse().unwrap(), made(3))];
        let mut note = Note { id: Some("id".into()), versions: versions.into(), ..Note::default() };
        let there = |numbers: &[i64]| -> Application {
            let versions: Vec<_> = numbers
                .iter()
                .map(|number| serde_json::json!({"number": number, "status_code": 3}))
                .collect();
            serde_json::from_value(serde_json::json!({"id": "id", "name": "game", "versions": versions}))
                .unwrap()
        };
        let all = there(&[0, 1, 2, 3, 4]);
        assert_eq!(note.numbers_of("1".parse().unwrap(), &all), [0, 1, 2]);
        assert_eq!(note.numbers_of("2".parse().unwrap(), &all), [3, 4]);
        note.compare(Some(&there(&[2])));
        assert_eq!(note.versions.keys().map(ToString::to_string).collect::<Vec<_>>(), ["1"]);
        note.compare(None);
        assert_eq!(note, Note::default());
    }
}
