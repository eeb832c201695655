//! Promises about signed URLs: how they look, how long they hold, and what they cost.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aar_cloudfront::{CloudFront, HashAlgorithm, Options};
use aar_model::Digest;
use aar_store::{Download, Downloads, image_key};
use futures_util::future::{FutureExt as _, join_all};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use proptest::prelude::*;
use url::Url;

/// A distribution with a new ECDSA key, no two of whose signatures are the same.
fn cloudfront(base_url: &str, prefix: &str, duration: Duration, hash_algorithm: HashAlgorithm) -> CloudFront {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let options = Options {
        base_url: &Url::parse(base_url).unwrap(),
        prefix,
        private_key: &String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap(),
        keypair_id: "K2JCJMDEHXQW5F",
        duration,
        hash_algorithm,
    };
    CloudFront::new(&options).unwrap().0
}

fn seconds(duration: u64) -> CloudFront {
    cloudfront("https://d1.cloudfront.net", "", Duration::from_secs(duration), HashAlgorithm::Sha1)
}

/// The URL for somebody who asks so long after 1970.
fn url(cloudfront: &CloudFront, image: &Digest, now: Duration) -> String {
    // Nothing else is going on that it could wait for.
    let url = cloudfront.url_at(image, UNIX_EPOCH + now).now_or_never().unwrap().unwrap();
    url.reveal().to_owned()
}

fn expires(url: &str) -> u64 {
    url.split_once("?Expires=").unwrap().1.split_once('&').unwrap().0.parse().unwrap()
}

#[test]
fn a_url_is_the_object_with_expiry_signature_and_key() {
    let image = Digest::of(b"an image");
    let object = format!("https://d1.cloudfront.net/registry/{}", image_key(&image));
    for (hash_algorithm, end) in
        [(HashAlgorithm::Sha1, ""), (HashAlgorithm::Sha256, "&Hash-Algorithm=SHA256")]
    {
        let cloudfront =
            cloudfront("https://d1.cloudfront.net", "registry/", Duration::from_secs(60), hash_algorithm);
        let url = url(&cloudfront, &image, Duration::from_secs(1_700_000_000));
        let rest = url.strip_prefix(&format!("{object}?Expires=1700000070&Signature=")).unwrap();
        let signature = rest.strip_suffix(&format!("&Key-Pair-Id=K2JCJMDEHXQW5F{end}")).unwrap();
        assert!(signature.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~".contains(&b)), "{signature}");
    }
}

#[test]
fn the_base_url_may_have_a_path_and_slashes_at_its_end() {
    let image = Digest::of(b"an image");
    for (base_url, prefix, expected) in [
        ("https://d1.cloudfront.net", "", "https://d1.cloudfront.net/"),
        ("https://d1.cloudfront.net/", "", "https://d1.cloudfront.net/"),
        ("http://d1.cloudfront.net//", "a/", "http://d1.cloudfront.net/a/"),
        ("https://d1.cloudfront.net:443/x", "", "https://d1.cloudfront.net/x/"),
        ("https://d1.cloudfront.net:8443/x/y/", "a/b/", "https://d1.cloudfront.net:8443/x/y/a/b/"),
        ("https://d1.cloudfront.net/x//y", "", "https://d1.cloudfront.net/x//y/"),
        ("https://[2001:db8::1]/x", "", "https://[2001:db8::1]/x/"),
        ("https://D1.CloudFront.net/X", "", "https://d1.cloudfront.net/X/"),
    ] {
        let cloudfront = cloudfront(base_url, prefix, Duration::from_secs(60), HashAlgorithm::Sha1);
        let url = url(&cloudfront, &image, Duration::ZERO);
        assert_eq!(url.split_once('?').unwrap().0, format!("{expected}{}", image_key(&image)), "{base_url}");
    }
}

#[tokio::test]
async fn downloads_begin_now() {
    let cloudfront = seconds(60);
    let image = Digest::of(b"an image");
    let download = Download { image: &image, media_type: "application/octet-stream", file_name: "image" };
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let earliest = now() + 60;
    let url = cloudfront.url(&download).await.unwrap();
    assert!((earliest..=now() + 75).contains(&expires(url.reveal())), "{url:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_rush_for_one_image_costs_one_signature() {
    let cloudfront = Arc::new(seconds(60));
    let image = Digest::of(b"an image");
    let rush = |now: u64| {
        let cloudfront = cloudfront.clone();
        async move {
            let requests = (0..1000_u64).map(|number| {
                let cloudfront = cloudfront.clone();
                // Not all at the same moment, but within one step of 15 s.
                let now = UNIX_EPOCH + Duration::from_millis(now * 1000 + number);
                tokio::spawn(async move { cloudfront.url_at(&image, now).await.unwrap() })
            });
            let urls = join_all(requests.collect::<Vec<_>>()).await;
            let mut urls: Vec<_> = urls.into_iter().map(|url| url.unwrap().reveal().to_owned()).collect();
            urls.sort();
            urls.dedup();
            urls
        }
    };
    let first = rush(1_700_000_000).await;
    assert_eq!(first.len(), 1, "two signatures would differ");
    assert_eq!(rush(1_700_000_001).await, first);
    let later = rush(1_700_000_012).await;
    assert_eq!(later.len(), 1);
    assert_ne!(later, first, "the next step has a URL of its own");
}

#[test]
fn images_do_not_share_urls() {
    let cloudfront = seconds(60);
    let [one, other] =
        [b"one".as_slice(), b"other"].map(|image| url(&cloudfront, &Digest::of(image), Duration::ZERO));
    assert_ne!(one, other);
}

#[test]
fn a_key_does_not_show() {
    let shown = format!("{:?}", seconds(60));
    assert_eq!(
        shown,
        "CloudFront { base: \"https://d1.cloudfront.net/\", keypair_id: \"K2JCJMDEHXQW5F\", duration: 60s, .. }"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_url_holds_for_the_duration_and_at_most_a_quarter_longer(
        now in (0..4_000_000_000_u64, 0..1_000_000_000_u32),
        duration in prop_oneof![1_000..10_000_u64, 1_000..=604_800_000_u64, (1..=604_800_u64).prop_map(|s| s * 1000)],
    ) {
        let (now, duration) = (Duration::new(now.0, now.1), Duration::from_millis(duration));
        let cloudfront = cloudfront("https://d1.cloudfront.net", "", duration, HashAlgorithm::Sha1);
        let expires = Duration::from_secs(expires(&url(&cloudfront, &Digest::of(b""), now)));
        // CloudFront counts in seconds.
        let longer = (duration / 4).max(Duration::from_secs(1));
        prop_assert!(expires >= now + duration, "{expires:?}");
        prop_assert!(expires <= now + duration + longer, "{expires:?}");
    }

    #[test]
    fn a_url_serves_all_of_its_step(start in 0..1_000_000_u64, duration in 4..=604_800_u64, within in 0.0..1.0) {
        let cloudfront = seconds(duration);
        let step = duration / 4;
        let image = Digest::of(b"");
        let at = |now: Duration| url(&cloudfront, &image, now);
        // A second after the moment up to which a URL is made to hold, the next step begins.
        let first = Duration::new((start + duration / step + 1) * step - duration, 1);
        let later = first + Duration::new(step - 1, 999_999_999).mul_f64(within);
        prop_assert_eq!(at(first), at(later));
        prop_assert_ne!(at(first), at(first + Duration::from_secs(step)));
    }
}
