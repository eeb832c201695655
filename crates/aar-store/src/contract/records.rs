use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{AWKWARD_NAMES, app, version};
use crate::{ETag, RecordKey, Records};

/// The promises of [`Records`].
pub async fn records<K, R: Records>(make: impl AsyncFn() -> (K, R)) {
    let (_kept, store) = make().await;
    an_empty_store_answers_nothing(&store).await;
    let (_kept, store) = make().await;
    records_under_awkward_names_are_kept_apart(&store).await;
    let (_kept, store) = make().await;
    every_rewrite_changes_the_tag(&store).await;
    let (_kept, store) = make().await;
    documents_of_any_size_come_back(&store).await;
    let (_kept, store) = make().await;
    concurrent_writers_of_one_record_leave_one_whole_document(&store).await;
    let (_kept, store) = make().await;
    concurrent_writers_and_deleters_of_one_application_do_not_disturb_each_other(&store).await;
}

async fn an_empty_store_answers_nothing(store: &impl Records) {
    assert_eq!(store.get(&app("a")).await.unwrap(), None);
    assert_eq!(store.list().await.unwrap(), []);
    store.delete(&app("a")).await.unwrap();
    store.delete(&version("a", 1)).await.unwrap();
}

async fn records_under_awkward_names_are_kept_apart(store: &impl Records) {
    let keys: Vec<RecordKey> = AWKWARD_NAMES
        .iter()
        .flat_map(|name| [app(name), version(name, 0), version(name, 10), version(name, i64::from(i32::MAX))])
        .collect();
    let mut expected = HashMap::new();
    for key in &keys {
        let tag = store.put(key, key.path().into()).await.unwrap();
        expected.insert(key.clone(), tag);
    }

    assert_holds(store, &expected).await;

    for key in keys.iter().step_by(3) {
        store.delete(key).await.unwrap();
        store.delete(key).await.unwrap();
        expected.remove(key);
        assert_eq!(store.get(key).await.unwrap(), None);
    }
    assert_holds(store, &expected).await;

    for key in &keys {
        store.delete(key).await.unwrap();
    }
    assert_eq!(store.list().await.unwrap(), []);

    let tag = store.put(&keys[0], keys[0].path().into()).await.unwrap();
    assert_holds(store, &HashMap::from([(keys[0].clone(), tag)])).await;
}

/// The store lists exactly the keys and tags of `expected`, and each holds its own path as document.
async fn assert_holds(store: &impl Records, expected: &HashMap<RecordKey, ETag>) {
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), expected.len());
    assert_eq!(&listed.into_iter().collect::<HashMap<_, _>>(), expected);
    for (key, tag) in expected {
        assert_eq!(store.get(key).await.unwrap(), Some((key.path().into(), tag.clone())));
    }
}

/// Also where length and moment are the same, and whatever the store reuses of older writes.
async fn every_rewrite_changes_the_tag(store: &impl Records) {
    for key in [app("a"), version("a", 1)] {
        let mut tags = HashSet::new();
        for n in 100..200 {
            let document = Bytes::from(n.to_string());
            let tag = store.put(&key, document.clone()).await.unwrap();
            assert_eq!(store.get(&key).await.unwrap(), Some((document, tag.clone())));
            assert!(tags.insert(tag), "a tag comes back after a rewrite");
        }
        store.delete(&key).await.unwrap();
        // Another document: a store may make the tag of the content alone.
        let tag = store.put(&key, Bytes::from_static(b"200")).await.unwrap();
        assert!(tags.insert(tag), "a tag comes back after a delete");
    }
}

async fn documents_of_any_size_come_back(store: &impl Records) {
    let mut expected = BTreeMap::new();
    for (number, size) in [0, 1, 4096, 65_537, 1_000_003].into_iter().enumerate() {
        let document = Bytes::from(vec![b'0' + u8::try_from(number).unwrap(); size]);
        let key = version("a", number.try_into().unwrap());
        store.put(&key, document.clone()).await.unwrap();
        expected.insert(key, document);
    }
    for (key, document) in expected {
        assert!(store.get(&key).await.unwrap().unwrap().0 == document);
    }
}

async fn concurrent_writers_of_one_record_leave_one_whole_document(store: &impl Records) {
    let key = app("a");
    let documents: Vec<Bytes> = (0..16).map(|n| Bytes::from(vec![b'a' + n; 10_000])).collect();

    let written = join_all(documents.iter().map(|document| store.put(&key, document.clone()))).await;

    let tags: HashMap<ETag, &Bytes> = written.into_iter().map(Result::unwrap).zip(&documents).collect();
    assert_eq!(tags.len(), documents.len());
    let (document, tag) = store.get(&key).await.unwrap().unwrap();
    assert_eq!(Some(&&document), tags.get(&tag));
    assert_eq!(store.list().await.unwrap(), [(key, tag)]);
}

async fn concurrent_writers_and_deleters_of_one_application_do_not_disturb_each_other(store: &impl Records) {
    join_all((0..32).map(async |number| {
        let key = version("a", number);
        for _ in 0..5 {
            store.put(&key, key.path().into()).await.unwrap();
            store.delete(&key).await.unwrap();
        }
        if number % 2 == 0 {
            store.put(&key, key.path().into()).await.unwrap();
        }
    }))
    .await;

    let mut listed: Vec<_> = store.list().await.unwrap().into_iter().map(|(key, _)| key).collect();
    listed.sort();
    assert_eq!(listed, (0..32).step_by(2).map(|number| version("a", number)).collect::<Vec<_>>());
}
