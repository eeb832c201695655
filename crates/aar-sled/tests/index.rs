//! What the index promises beyond the contract: it survives a stop, and damage never stops the registry.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use aar_sled::SledIndex;
use aar_store::{Change, ETag, Error, Index, RecordKey, Result, Scope, contract};
use tempfile::TempDir;

type Entries = BTreeMap<RecordKey, (ETag, Vec<u8>)>;

#[tokio::test]
async fn sled_keeps_the_contract_of_the_index() {
    contract::index(async || {
        let dir = TempDir::new().unwrap();
        let index = open(dir.path()).unwrap();
        (dir, index)
    })
    .await;
}

#[test]
fn what_was_applied_is_there_after_a_clean_stop() {
    let dir = TempDir::new().unwrap();
    let put = populate(dir.path(), 500);

    let index = open(dir.path()).unwrap();

    assert!(!index.was_damaged());
    assert_eq!(entries(&index), put);
}

#[test]
fn what_was_flushed_survives_a_crash_and_every_change_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path()).unwrap();
    for round in 0..100u32 {
        let document = vec![b'x'; 10 + round as usize * 20];
        let tag = ETag(round.to_string().into());
        let put = |key| Change::Put(key, tag.clone(), document.clone().into());
        index.apply(vec![put(version("a", 1)), put(version("a", 2)), put(version("z", 1))]).unwrap();
        if round == 50 {
            index.flush().unwrap();
        }
        if round % 10 == 0 {
            let crashed = copy(dir.path());
            let crashed = open(crashed.path()).unwrap();
            let seen: Vec<_> = entries(&crashed).into_values().map(|(tag, _)| tag).collect();
            assert!(seen.is_empty() || seen.len() == 3, "half of a change survives");
            assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "half of a change survives");
            if round >= 50 {
                let survived: u32 = seen[0].0.parse().unwrap();
                assert!(survived >= 50 && survived <= round);
            }
        }
    }
}

#[test]
fn an_index_whose_entries_are_written_in_another_way_is_begun_anew() {
    let dir = TempDir::new().unwrap();
    populate(dir.path(), 10);
    let sled = sled::open(dir.path().join("sled")).unwrap();
    let (key, value) = sled.first().unwrap().unwrap();
    sled.insert(key, &value[1..]).unwrap();
    drop(sled);

    let index = open(dir.path()).unwrap();

    assert!(index.was_damaged());
    assert_eq!(entries(&index), Entries::new());
}

#[test]
fn files_that_threads_of_a_dropped_index_still_hold_are_waited_for() {
    let dir = TempDir::new().unwrap();
    let put = populate(dir.path(), 10);
    let held = File::open(dir.path().join("sled/db")).unwrap();
    held.lock().unwrap();
    let path = dir.path().to_owned();
    let opening = thread::spawn(move || open(&path));
    thread::sleep(Duration::from_millis(200));
    drop(held);

    let index = opening.join().unwrap().unwrap();

    assert!(!index.was_damaged());
    assert_eq!(entries(&index), put);
}

#[test]
fn a_second_opener_is_refused_and_disturbs_nothing() {
    let dir = TempDir::new().unwrap();
    let put = populate(dir.path(), 10);
    let index = open(dir.path()).unwrap();

    let refused = open(dir.path()).unwrap_err();

    let Error::Io { action, source } = refused else { panic!("{refused:?}") };
    assert!(action.contains(&dir.path().display().to_string()), "{action}");
    assert_eq!(source.to_string(), "it is in use by another process");
    assert_eq!(entries(&index), put);
    drop(index);
    assert_eq!(entries(&open(dir.path()).unwrap()), put);
}

#[test]
fn a_flipped_byte_never_shows_what_was_not_put() {
    damage_every_file(&|bytes, step| {
        let position = bytes.len() * step / STEPS;
        bytes[position] ^= 1 << (step % 8);
    });
}

#[test]
fn a_truncated_file_never_shows_what_was_not_put() {
    damage_every_file(&|bytes, step| bytes.truncate(bytes.len() * step / STEPS));
}

#[test]
fn a_zeroed_stretch_never_shows_what_was_not_put() {
    damage_every_file(&|bytes, step| {
        let start = bytes.len() * step / STEPS;
        let end = bytes.len().min(start + 4096);
        bytes[start..end].fill(0);
    });
}

#[test]
fn a_file_of_garbage_never_shows_what_was_not_put() {
    damage_every_file(&|bytes, step| {
        let mut state = step as u32 + 1;
        bytes.fill_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
    });
}

#[test]
fn a_directory_in_place_of_a_file_is_damage_like_other_damage() {
    let dir = TempDir::new().unwrap();
    populate(dir.path(), 10);
    let db = dir.path().join("sled/db");
    fs::remove_file(&db).unwrap();
    fs::create_dir(&db).unwrap();

    let index = open(dir.path()).unwrap();

    assert!(index.was_damaged());
    assert_eq!(entries(&index), Entries::new());
}

const STEPS: usize = 40;

/// For each file of an index and each of `STEPS` steps: damages the file, opens the index, and checks that it shows nothing
/// that was not put into it, and can be used.
fn damage_every_file(damage: &dyn Fn(&mut Vec<u8>, usize)) {
    let original = TempDir::new().unwrap();
    populate(original.path(), 200);
    // Opened again, sled writes a snapshot, which is a file more; not always the first time.
    let files = (0..100)
        .map(|_| {
            drop(open(original.path()).unwrap());
            files(&original.path().join("sled"))
        })
        .find(|files| files.len() >= 3)
        .unwrap();
    let mut found = 0;
    for file in &files {
        for step in 0..STEPS {
            let copied = copy(original.path());
            let damaged = copied.path().join(file.strip_prefix(original.path()).unwrap());
            let mut bytes = fs::read(&damaged).unwrap();
            damage(&mut bytes, step);
            fs::write(&damaged, bytes).unwrap();

            let index = open(copied.path()).unwrap();

            found += usize::from(index.was_damaged());
            let mut shown = entries(&index);
            for (key, entry) in &shown {
                assert!(was_put(key, entry), "{} at step {step}: {key:?} {entry:?}", file.display());
            }
            let (key, tag, document) = record(9, 5000);
            index.apply(vec![Change::Put(key.clone(), tag.clone(), document.clone().into())]).unwrap();
            shown.insert(key, (tag, document));
            assert_eq!(entries(&index), shown, "{} at step {step}", file.display());
            drop(index);
            for (key, entry) in entries(&open(copied.path()).unwrap()) {
                assert!(was_put(&key, &entry), "{} at step {step}: {key:?} {entry:?}", file.display());
            }
        }
    }
    assert!(found > 0, "the damage was never noticed");
}

/// Fills an index with `count` records, all of them rewritten and some removed, and closes it.
fn populate(dir: &Path, count: i64) -> Entries {
    let index = open(dir).unwrap();
    for round in 0..3 {
        for number in 0..count {
            let (key, tag, document) = record(round, number);
            index.apply(vec![Change::Put(key, tag, document.into())]).unwrap();
        }
        index.flush().unwrap();
    }
    for number in (0..count).step_by(9) {
        index.apply(vec![Change::Remove(record(0, number).0)]).unwrap();
    }
    entries(&index)
}

/// The record that is put in `round` under `number`.
fn record(round: i64, number: i64) -> (RecordKey, ETag, Vec<u8>) {
    let tag = format!("{round} {number}");
    let document = format!("{tag} ").repeat(60).into_bytes();
    (version(&format!("app-{}", number % 7), number), ETag(tag.into()), document)
}

/// Whether the entry was put at some time: what is outdated or was removed since is no harm, its tag tells.
fn was_put(key: &RecordKey, (tag, document): &(ETag, Vec<u8>)) -> bool {
    let (round, number) = tag.0.split_once(' ').unwrap();
    record(round.parse().unwrap(), number.parse().unwrap()) == (key.clone(), tag.clone(), document.clone())
}

/// Opens an index, which answers what it holds, no more and no less.
fn open(dir: &Path) -> Result<SledIndex> {
    let (index, visited) = SledIndex::open(dir, |visited: &mut Vec<_>, key, tag, document| {
        visited.push((key, (tag.clone(), document.to_vec())));
    })?;
    assert_eq!(visited, scan(&index));
    Ok(index)
}

fn entries(index: &SledIndex) -> Entries {
    scan(index).into_iter().collect()
}

fn scan(index: &SledIndex) -> Vec<(RecordKey, (ETag, Vec<u8>))> {
    let mut entries = Vec::new();
    index.scan(Scope::All, &mut |key, tag, document| entries.push((key, (tag, document.to_vec())))).unwrap();
    entries
}

fn version(name: &str, number: i64) -> RecordKey {
    RecordKey::version(name.parse().unwrap(), number.try_into().unwrap())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn copy(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::create_dir_all(copy.path().join("sled/blobs")).unwrap();
    for file in files(dir) {
        fs::copy(&file, copy.path().join(file.strip_prefix(dir).unwrap())).unwrap();
    }
    copy
}
