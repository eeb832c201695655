//! The program files, on a file system.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aar_charm::workload::{Place, Source};
use tempfile::TempDir;

struct Setting {
    place: Place,
    dir: TempDir,
}

impl Setting {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { place: Place::new(&dir.path().join("root"), &dir.path().join("state")), dir }
    }

    /// What a charm with these files offers.
    fn source(&self, files: &[(&str, &str)]) -> Source {
        let root = self.dir.path().join("source");
        let _ = fs::remove_dir_all(&root);
        for (path, text) in files {
            write(&root.join(path), text);
        }
        Place::source(&root, false, &[]).unwrap().unwrap()
    }

    /// All files below the machine's root, with their text.
    fn files(&self) -> Vec<(String, String)> {
        let root = self.dir.path().join("root");
        let mut found = Vec::new();
        let mut left = vec![root.clone()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.exists() {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
        found.sort();
        found
    }

    fn deploy(&self, files: &[(&str, &str)]) {
        self.place.install(&self.source(files)).unwrap();
        self.place.accept().unwrap();
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    let mode = if path.to_string_lossy().contains("bin/") { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

const ONE: &[(&str, &str)] = &[("bin/aard", "one"), ("share/gone", "1"), ("share/same", "=")];
const TWO: &[(&str, &str)] = &[("bin/aard", "two"), ("share/new", "2"), ("share/same", "=")];

#[test]
fn files_are_installed_with_the_permissions_of_programs_and_of_texts() {
    let setting = Setting::new();
    setting.deploy(ONE);
    assert_eq!(setting.files(), pairs(ONE));
    let mode = |path: &str| {
        fs::metadata(setting.dir.path().join("root").join(path)).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!((mode("bin/aard"), mode("share/same")), (0o755, 0o644));
}

#[test]
fn an_upgrade_replaces_all_and_removes_what_the_new_version_does_not_have() {
    let setting = Setting::new();
    setting.deploy(ONE);
    setting.deploy(TWO);
    assert_eq!(setting.files(), pairs(TWO));
    let notes = setting.place.notes().unwrap();
    assert_eq!((notes.pending, setting.place.can_go_back()), (None, false));
}

#[test]
fn going_back_brings_all_as_it_was_and_remembers_what_did_not_work() {
    let setting = Setting::new();
    setting.deploy(ONE);
    let two = setting.source(TWO);
    setting.place.install(&two).unwrap();
    assert_eq!(setting.files(), pairs(TWO));
    setting.place.roll_back("it panics").unwrap();
    assert_eq!(setting.files(), pairs(ONE));
    let notes = setting.place.notes().unwrap();
    assert_eq!(notes.refused, Some((two.version.content, "it panics".to_owned())));
    // Going back twice, as after a kill, changes nothing.
    setting.place.roll_back("again").unwrap();
    assert_eq!(setting.place.notes().unwrap(), notes);
    assert_eq!(setting.files(), pairs(ONE));
}

#[test]
fn whatever_was_tried_since_the_way_back_leads_to_what_worked() {
    let setting = Setting::new();
    setting.deploy(ONE);
    setting.place.install(&setting.source(TWO)).unwrap();
    // Cut off before it was known whether it works; an even newer one comes.
    setting.place.install(&setting.source(&[("bin/aard", "three"), ("bin/extra", "3")])).unwrap();
    assert_eq!(setting.files(), pairs(&[("bin/aard", "three"), ("bin/extra", "3")]));
    setting.place.roll_back("no").unwrap();
    assert_eq!(setting.files(), pairs(ONE));
}

#[test]
fn an_installation_that_was_cut_off_anywhere_is_finished_by_the_next() {
    let setting = Setting::new();
    setting.deploy(ONE);
    let two = setting.source(TWO);
    setting.place.install(&two).unwrap();
    // As if the power had failed after the first file.
    let root = setting.dir.path().join("root");
    fs::remove_file(root.join("share/new")).unwrap();
    write(&root.join("share/gone"), "1");
    write(&root.join("bin/.aard.new"), "half");
    setting.place.install(&two).unwrap();
    setting.place.accept().unwrap();
    assert_eq!(setting.files(), pairs(TWO));
}

#[test]
fn a_version_is_known_by_its_content_and_read_only_where_it_looks_new() {
    let setting = Setting::new();
    let one = setting.source(ONE);
    let again = setting.source(ONE);
    assert_eq!(one.version.content, again.version.content);
    assert_ne!(one.version.look, again.version.look);
    assert_ne!(one.version.content, setting.source(TWO).version.content);
    // A file that cannot be run any more is another version.
    let aard = again.root.join("bin/aard");
    setting.source(ONE);
    fs::set_permissions(aard, fs::Permissions::from_mode(0o600)).unwrap();
    let other = Place::source(&again.root, false, &[]).unwrap().unwrap();
    assert_ne!(other.version.content, one.version.content);
    assert_eq!(Place::source(&setting.dir.path().join("nonesuch"), false, &[]).unwrap(), None);
}

#[test]
fn what_somebody_removed_is_not_complete() {
    let setting = Setting::new();
    setting.deploy(ONE);
    let installed = setting.place.notes().unwrap().installed.unwrap();
    assert!(setting.place.is_complete(&installed));
    fs::remove_file(setting.dir.path().join("root/bin/aard")).unwrap();
    assert!(!setting.place.is_complete(&installed));
}

#[test]
fn nothing_is_left_of_an_uninstalled_version() {
    let setting = Setting::new();
    setting.deploy(ONE);
    setting.place.uninstall().unwrap();
    assert_eq!(setting.files(), []);
    assert!(!setting.dir.path().join("state").exists());
}

#[test]
fn damaged_notes_are_made_anew() {
    let setting = Setting::new();
    setting.deploy(ONE);
    fs::write(setting.dir.path().join("state/workload.json"), "{\"installed\":").unwrap();
    assert_eq!(setting.place.notes().unwrap(), aar_charm::workload::Notes::default());
}

#[test]
fn a_resource_is_unpacked_or_its_fault_is_told() {
    let setting = Setting::new();
    let tree = setting.source(ONE).root;
    let archive = setting.dir.path().join("aar.tar.gz");
    let packed =
        std::process::Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&tree).arg(".").status();
    assert!(packed.unwrap().success());
    let root = setting.place.unpack(archive.to_str().unwrap()).unwrap();
    let source = Place::source(&root, true, &[]).unwrap().unwrap();
    assert_eq!(source.version.content, setting.source(ONE).version.content);
    fs::write(&archive, "no archive").unwrap();
    assert!(setting.place.unpack(archive.to_str().unwrap()).unwrap_err().contains("tar"));
}
