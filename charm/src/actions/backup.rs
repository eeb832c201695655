//! Archives of a registry, and the way back.
//!
//! An archive is what `tar` makes of `certs/` (the registry's certificate and key, and who is trusted), `config.yaml`, and,
//! where images are on the machine, `data/records/` and `data/images/`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::run::{Failure, Results, described, fail, result};
use crate::command::{CommandError, Question, Ran, run};
use crate::daemon::{self, Answer, BASE_DIR, CONFIG, DATA, Kept};
use crate::event::Event;
use crate::facts::FactError;
use crate::files::{FileError, create_dirs, remove, remove_tree, sync_dir, write};
use crate::reconcile::reconcile;
use crate::tools;

/// What a restored part is before it is in its place, and what was there after that; each beside the place.
const NEW: &str = ".restored";
const BEFORE: &str = ".before-restore";
/// There while parts are swapped. Its removal is what makes a restoration count.
const SWAPPING: &str = "/var/lib/aar/.restoring";

#[derive(Deserialize)]
struct Archive {
    path: PathBuf,
}

pub(super) fn backup() -> Result<Results, Failure> {
    let Archive { path } = tools::action_get()?;
    finish_restore()?;
    if path.starts_with(BASE_DIR) {
        return fail(format!("path is in {BASE_DIR}, what is to be saved: give another place"));
    }
    if path.exists() {
        return fail(format!("{} is there already: give another path", path.display()));
    }
    if !path.parent().is_some_and(Path::is_dir) {
        return fail(format!("the directory of {} is not there: make it first", path.display()));
    }
    // Under its name only once it is whole.
    let part = PathBuf::from(format!("{}.part", path.display()));
    remove(&part)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    let file = file.map_err(FileError::new("create", &part))?;
    let done = archive(&part).and_then(|()| {
        file.sync_all().and_then(|()| fs::rename(&part, &path)).map_err(FileError::new("write", &part))?;
        sync_dir(&path).map_err(FileError::new("write", &path))?;
        Ok(())
    });
    if done.is_err() {
        remove(&part)?;
    }
    done?;
    let size = fs::metadata(&path).map_err(FileError::new("read", &path))?.len();
    Ok(vec![result("path", path.display()), result("bytes", size)])
}

/// Writes all that there is into the archive. Records come before images: what is pushed meanwhile is not in it, and what
/// is in it has its images, unless it was deleted meanwhile.
fn archive(part: &Path) -> Result<(), Failure> {
    let part = part.display().to_string();
    let mut arguments =
        ["--create", "--format=posix", "--sparse", "--file", &part].map(String::from).to_vec();
    arguments.extend(["--directory", BASE_DIR, "certs"].map(String::from));
    if Path::new(CONFIG).exists() {
        arguments.push("config.yaml".to_owned());
    }
    if let Some(root) = data_root()? {
        arguments
            .extend(["--transform", "s,^\\(records\\|images\\),data/\\1,", "--directory"].map(String::from));
        arguments.push(root.display().to_string());
        arguments.extend(["records", "images"].map(String::from));
    }
    let ran = run("tar", &arguments, &[], None)?;
    // 1 says that files have changed meanwhile, as they may.
    if ran.code() == Some(1) { Ok(()) } else { Ok(ran.ok().map(drop)?) }
}

/// Where images are, if they are on the machine.
fn data_root() -> Result<Option<PathBuf>, FileError> {
    let config = daemon::config()?;
    Ok(match daemon::read(config.as_ref().map_or("", aar_config::Secret::expose)).storage {
        Kept::Data => Some(DATA.into()),
        Kept::Directory(root) => Some(root),
        Kept::Bucket => None,
    })
}

pub(super) fn restore(event: Event) -> Result<Results, Failure> {
    let Archive { path } = tools::action_get()?;
    finish_restore()?;
    if !path.is_file() {
        return fail(format!("{} is not there on this unit's machine", path.display()));
    }
    let Some(owner) = crate::files::owner(daemon::USER) else {
        return fail("the registry is not installed on this unit yet: see its status");
    };
    let has_data = look_into(&path)?;
    let root = data_root()?;
    if has_data && root.is_none() {
        return fail(
            "the archive has images, but storage_config names a bucket: juju config aar --reset storage_config, or copy \
             them to the bucket by `aar maintenance copy-storage` before the backup",
        );
    }
    let mut places = vec![PathBuf::from(BASE_DIR).join("certs")];
    let owner = format!("{}:{}", owner.uid, owner.gid);
    unpack(&path, Path::new(BASE_DIR), &["certs"], &owner)?;
    if let (Some(root), true) = (root, has_data) {
        create_dirs(&root)?;
        unpack(&path, &root, &["--strip-components=1", "data/records", "data/images"], &owner)?;
        places.extend([root.join("records"), root.join("images")]);
    }
    // It does not come back by itself, should the machine be started again meanwhile.
    daemon::stop()?;
    write(Path::new(SWAPPING), &[][..], 0o600, None)?;
    for place in &places {
        swap(place)?;
    }
    // It is made anew from the records.
    remove_tree(&Path::new(BASE_DIR).join("index"))?;
    let status = reconcile(event.clone())?;
    let answer = daemon::status().and_then(Question::answer);
    finish_restore()?;
    let Ok(Answer { summary, .. }) = answer else {
        reconcile(event)?;
        return fail(format!(
            "the registry does not serve with what was restored, all is as before: {}",
            status.message()
        ));
    };
    let mut results = vec![result("applications", summary.applications), result("bytes", summary.bytes)];
    results.extend(daemon::certificate()?.iter().flat_map(described));
    Ok(results)
}

/// Ends a restoration, also one that was cut off: where the registry serves with what was restored, that stays, for it may
/// have answered somebody since; else all is put back.
///
/// # Errors
/// Where that fails.
pub fn finish_restore() -> Result<(), FactError> {
    let mut places = vec![PathBuf::from(BASE_DIR).join("certs")];
    if let Some(root) = data_root()? {
        places.extend([root.join("records"), root.join("images")]);
    }
    let marker = Path::new(SWAPPING);
    if marker.exists() {
        if places.iter().any(|place| restored(place).exists())
            || daemon::status().and_then(Question::answer).is_err()
        {
            put_back(&places)?;
            remove_tree(&Path::new(BASE_DIR).join("index"))?;
        }
        remove(marker)?;
        sync_dir(marker).map_err(FileError::new("remove", marker))?;
    }
    for place in &places {
        remove_tree(&beside(place, BEFORE))?;
        remove_tree(&place.with_file_name(NEW))?;
    }
    Ok(())
}

fn put_back(places: &[PathBuf]) -> Result<(), FactError> {
    daemon::stop()?;
    for place in places {
        let before = beside(place, BEFORE);
        if before.exists() {
            remove_tree(place)?;
            move_to(&before, place)?;
        }
    }
    Ok(())
}

/// Checks that it is an archive of a registry, and answers whether images are in it.
fn look_into(path: &Path) -> Result<bool, Failure> {
    let arguments = ["--list".as_ref(), "--file".as_ref(), path.as_os_str()];
    let names = match run("tar", &arguments, &[], None)?.ok() {
        Ok(ran) => ran.stdout(),
        Err(CommandError::Failed { said, .. }) => {
            return fail(format!("{} is no archive of a registry: {said}", path.display()));
        }
        Err(error) => return Err(error.into()),
    };
    if !names.lines().any(|name| name == "certs/server.key") {
        return fail(format!("{} is no archive that the action backup has made", path.display()));
    }
    Ok(names.lines().any(|name| name.starts_with("data/")))
}

fn unpack(archive: &Path, directory: &Path, members: &[&str], owner: &str) -> Result<(), Failure> {
    let target = directory.join(NEW);
    remove_tree(&target)?;
    create_dirs(&target)?;
    let target = target.display().to_string();
    let archive = archive.display().to_string();
    let mut arguments = vec!["--extract", "--file", &archive, "--directory", &target];
    arguments.extend(members);
    run("tar", &arguments, &[], None).and_then(Ran::ok)?;
    run("chown", &["--recursive", owner, &target], &[], None).and_then(Ran::ok)?;
    // `tar` leaves it to the kernel when its files reach the disk.
    run("sync", &["--file-system", &target], &[], None).and_then(Ran::ok)?;
    Ok(())
}

fn swap(place: &Path) -> Result<(), FileError> {
    let before = beside(place, BEFORE);
    if place.exists() {
        move_to(place, &before)?;
    } else {
        // So that its absence is put back, too.
        create_dirs(&before)?;
    }
    move_to(&restored(place), place)
}

fn move_to(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).and_then(|()| sync_dir(to)).map_err(FileError::new("move", from))
}

/// Where a part is unpacked.
fn restored(place: &Path) -> PathBuf {
    place.with_file_name(NEW).join(place.file_name().unwrap_or_default())
}

fn beside(place: &Path, suffix: &str) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}{suffix}"))
}
