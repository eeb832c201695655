use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aar_model::Digest;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};

use crate::{Blobs, ByteStream, Error};

/// Sizes around the places where buffers, batches and pages end.
const SIZES: &[usize] = &[
    0, 1, 4095, 4096, 65_535, 65_536, 65_537, 131_072, 262_143, 262_144, 262_145, 1_048_575, 1_048_576,
    1_048_577, 1_048_579, 3_000_000,
];

/// The promises of [`Blobs`] and [`Upload`](crate::Upload).
pub async fn blobs<K, B: Blobs>(make: impl AsyncFn() -> (K, B)) {
    let (_kept, store) = make().await;
    sizes_and_chunks_of_all_kinds_come_back(&store).await;
    let (_kept, store) = make().await;
    an_upload_is_visible_only_after_commit(&store).await;
    let (_kept, store) = make().await;
    a_dropped_upload_leaves_nothing(&store).await;
    let (_kept, store) = make().await;
    a_mismatch_leaves_nothing(&store).await;
    let (_kept, store) = make().await;
    an_image_that_is_stored_stays_as_it_is(&store).await;
    let (_kept, store) = make().await;
    one_image_may_be_uploaded_several_times_at_once(&store).await;
    let (_kept, store) = make().await;
    any_range_can_be_read(&store).await;
    let (_kept, store) = make().await;
    readers_outlive_a_delete(&store).await;
    let (_kept, store) = make().await;
    what_is_not_stored_is_not_found(&store).await;
    let (_kept, store) = make().await;
    list_answers_complete_images_and_sweeping_spares_them(&store).await;
}

async fn sizes_and_chunks_of_all_kinds_come_back(store: &impl Blobs) {
    for (seed, &size) in SIZES.iter().enumerate() {
        let data = data(size, seed as u64);
        let image = Digest::of(&data);
        let chunk = [16_384, 1_000, 65_536, usize::MAX][seed % 4];
        let declared = (seed % 2 == 0).then_some(size as u64);

        let stored = upload(store, image, declared, &data, chunk).await.unwrap();

        assert_eq!(stored, size as u64);
        assert_eq!(store.size(&image).await.unwrap(), Some(size as u64));
        let stream = store.read(&image, 0..size as u64).await.unwrap();
        assert!(collect(stream).await == data, "{size} bytes in chunks of {chunk} come back changed");
    }

    let tiny = data(5_000, 77);
    let image = Digest::of(&tiny);
    assert_eq!(upload(store, image, None, &tiny, 1).await.unwrap(), 5_000);
    assert!(collect(store.read(&image, 0..5_000).await.unwrap()).await == tiny);
}

async fn an_upload_is_visible_only_after_commit(store: &impl Blobs) {
    let data = data(700_000, 1);
    let image = Digest::of(&data);
    let before = SystemTime::now();
    let mut upload = store.begin(&image, Some(data.len() as u64)).await.unwrap();
    for chunk in data.chunks(10_000) {
        upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        assert_absent(store, image).await;
    }

    upload.commit().await.unwrap();

    assert_eq!(store.size(&image).await.unwrap(), Some(data.len() as u64));
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].image, listed[0].size), (image, data.len() as u64));
    // A remote store may have a clock of its own, and tell whole seconds.
    let margin = Duration::from_secs(300);
    assert!(listed[0].modified > before - margin && listed[0].modified < SystemTime::now() + margin);
}

async fn a_dropped_upload_leaves_nothing(store: &impl Blobs) {
    let data = data(900_000, 2);
    let image = Digest::of(&data);
    for written in [0, 1, 100_000, data.len()] {
        let mut upload = store.begin(&image, Some(data.len() as u64)).await.unwrap();
        for chunk in data[..written].chunks(16_384) {
            upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        drop(upload);
        assert_absent(store, image).await;
    }
    upload(store, image, None, &data, 16_384).await.unwrap();
    assert!(collect(store.read(&image, 0..data.len() as u64).await.unwrap()).await == data);
}

async fn a_mismatch_leaves_nothing(store: &impl Blobs) {
    let data = data(300_000, 3);
    let image = Digest::of(&data);
    let mut flipped = data.clone();
    flipped[299_999] ^= 1;
    for wrong in [&flipped[..], &data[..299_999], &[&data[..], &[0]].concat(), &[]] {
        let refused = upload(store, image, Some(300_000), wrong, 16_384).await.unwrap_err();

        assert!(
            matches!(refused, Error::Mismatch { expected, actual }
                if expected == image && actual == Digest::of(wrong)),
            "{refused:?}"
        );
        assert_absent(store, image).await;
    }
    upload(store, image, Some(300_000), &data, 16_384).await.unwrap();
}

async fn an_image_that_is_stored_stays_as_it_is(store: &impl Blobs) {
    for data in [data(100_000, 4), Vec::new()] {
        let image = Digest::of(&data);
        let size = data.len() as u64;
        upload(store, image, Some(size), &data, 16_384).await.unwrap();
        let listed = store.list().await.unwrap();

        assert_eq!(upload(store, image, Some(size), &data, 7_000).await.unwrap(), size);
        assert_eq!(upload(store, image, None, &data, 7_000).await.unwrap(), size);
        let mut wrong = data.clone();
        wrong.push(0);
        assert!(matches!(upload(store, image, None, &wrong, 7_000).await, Err(Error::Mismatch { .. })));
        drop(store.begin(&image, Some(size)).await.unwrap());

        assert!(collect(store.read(&image, 0..size).await.unwrap()).await == data);
        let sorted = |mut list: Vec<_>| {
            list.sort_by_key(|info: &crate::BlobInfo| info.image);
            list
        };
        assert_eq!(sorted(store.list().await.unwrap()), sorted(listed));
    }
}

async fn one_image_may_be_uploaded_several_times_at_once(store: &impl Blobs) {
    let data = data(600_000, 5);
    let image = Digest::of(&data);
    let mut uploads = Vec::new();
    for _ in 0..5 {
        uploads.push(store.begin(&image, Some(600_000)).await.unwrap());
    }
    for chunk in data.chunks(50_000) {
        for upload in &mut uploads {
            upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
    }
    drop(uploads.pop());

    for committed in join_all(uploads.into_iter().map(crate::Upload::commit)).await {
        assert_eq!(committed.unwrap(), 600_000);
    }

    assert_eq!(store.list().await.unwrap().len(), 1);
    assert!(collect(store.read(&image, 0..600_000).await.unwrap()).await == data);
}

async fn any_range_can_be_read(store: &impl Blobs) {
    let data = data(400_000, 6);
    let image = Digest::of(&data);
    upload(store, image, None, &data, 16_384).await.unwrap();
    let edges = [0, 1, 65_535, 65_536, 65_537, 131_072, 262_144, 399_999, 400_000];
    for (i, &start) in edges.iter().enumerate() {
        for &end in &edges[i..] {
            let stream = store.read(&image, start as u64..end as u64).await.unwrap();
            assert!(collect(stream).await == data[start..end], "{start}..{end} comes back changed");
        }
    }

    let empty = Digest::of(&[]);
    upload(store, empty, Some(0), &[], 1).await.unwrap();
    assert!(collect(store.read(&empty, 0..0).await.unwrap()).await.is_empty());
}

async fn readers_outlive_a_delete(store: &impl Blobs) {
    let data = data(3_000_000, 7);
    let image = Digest::of(&data);
    upload(store, image, None, &data, 65_536).await.unwrap();
    let mut begun = store.read(&image, 0..3_000_000).await.unwrap();
    let mut received = begun.next().await.unwrap().unwrap().to_vec();

    store.delete(&image).await.unwrap();

    assert_absent(store, image).await;
    received.extend(collect(begun).await);
    assert!(received == data);
    store.delete(&image).await.unwrap();
    upload(store, image, None, &data, 65_536).await.unwrap();
    assert_eq!(store.size(&image).await.unwrap(), Some(3_000_000));
}

async fn what_is_not_stored_is_not_found(store: &impl Blobs) {
    let image = Digest::of(b"nowhere");
    assert_absent(store, image).await;
    assert!(matches!(store.read(&image, 0..0).await, Err(Error::NotFound(missing)) if missing == image));
    store.delete(&image).await.unwrap();
}

async fn list_answers_complete_images_and_sweeping_spares_them(store: &impl Blobs) {
    assert_eq!(store.sweep_uploads().await.unwrap(), 0);
    let mut expected = BTreeMap::new();
    for n in 0..20 {
        let data = data(n * 1_000, 100 + n as u64);
        let image = Digest::of(&data);
        upload(store, image, None, &data, 16_384).await.unwrap();
        expected.insert(image, data.len() as u64);
    }

    assert_eq!(store.sweep_uploads().await.unwrap(), 0);
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), expected.len());
    let listed: BTreeMap<_, _> = listed.into_iter().map(|info| (info.image, info.size)).collect();
    assert_eq!(listed, expected);
}

async fn upload(
    store: &impl Blobs,
    image: Digest,
    declared: Option<u64>,
    data: &[u8],
    chunk: usize,
) -> crate::Result<u64> {
    let mut upload = store.begin(&image, declared).await?;
    for chunk in data.chunks(chunk) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    upload.commit().await
}

pub(super) async fn assert_absent(store: &impl Blobs, image: Digest) {
    assert_eq!(store.size(&image).await.unwrap(), None);
    assert!(matches!(store.read(&image, 0..1).await, Err(Error::NotFound(missing)) if missing == image));
    assert!(store.list().await.unwrap().iter().all(|info| info.image != image));
}

pub(super) async fn collect(stream: ByteStream) -> Vec<u8> {
    stream
        .try_fold(Vec::new(), async |mut all, chunk| {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
        .unwrap()
}

/// `size` bytes without a pattern; others for another seed.
pub(super) fn data(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(size.div_ceil(8)).flatten().take(size).collect()
}
