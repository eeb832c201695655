//! What publishers push, clients fetch straight from the store or from CloudFront.

use std::fs;
use std::sync::Arc;

use aar_model::Digest;
use aar_tests::s3::S3Server;
use aar_tests::{Daemon, Edge, Object};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;

use crate::{Bucket, applications, cloudfront, curl, eventually, image, location, path, push};

macro_rules! on_every_server {
    ($($promise:ident,)*) => {
        mod juicefs {
            $(#[test]
            fn $promise() {
                super::$promise(super::S3Server::shared_juicefs());
            })*
        }

        mod seaweedfs {
            $(#[test]
            fn $promise() {
                super::$promise(super::S3Server::shared_seaweedfs());
            })*
        }

        mod ceph {
            $(#[test]
            #[ignore = "needs Ceph: `make test-ceph`"]
            fn $promise() {
                super::$promise(super::S3Server::shared_ceph());
            })*
        }
    };
}

on_every_server! {
    what_a_publisher_pushes_clients_fetch_straight_from_the_store,
    a_url_opens_its_image_for_a_get_and_nothing_else,
    questions_about_an_image_are_answered_without_the_store,
    a_delete_removes_what_was_stored,
    an_index_that_is_lost_and_a_new_unit_show_what_the_bucket_holds,
    registries_in_one_bucket_do_not_see_each_other,
    without_redirect_the_registry_streams_the_image_itself,
    urls_are_for_the_public_endpoint,
    cloudfront_serves_what_the_registry_signs_and_nothing_else,
}

fn what_a_publisher_pushes_clients_fetch_straight_from_the_store(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let daemon = bucket.daemon();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("client"));
    let image = image(20 << 20);
    let fingerprint = Digest::of(&image).to_string();
    push(&daemon, &publisher, "game", &image);
    assert_eq!(bucket.proxy.count("UploadPart"), 3);

    let answer = daemon.request(&client, "GET", &path("game"), b"");
    assert_eq!((answer.status, answer.body.len()), (307, 0), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-ams-fingerprint"), Some(&*fingerprint));
    let url = answer.header("location").unwrap();
    let object =
        format!("{}/{}/{}images/sha256/", bucket.proxy.endpoint(), bucket.server.bucket, bucket.prefix);
    assert!(url.starts_with(&object), "{url}");

    let fetched = curl(url, &[]);
    assert_eq!(fetched.status, 200, "{fetched:?}");
    assert_eq!(Digest::of(&fetched.body).to_string(), fingerprint);
    assert_eq!(fetched.header("content-type"), Some("application/octet-stream"));
    let disposition = fetched.header("content-disposition").unwrap();
    assert!(
        disposition.starts_with("attachment; filename=") && disposition.contains("game"),
        "{disposition}"
    );

    // One command, as somebody would type it; a range is asked for behind the redirect.
    let (certificate, key) = (client.certificate_file.to_str().unwrap(), client.key_file.to_str().unwrap());
    let follow = ["--location", "--insecure", "--cert", certificate, "--key", key];
    let whole = format!("{}{}", daemon.url(), path("game"));
    assert!(curl(&whole, &follow).body == image);
    for (range, expected) in
        [("0-0", 0..1), ("8388600-8388620", 8_388_600..8_388_621), ("20971500-", 20_971_500..20_971_520)]
    {
        let part = curl(&whole, &[&follow[..], &["--range", range]].concat());
        assert_eq!((part.status, part.body.as_slice()), (206, &image[expected]), "{range}");
    }
}

fn a_url_opens_its_image_for_a_get_and_nothing_else(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    let [one, other] = [image(1000), image(1000)];
    push(&daemon, &publisher, "one", &one);
    push(&daemon, &publisher, "other", &other);
    let url = location(&daemon, &publisher, "one");
    let (hex, hex_of_other) = (Digest::of(&one).to_string(), Digest::of(&other).to_string());
    let (place, signature) = url.split_once("X-Amz-Signature=").unwrap();
    let flipped = if signature.starts_with('0') { "1" } else { "0" };
    let lifetime = url.split_once("X-Amz-Expires=").unwrap().1.split('&').next().unwrap();
    for (how, spoilt) in [
        ("another signature", format!("{place}X-Amz-Signature={flipped}{}", &signature[1..])),
        (
            "another image",
            url.replace(&format!("{}/{hex}", &hex[..2]), &format!("{}/{hex_of_other}", &hex_of_other[..2])),
        ),
        ("prolonged", url.replace(&format!("X-Amz-Expires={lifetime}"), "X-Amz-Expires=604800")),
        ("no signature", url.split('?').next().unwrap().to_owned()),
    ] {
        assert_ne!(spoilt, url, "{how}");
        let refused = curl(&spoilt, &[]);
        assert_eq!(refused.status, 403, "{how}: {refused:?}");
    }
    assert_eq!(curl(&url, &["--request", "DELETE"]).status, 403);
    assert_eq!(curl(&url, &[]).body, one);
}

fn questions_about_an_image_are_answered_without_the_store(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    let image = image(5000);
    let etag = format!("\"{}\"", Digest::of(&image));
    push(&daemon, &publisher, "game", &image);
    eventually("the push is over", || bucket.objects().len() == 3);
    let asked = bucket.asked();

    let head = daemon.request(&publisher, "HEAD", &path("game"), b"");
    assert_eq!((head.status, head.header("location")), (200, None), "{head:?}");
    assert_eq!(head.header("content-length"), Some("5000"));
    assert_eq!((head.header("etag"), head.header("accept-ranges")), (Some(&*etag), Some("bytes")));
    let conditional =
        daemon.connect(Some(&publisher)).request("GET", &path("game"), &[("if-none-match", &etag)], b"");
    assert_eq!((conditional.status, conditional.header("location")), (304, None), "{conditional:?}");
    for person in [None, Some(&aar_tests::Person::new(daemon.scratch(), "stranger"))] {
        for method in ["GET", "HEAD"] {
            let refused = daemon.connect(person).request(method, &path("game"), &[], b"");
            assert_eq!((refused.status, refused.header("location")), (401, None), "{refused:?}");
        }
    }
    for _ in 0..10 {
        location(&daemon, &publisher, "game");
    }
    assert_eq!(applications(&daemon, &publisher).as_array().unwrap().len(), 1);
    assert_eq!(bucket.asked(), asked, "the store was asked");
}

fn a_delete_removes_what_was_stored(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    let image = image(9 << 20);
    push(&daemon, &publisher, "one", &image);
    push(&daemon, &publisher, "other", &image);
    let url = location(&daemon, &publisher, "other");
    let hex = Digest::of(&image).to_string();
    let mut expected = vec![format!("images/sha256/{}/{hex}", &hex[..2])];
    for app in ["one", "other"] {
        expected
            .extend(["1.json", "application.json"].map(|file| format!("records/applications/{app}/{file}")));
    }
    eventually("what is stored is what was pushed", || bucket.objects() == expected);

    assert_eq!(daemon.request(&publisher, "DELETE", "/1.0/applications/one", b"").status, 202);
    expected.retain(|key| !key.contains("/one/"));
    eventually("the other application stays, with its image", || bucket.objects() == expected);
    assert!(curl(&url, &[]).body == image);
    assert_eq!(daemon.request(&publisher, "DELETE", "/1.0/applications/other", b"").status, 202);
    eventually("nothing is left", || bucket.objects().is_empty());
    assert_eq!(curl(&url, &[]).status, 404);
    bucket.assert_swept();
}

fn an_index_that_is_lost_and_a_new_unit_show_what_the_bucket_holds(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let mut daemon = bucket.daemon();
    let publisher = daemon.publisher("publisher");
    let images = [image(1000), image(9 << 20)];
    push(&daemon, &publisher, "one", &images[0]);
    push(&daemon, &publisher, "other", &images[1]);
    let change = br#"{"tags": ["changed"]}"#;
    assert_eq!(daemon.request(&publisher, "PATCH", "/1.0/applications/one", change).status, 202);
    let before = applications(&daemon, &publisher);
    assert_eq!(before.as_array().unwrap().len(), 2);

    assert!(daemon.stop().success());
    fs::remove_dir_all(daemon.base().join("index")).unwrap();
    daemon.start();
    assert_eq!(applications(&daemon, &publisher), before);
    assert!(daemon.stop().success());

    let next = bucket.daemon();
    let publisher = next.publisher("publisher");
    assert_eq!(applications(&next, &publisher), before);
    for (app, image) in ["one", "other"].iter().zip(&images) {
        assert!(curl(&location(&next, &publisher, app), &[]).body == *image);
    }
    // It also goes on from there.
    assert_eq!(next.push(&publisher, &path("one"), &images[1]).status, 409);
    push(&next, &publisher, "third", &images[0]);
}

fn registries_in_one_bucket_do_not_see_each_other(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let within = |part: &str| {
        let prefix = format!("{}{part}/", bucket.prefix);
        Daemon::builder().bucket(&bucket.server, &bucket.proxy.endpoint(), &prefix).start()
    };
    // The name of one is the beginning of the other's.
    let (mut one, other) = (within("a"), within("a b"));
    let (publisher, stranger) = (one.publisher("publisher"), other.publisher("publisher"));
    let image = image(1000);
    push(&one, &publisher, "game", &image);
    assert_eq!(applications(&other, &stranger), serde_json::json!([]));
    push(&other, &stranger, "theirs", &image);

    assert!(one.stop().success());
    fs::remove_dir_all(one.base().join("index")).unwrap();
    one.start();
    let seen = applications(&one, &publisher);
    assert_eq!((seen.as_array().unwrap().len(), &seen[0]["name"]), (1, &"game".into()));
    assert_eq!(one.request(&publisher, "DELETE", "/1.0/applications/game", b"").status, 202);
    assert_eq!(one.admin("POST", "/1.0/maintenance/collect-garbage?grace=0", b"").status, 200);
    eventually("one is empty", || bucket.objects().iter().all(|key| !key.starts_with("a/")));
    assert!(curl(&location(&other, &stranger, "theirs"), &[]).body == image);
}

fn without_redirect_the_registry_streams_the_image_itself(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let daemon = bucket.builder().configuration("    redirect: false\n").start();
    let publisher = daemon.publisher("publisher");
    let image = image(9 << 20);
    push(&daemon, &publisher, "game", &image);

    let whole = daemon.request(&publisher, "GET", &path("game"), b"");
    assert_eq!((whole.status, whole.header("location")), (200, None));
    assert!(whole.body == image);
    let range = [("range", "bytes=8388600-8388620")];
    let part = daemon.connect(Some(&publisher)).request("GET", &path("game"), &range, b"");
    assert_eq!((part.status, part.body.as_slice()), (206, &image[8_388_600..=8_388_620]));
}

fn urls_are_for_the_public_endpoint(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let public = format!("    public-endpoint: {}\n", bucket.server.endpoint);
    let mut daemon = bucket.builder().configuration(&public).start();
    daemon.wait_for_log("the storage was tried");
    let publisher = daemon.publisher("publisher");
    let image = image(1000);
    push(&daemon, &publisher, "game", &image);
    eventually("the push is over", || bucket.objects().len() == 3);
    let asked = bucket.asked();

    let url = location(&daemon, &publisher, "game");
    assert!(url.starts_with(&format!("{}/", bucket.server.endpoint)), "{url}");
    assert!(curl(&url, &[]).body == image);
    assert_eq!(bucket.asked(), asked, "clients go past the address that the registry uses");
}

fn cloudfront_serves_what_the_registry_signs_and_nothing_else(server: Arc<S3Server>) {
    let bucket = Bucket::on(server);
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let keys = [
        ("SHA1", PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()),
        ("SHA256", PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()),
    ];
    let image = image(9 << 20);
    for (hash, key) in keys {
        let public = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
        let client = bucket.server.client();
        let edge = Edge::start(&[("KEYPAIR", public)], move |path| {
            client.get(path.trim_start_matches('/')).map(Object::Bytes)
        });
        let daemon = bucket.builder().configuration(&cloudfront(&edge.base_url(), &key, hash)).start();
        let publisher = daemon.publisher("publisher");
        push(&daemon, &publisher, "game", &image);
        let answer = daemon.request(&publisher, "GET", &path("game"), b"");
        assert_eq!((answer.status, answer.header("cache-control")), (307, Some("no-store")));
        let url = answer.header("location").unwrap();

        let hex = Digest::of(&image).to_string();
        let object = format!("{}/{}images/sha256/{}/{hex}?", edge.base_url(), bucket.prefix, &hex[..2]);
        assert!(url.starts_with(&object), "{url}");
        let fetched = curl(url, &[]);
        assert_eq!(fetched.status, 200, "{fetched:?}");
        assert!(fetched.body == image);

        let (before, signature) = url.split_once("Signature=").unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let expires = url.split_once("Expires=").unwrap().1.split('&').next().unwrap();
        for spoilt in [
            format!("{before}Signature={flipped}{}", &signature[1..]),
            url.replace(expires, &format!("1{expires}")),
            url.replace(&hex, &hex.chars().rev().collect::<String>()),
            url.split('?').next().unwrap().to_owned(),
        ] {
            assert_eq!(curl(&spoilt, &[]).status, 403, "{spoilt}");
        }
    }
}
