use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use super::{AWKWARD_NAMES, app, name, version};
use crate::{Change, ETag, Index, RecordKey, Scope};

type Model = BTreeMap<RecordKey, (ETag, Bytes)>;

/// The promises of [`Index`].
pub async fn index<K, I: Index>(make: impl AsyncFn() -> (K, I)) {
    let (_kept, store) = make().await;
    records_are_visited_in_the_order_of_their_keys(&store);
    let (_kept, store) = make().await;
    an_application_is_not_confused_with_one_whose_name_goes_on(&store);
    let (_kept, store) = make().await;
    the_last_change_of_a_record_counts(&store);
    let (_kept, store) = make().await;
    readers_see_all_changes_or_none(&store);
    let (_kept, store) = make().await;
    any_changes_leave_what_a_map_would_hold(&store);
}

fn records_are_visited_in_the_order_of_their_keys(store: &impl Index) {
    assert_eq!(scan(store, Scope::All), []);
    let mut model = Model::new();
    for text in AWKWARD_NAMES {
        for key in [version(text, 300), version(text, 2), app(text), version(text, i64::from(i32::MAX))] {
            let (tag, document) = (ETag(key.path().into()), Bytes::from(key.path()));
            model.insert(key.clone(), (tag.clone(), document.clone()));
            store.apply(vec![Change::Put(key, tag, document)]).unwrap();
        }
    }
    assert_holds(store, &model);
}

fn an_application_is_not_confused_with_one_whose_name_goes_on(store: &impl Index) {
    store
        .apply(vec![put(version("ab", 1), "x"), put(version("a-b", 1), "x"), put(version("a", 1), "x")])
        .unwrap();

    let visited = scan(store, Scope::Application(&name("a")));
    assert_eq!(visited.into_iter().map(|(key, ..)| key).collect::<Vec<_>>(), [version("a", 1)]);
    assert_eq!(scan(store, Scope::Application(&name("b"))), []);
    assert_eq!(scan(store, Scope::Record(&app("a"))), []);
    assert_eq!(scan(store, Scope::Record(&version("a", 10))), []);
}

fn the_last_change_of_a_record_counts(store: &impl Index) {
    let (a, b) = (app("a"), app("b"));
    store.apply(Vec::new()).unwrap();
    store.apply(vec![put(a.clone(), "1"), put(b.clone(), "1")]).unwrap();
    store
        .apply(vec![put(a.clone(), "2"), Change::Remove(a.clone()), Change::Remove(version("a", 1))])
        .unwrap();
    store.apply(vec![Change::Remove(b.clone()), put(b.clone(), "3"), put(b.clone(), "4")]).unwrap();
    assert_eq!(scan(store, Scope::All), [(b, ETag("4".into()), Bytes::from("4"))]);
}

/// Two records that always change together are seen changed together.
fn readers_see_all_changes_or_none(store: &impl Index) {
    let writing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while writing.load(Ordering::Relaxed) {
                let seen = scan(store, Scope::All);
                let mut documents: Vec<_> = seen.into_iter().map(|(_, _, document)| document).collect();
                documents.dedup();
                assert!(documents.len() <= 1, "a reader sees half of a change");
            }
        });
        for round in 0..200 {
            let round = round.to_string();
            store
                .apply(vec![put(app("z"), &round), put(app("a"), &round), put(version("m", 1), &round)])
                .unwrap();
        }
        writing.store(false, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

fn any_changes_leave_what_a_map_would_hold(store: &impl Index) {
    let keys = (0..4usize, 0..6i64).prop_map(|(text, number)| {
        let text = ["a", "a-b", "ab", "a.json"][text];
        if number == 0 { app(text) } else { version(text, number * 120) }
    });
    let change = prop_oneof![
        3 => (keys.clone(), any::<u16>(), 0..3000usize).prop_map(|(key, tag, length)| {
            let byte = tag.to_le_bytes()[0];
            Change::Put(key, ETag(tag.to_string().into()), Bytes::from(vec![byte; length]))
        }),
        1 => keys.prop_map(Change::Remove),
    ];
    let batches = proptest::collection::vec(proptest::collection::vec(change, 0..8), 1..20);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&batches, |batches| {
        let left = scan(store, Scope::All).into_iter().map(|(key, ..)| Change::Remove(key));
        store.apply(left.collect()).unwrap();
        let mut model = Model::new();
        for changes in batches {
            for change in &changes {
                match change.clone() {
                    Change::Put(key, tag, document) => model.insert(key, (tag, document)),
                    Change::Remove(key) => model.remove(&key),
                };
            }
            store.apply(changes).unwrap();
            assert_holds(store, &model);
        }
        Ok(())
    });
    if let Err(broken) = outcome {
        panic!("{broken}");
    }
}

fn assert_holds(store: &impl Index, model: &Model) {
    let expected = |wanted: &dyn Fn(&RecordKey) -> bool| -> Vec<_> {
        let wanted = model.iter().filter(|(key, _)| wanted(key));
        wanted.map(|(key, (tag, document))| (key.clone(), tag.clone(), document.clone())).collect()
    };
    assert_eq!(scan(store, Scope::All), expected(&|_| true));
    for text in ["a", "a-b", "ab", "a.json", "0"] {
        let name = name(text);
        assert_eq!(scan(store, Scope::Application(&name)), expected(&|key| *key.app() == name));
    }
    for key in model.keys() {
        assert_eq!(scan(store, Scope::Record(key)), expected(&|other| other == key));
    }
}

fn put(key: RecordKey, text: &str) -> Change {
    Change::Put(key, ETag(text.into()), Bytes::from(text.to_owned()))
}

fn scan(store: &impl Index, scope: Scope<'_>) -> Vec<(RecordKey, ETag, Bytes)> {
    let mut visited = Vec::new();
    store
        .scan(scope, &mut |key, tag, document| visited.push((key, tag, Bytes::copy_from_slice(document))))
        .unwrap();
    visited
}
