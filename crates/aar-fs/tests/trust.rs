//! What the trust store promises beyond its contract: what it keeps over a restart, and what it makes of a directory that
//! a crash or a hand has changed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use aar_fs::FsTrust;
use aar_model::{Fingerprint, Role};
use aar_store::{Error, NewCertificate, Standing, Trust, TrustError};
use tempfile::TempDir;

const PUBLISHER: Standing = Standing::Trusted(Role::Publisher);
const CLIENT: Standing = Standing::Trusted(Role::Client);

#[tokio::test]
async fn everything_known_of_a_certificate_survives_a_restart() {
    let (dir, trust) = store().await;
    for (der, role) in [("one", Role::Client), ("two", Role::Publisher), ("three", Role::Publisher)] {
        add(&trust, der, role).await;
        trust.note_seen(&fingerprint(der));
    }
    trust.save_seen().await.unwrap();
    trust.revoke(&fingerprint("two").into()).await.unwrap();
    add(&trust, "three", Role::Client).await;
    let (trusted, revoked) = (trust.list(false), trust.list(true));
    assert_eq!((trusted.len(), revoked.len()), (2, 1));
    assert!(trusted.iter().chain(&revoked).all(|known| known.last_seen_at.is_some()));
    drop(trust);

    let trust = FsTrust::open(dir.path()).await.unwrap();

    assert_eq!(trust.list(false), trusted);
    assert_eq!(trust.list(true), revoked);
    assert_eq!(trust.standing(&fingerprint("two")), Standing::Revoked);
    assert!(matches!(trust.add(new("two", Role::Client)).await, Err(TrustError::Revoked(_))));
}

#[tokio::test]
async fn certificates_lie_in_pem_under_their_fingerprint_for_their_owner_alone() {
    let (dir, trust) = store().await;
    add(&trust, "one", Role::Client).await;
    add(&trust, "two", Role::Publisher).await;
    trust.revoke(&fingerprint("two").into()).await.unwrap();

    let pem = fs::read_to_string(path(&dir, "clients", "one", "crt")).unwrap();
    assert_eq!(pem, "-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----\n");
    let names = |folder: &str| fs::read_dir(dir.path().join(folder)).unwrap().count();
    assert_eq!((names("clients"), names("publishers"), names("revoked")), (2, 0, 2));
    for folder in ["clients", "publishers", "revoked"] {
        let folder = dir.path().join(folder);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
        for file in fs::read_dir(folder).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o7777, 0o600);
        }
    }
    trust.remove(&fingerprint("one").into()).await.unwrap();
    assert_eq!(names("clients"), 0);
}

#[tokio::test]
async fn a_crash_before_the_rename_changes_nothing_and_is_mended() {
    let (dir, trust) = store().await;
    add(&trust, "one", Role::Client).await;
    let before = trust.list(false);
    drop(trust);
    // Adding `two`, promoting and revoking `one`, and a write of each kind, all cut off.
    let details = fs::read(path(&dir, "clients", "one", "json")).unwrap();
    for (folder, der) in [("publishers", "two"), ("publishers", "one"), ("revoked", "one")] {
        fs::write(path(&dir, folder, der, "json"), &details).unwrap();
    }
    fs::write(dir.path().join("clients/.writing-abc"), "-----BEGIN CERT").unwrap();

    let trust = FsTrust::open(dir.path()).await.unwrap();

    assert_eq!(trust.list(false), before);
    assert_eq!(trust.list(true), []);
    assert_eq!(trust.standing(&fingerprint("two")), Standing::Unknown);
    assert_eq!(
        files(dir.path()),
        [path(&dir, "clients", "one", "crt"), path(&dir, "clients", "one", "json")]
    );
}

#[tokio::test]
async fn a_crash_after_the_rename_has_done_it_and_is_mended() {
    let (dir, trust) = store().await;
    add(&trust, "one", Role::Publisher).await;
    drop(trust);
    for extension in ["json", "crt"] {
        let (old, new) =
            (path(&dir, "publishers", "one", extension), path(&dir, "revoked", "one", extension));
        fs::copy(&old, new).unwrap();
        if extension == "crt" {
            fs::remove_file(old).unwrap();
        }
    }

    let trust = FsTrust::open(dir.path()).await.unwrap();

    assert_eq!(trust.standing(&fingerprint("one")), Standing::Revoked);
    let revoked = trust.list(true);
    assert_eq!((revoked[0].role, revoked[0].name.as_str()), (Role::Publisher, "one"));
    assert!(revoked[0].revoked_at.is_some());
    assert!(!path(&dir, "publishers", "one", "json").exists());
}

#[tokio::test]
async fn of_several_places_the_one_that_gives_least_wins() {
    let dir = TempDir::new().unwrap();
    drop(FsTrust::open(dir.path()).await.unwrap());
    for (folder, der) in [
        ("publishers", "one"),
        ("clients", "one"),
        ("revoked", "one"),
        ("publishers", "two"),
        ("clients", "two"),
        ("publishers", "three"),
    ] {
        place(&dir, folder, der);
    }

    let trust = FsTrust::open(dir.path()).await.unwrap();

    assert_eq!(trust.standing(&fingerprint("one")), Standing::Revoked);
    assert_eq!(trust.standing(&fingerprint("two")), CLIENT);
    assert_eq!(trust.standing(&fingerprint("three")), PUBLISHER);
    let mut expected = vec![
        path(&dir, "revoked", "one", "crt"),
        path(&dir, "clients", "two", "crt"),
        path(&dir, "publishers", "three", "crt"),
    ];
    expected.sort();
    assert_eq!(files(dir.path()), expected);
}

#[tokio::test]
async fn what_each_source_gives_survives_a_restart_and_a_hand_that_moves_it_speaks_for_all() {
    let (dir, trust) = store().await;
    let one = fingerprint("one");
    let all = [("operator", Role::Client), ("relation:1", Role::Publisher)];
    for (source, role) in all {
        trust.add(NewCertificate { source: source.into(), ..new("one", role) }).await.unwrap();
    }
    let trust = FsTrust::open(dir.path()).await.unwrap();
    assert_eq!(trust.standing(&one), PUBLISHER);
    trust.withdraw(&one.into(), "relation:1").await.unwrap();
    let trust = FsTrust::open(dir.path()).await.unwrap();
    assert_eq!(trust.standing(&one), CLIENT);

    for extension in ["crt", "json"] {
        let (from, to) =
            (path(&dir, "clients", "one", extension), path(&dir, "publishers", "one", extension));
        fs::rename(from, to).unwrap();
    }
    let trust = FsTrust::open(dir.path()).await.unwrap();
    assert_eq!(trust.get(&one.into()).unwrap().sources, ["operator"]);
    trust.add(NewCertificate { source: "relation:2".into(), ..new("one", Role::Client) }).await.unwrap();
    assert_eq!(trust.standing(&one), PUBLISHER);
}

#[tokio::test]
async fn lost_or_damaged_details_take_no_trust_away() {
    let (dir, trust) = store().await;
    add(&trust, "one", Role::Client).await;
    add(&trust, "two", Role::Publisher).await;
    add(&trust, "three", Role::Publisher).await;
    trust.revoke(&fingerprint("three").into()).await.unwrap();
    fs::remove_file(path(&dir, "clients", "one", "json")).unwrap();
    fs::write(path(&dir, "publishers", "two", "json"), "{\"name\": [").unwrap();
    fs::write(path(&dir, "revoked", "three", "json"), [0xff; 100]).unwrap();

    let trust = FsTrust::open(dir.path()).await.unwrap();

    assert_eq!(trust.standing(&fingerprint("one")), CLIENT);
    assert_eq!(trust.standing(&fingerprint("two")), PUBLISHER);
    assert_eq!(trust.standing(&fingerprint("three")), Standing::Revoked);
    let known = trust.get(&fingerprint("one").into()).unwrap();
    assert_eq!((known.name.as_str(), known.sources.len()), ("", 0));
    assert!(known.added_at > 0);
    assert!(trust.list(true)[0].revoked_at.is_some());
    let (again, _) = trust.add(new("one", Role::Client)).await.unwrap();
    assert_eq!(again.sources, ["operator"]);
}

#[tokio::test]
async fn what_is_no_certificate_under_its_own_name_is_passed_over_and_left_alone() {
    let dir = TempDir::new().unwrap();
    drop(FsTrust::open(dir.path()).await.unwrap());
    let clients = dir.path().join("clients");
    let outside = dir.path().join("outside.crt");
    fs::write(&outside, pem("linked")).unwrap();
    fs::write(path(&dir, "clients", "empty", "crt"), "").unwrap();
    fs::write(path(&dir, "clients", "garbage", "crt"), [0xfe; 2000]).unwrap();
    fs::write(path(&dir, "clients", "other", "crt"), pem("one")).unwrap();
    fs::write(path(&dir, "clients", "key", "crt"), pem("key").replace("CERTIFICATE", "PRIVATE KEY")).unwrap();
    fs::write(clients.join("ca.crt"), pem("one")).unwrap();
    fs::write(clients.join(fingerprint("one").to_string().to_uppercase() + ".crt"), pem("one")).unwrap();
    fs::write(clients.join(format!("{}.crt~", fingerprint("one"))), pem("one")).unwrap();
    fs::write(clients.join("README"), "x").unwrap();
    symlink(&outside, path(&dir, "clients", "linked", "crt")).unwrap();
    fs::create_dir(path(&dir, "clients", "folder", "crt")).unwrap();
    place(&dir, "clients", "good");
    let before = files(dir.path());

    let trust = FsTrust::open(dir.path()).await.unwrap();

    assert_eq!(trust.list(false).len(), 1);
    assert_eq!(trust.standing(&fingerprint("good")), CLIENT);
    for der in ["empty", "garbage", "other", "key", "one", "linked", "folder"] {
        assert_eq!(trust.standing(&fingerprint(der)), Standing::Unknown, "{der}");
    }
    assert_eq!(files(dir.path()), before);
}

#[tokio::test]
async fn a_revoked_certificate_whose_file_is_damaged_stays_revoked() {
    let (dir, trust) = store().await;
    add(&trust, "one", Role::Client).await;
    trust.revoke(&fingerprint("one").into()).await.unwrap();
    fs::write(path(&dir, "revoked", "one", "crt"), "").unwrap();

    let trust = FsTrust::open(dir.path()).await.unwrap();

    assert_eq!(trust.standing(&fingerprint("one")), Standing::Revoked);
    assert!(matches!(trust.add(new("one", Role::Client)).await, Err(TrustError::Revoked(_))));
}

#[tokio::test]
async fn reloading_follows_the_directory_and_keeps_what_was_seen() {
    let (dir, trust) = store().await;
    add(&trust, "one", Role::Client).await;
    add(&trust, "two", Role::Client).await;
    trust.note_seen(&fingerprint("one"));
    place(&dir, "publishers", "three");
    fs::remove_file(path(&dir, "clients", "two", "crt")).unwrap();

    trust.reload().await.unwrap();

    assert_eq!(trust.standing(&fingerprint("three")), PUBLISHER);
    assert_eq!(trust.standing(&fingerprint("two")), Standing::Unknown);
    let seen = trust.get(&fingerprint("one").into()).unwrap().last_seen_at;
    assert!(seen.is_some());
    trust.save_seen().await.unwrap();
    let reopened = FsTrust::open(dir.path()).await.unwrap();
    assert_eq!(reopened.get(&fingerprint("one").into()).unwrap().last_seen_at, seen);
}

#[tokio::test]
async fn saving_what_was_seen_rewrites_only_what_changed() {
    let (dir, trust) = store().await;
    add(&trust, "one", Role::Client).await;
    add(&trust, "two", Role::Client).await;
    trust.note_seen(&fingerprint("one"));
    let inodes = || ["one", "two"].map(|der| fs::metadata(path(&dir, "clients", der, "json")).unwrap().ino());
    let before = inodes();

    trust.save_seen().await.unwrap();
    let saved = inodes();
    assert!(saved[0] != before[0] && saved[1] == before[1]);
    trust.save_seen().await.unwrap();
    assert_eq!(inodes(), saved);
}

#[tokio::test]
async fn a_change_that_fails_half_way_leaves_memory_as_the_disk_is() {
    let (dir, trust) = store().await;
    add(&trust, "one", Role::Publisher).await;
    // Revoking cannot put the certificate in its place.
    fs::create_dir(path(&dir, "revoked", "one", "crt")).unwrap();
    fs::write(path(&dir, "revoked", "one", "crt").join("x"), "").unwrap();

    let failed = trust.revoke(&fingerprint("one").into()).await;

    assert!(matches!(failed, Err(TrustError::Store(Error::Io { .. }))), "{failed:?}");
    // A name among the revoked is enough to be revoked.
    assert_eq!(trust.standing(&fingerprint("one")), Standing::Revoked);
}

#[tokio::test]
async fn what_root_writes_belongs_to_the_directorys_owner() {
    let dir = TempDir::new().unwrap();
    if fs::metadata(dir.path()).unwrap().uid() != 0 {
        println!("skipped: giving files away takes root");
        return;
    }
    chown(dir.path(), Some(4321), Some(1234)).unwrap();
    let trust = FsTrust::open(&dir.path().join("certs")).await.unwrap();
    add(&trust, "one", Role::Client).await;
    trust.note_seen(&fingerprint("one"));
    trust.save_seen().await.unwrap();
    add(&trust, "one", Role::Publisher).await;
    trust.revoke(&fingerprint("one").into()).await.unwrap();
    add(&trust, "two", Role::Client).await;

    let mut written = 0;
    for entry in fs::read_dir(dir.path().join("certs")).unwrap() {
        let folder = entry.unwrap();
        for path in
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).chain([folder.path()])
        {
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (4321, 1234), "{}", path.display());
            written += 1;
        }
    }
    assert_eq!(written, 7);
}

async fn store() -> (TempDir, FsTrust) {
    let dir = TempDir::new().unwrap();
    let trust = FsTrust::open(dir.path()).await.unwrap();
    (dir, trust)
}

fn new(der: &str, role: Role) -> NewCertificate {
    NewCertificate { der: der.into(), name: der.into(), role, source: "operator".into() }
}

async fn add(trust: &FsTrust, der: &str, role: Role) {
    trust.add(new(der, role)).await.unwrap();
}

/// Puts a certificate into the directory by hand.
fn place(dir: &TempDir, folder: &str, der: &str) {
    fs::write(path(dir, folder, der, "crt"), pem(der)).unwrap();
}

fn pem(der: &str) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

fn fingerprint(der: &str) -> Fingerprint {
    Fingerprint::of(der.as_bytes())
}

fn path(dir: &TempDir, folder: &str, der: &str, extension: &str) -> PathBuf {
    dir.path().join(folder).join(format!("{}.{extension}", fingerprint(der)))
}

/// All that is in the three folders, in order.
fn files(certs: &Path) -> Vec<PathBuf> {
    let folders =
        ["clients", "publishers", "revoked"].map(|folder| fs::read_dir(certs.join(folder)).unwrap());
    let mut files: Vec<_> = folders.into_iter().flatten().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}
