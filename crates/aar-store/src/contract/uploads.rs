use aar_model::Digest;
use bytes::Bytes;
use serde_json::json;

use super::blobs::{assert_absent, collect, data};
use crate::{Blobs, Error, Note, UploadId};

/// Bytes of the image that is uploaded: more than two parts of the smallest size that S3 takes.
const SIZE: usize = 11_000_000;

/// The promises of [`Uploads`](crate::Uploads) and [`Incoming`](crate::Incoming).
pub async fn uploads<K, B: Blobs>(make: impl AsyncFn() -> (K, B)) {
    let (_kept, store) = make().await;
    an_upload_goes_on_where_it_was_kept_whatever_the_pieces(&store).await;
    let (_kept, store) = make().await;
    what_is_given_up_has_never_come(&store).await;
    let (_kept, store) = make().await;
    what_counts_at_once_is_kept_on_the_way(&store).await;
    let (_kept, store) = make().await;
    wrong_bytes_become_no_image(&store).await;
    let (_kept, store) = make().await;
    an_image_may_come_by_other_ways_meanwhile(&store).await;
    let (_kept, store) = make().await;
    what_is_removed_leaves_nothing(&store).await;
    let (_kept, store) = make().await;
    what_is_retired_has_its_note_only(&store).await;
}

async fn an_upload_goes_on_where_it_was_kept_whatever_the_pieces(store: &impl Blobs) {
    let data = data(SIZE, 21);
    let image = Digest::of(&data);
    create(store, 1, image, SIZE).await;
    let mut offset = 0;
    for (turn, length) in [1, 4_095, 300_000, 0, 7_000_000, 8_192, SIZE].into_iter().enumerate() {
        let end = SIZE.min(offset + length);
        offset = append(store, 1, offset, &data[offset..end], turn % 2 == 0).await;
        assert_eq!(offset, end);
        let listed = store.uploads().list().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((&listed[0].0, listed[0].1.offset, listed[0].1.size), (&id(1), end as u64, SIZE as u64));
        assert_eq!(listed[0].1.about, json!({ "number": 1 }));
        assert_absent(store, image).await;
        assert_eq!(store.sweep_uploads().await.unwrap(), 0);
    }

    store.uploads().complete(&id(1)).await.unwrap();

    assert_eq!(store.size(&image).await.unwrap(), Some(SIZE as u64));
    assert!(collect(store.read(&image, 0..SIZE as u64).await.unwrap()).await == data);
    // As after a crash.
    store.uploads().complete(&id(1)).await.unwrap();
    assert!(collect(store.read(&image, 0..SIZE as u64).await.unwrap()).await == data);
}

async fn what_is_given_up_has_never_come(store: &impl Blobs) {
    let data = data(SIZE, 22);
    let image = Digest::of(&data);
    create(store, 2, image, SIZE).await;
    append(store, 2, 0, &data[..10_000], true).await;
    for length in [1, 500_000, SIZE - 10_000] {
        let mut incoming = store.uploads().resume(&id(2), false).await.unwrap();
        for chunk in vec![7; length].chunks(65_536) {
            incoming.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        incoming.give_up().await;
        assert_eq!(store.uploads().list().await.unwrap()[0].1.offset, 10_000);
    }

    append(store, 2, 10_000, &data[10_000..], true).await;

    store.uploads().complete(&id(2)).await.unwrap();
    assert!(collect(store.read(&image, 0..SIZE as u64).await.unwrap()).await == data);
}

async fn what_counts_at_once_is_kept_on_the_way(store: &impl Blobs) {
    let size = 6 * SIZE;
    let data = data(size, 23);
    let image = Digest::of(&data);
    create(store, 3, image, size).await;
    let mut incoming = store.uploads().resume(&id(3), true).await.unwrap();
    for chunk in data[..size - 1].chunks(65_536) {
        incoming.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    incoming.give_up().await;

    let kept = usize::try_from(store.uploads().list().await.unwrap()[0].1.offset).unwrap();

    assert!(kept >= SIZE, "{kept} bytes of {size} were kept");
    append(store, 3, kept, &data[kept..], true).await;
    store.uploads().complete(&id(3)).await.unwrap();
    assert!(collect(store.read(&image, 0..size as u64).await.unwrap()).await == data);
}

async fn wrong_bytes_become_no_image(store: &impl Blobs) {
    let data = data(SIZE, 24);
    let image = Digest::of(b"another");
    create(store, 4, image, SIZE).await;
    append(store, 4, 0, &data, true).await;

    let refused = store.uploads().complete(&id(4)).await.unwrap_err();

    assert!(
        matches!(refused, Error::Mismatch { expected, actual } if expected == image && actual == Digest::of(&data))
    );
    assert_absent(store, image).await;
}

async fn an_image_may_come_by_other_ways_meanwhile(store: &impl Blobs) {
    let data = data(SIZE, 25);
    let image = Digest::of(&data);
    create(store, 5, image, SIZE).await;
    append(store, 5, 0, &data[..6_000_000], true).await;
    let mut push = store.begin(&image, Some(SIZE as u64)).await.unwrap();
    push.write(Bytes::copy_from_slice(&data)).await.unwrap();
    push.commit().await.unwrap();

    append(store, 5, 6_000_000, &data[6_000_000..], true).await;
    store.uploads().complete(&id(5)).await.unwrap();
    store.uploads().remove(&id(5)).await.unwrap();

    assert!(collect(store.read(&image, 0..SIZE as u64).await.unwrap()).await == data);
    assert_eq!(store.list().await.unwrap().len(), 1);
}

async fn what_is_removed_leaves_nothing(store: &impl Blobs) {
    let data = data(SIZE, 26);
    let image = Digest::of(&data);
    for kept in [0, 1, 6_000_000, SIZE] {
        create(store, 6, image, SIZE).await;
        append(store, 6, 0, &data[..kept], true).await;

        store.uploads().remove(&id(6)).await.unwrap();

        assert!(store.uploads().list().await.unwrap().is_empty());
        assert!(store.uploads().resume(&id(6), true).await.is_err());
        assert_absent(store, image).await;
        assert_eq!(store.sweep_uploads().await.unwrap(), 0);
    }
    store.uploads().remove(&id(6)).await.unwrap();
}

async fn what_is_retired_has_its_note_only(store: &impl Blobs) {
    let data = data(SIZE, 27);
    let image = Digest::of(&data);
    create(store, 7, image, SIZE).await;
    append(store, 7, 0, &data, true).await;
    store.uploads().complete(&id(7)).await.unwrap();

    store.uploads().retire(&id(7), json!({ "done": true })).await.unwrap();

    let listed = store.uploads().list().await.unwrap();
    assert_eq!((listed[0].1.about.clone(), listed[0].1.offset), (json!({ "done": true }), SIZE as u64));
    store.delete(&image).await.unwrap();
    assert!(matches!(store.uploads().complete(&id(7)).await, Err(Error::NotFound(gone)) if gone == image));
    store.uploads().remove(&id(7)).await.unwrap();
    assert!(store.uploads().list().await.unwrap().is_empty());
}

fn id(number: u32) -> UploadId {
    format!("{number:032x}").parse().unwrap()
}

async fn create(store: &impl Blobs, number: u32, image: Digest, size: usize) {
    let note = Note::new(json!({ "number": number }), image, size as u64);
    store.uploads().create(&id(number), note).await.unwrap();
}

/// Goes on with an upload that ended at `offset`. Answers where it ends now.
async fn append(store: &impl Blobs, number: u32, offset: usize, data: &[u8], counts_at_once: bool) -> usize {
    let mut incoming = store.uploads().resume(&id(number), counts_at_once).await.unwrap();
    assert_eq!(incoming.offset(), offset as u64);
    for chunk in data.chunks(50_000) {
        incoming.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    usize::try_from(incoming.keep().await.unwrap()).unwrap()
}
