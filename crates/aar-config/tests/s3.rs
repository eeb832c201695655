//! Promises of the section `storage.s3`: what it means, and that every mistake is told so that it can be mended.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use aar_config::{CloudFront, Config, Credentials, HashAlgorithm, S3, Secret, Storage, from_yaml};
use proptest::prelude::*;
use serde_json::Value;

const FIXTURE_S3: &str = include_str!("fixtures/juju-config-s3.yaml");
const FIXTURE_CLOUDFRONT: &str = include_str!("fixtures/juju-config-cloudfront.yaml");
/// What stands before the keys of `s3`, which begin in line 3, column 5.
const HEAD: &str = "storage:\n  s3:\n";
/// What has to be there.
const LEAST: &str = "    region: eu-west-3\n    bucket: aar0\n";
const CLOUDFRONT: &str = "    cloudfront:\n      base-url: d111111abcdef8.cloudfront.net\n      private-key: |\n        \
                          -----BEGIN PRIVATE KEY-----\n        MIIE\n        -----END PRIVATE KEY-----\n      keypair-id: K2JC\n";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("aar.yaml")).map_err(|error| error.to_string())
}

/// What `keys`, indented by 4, say beside what has to be there.
fn s3(keys: &str) -> Result<S3, String> {
    match parse(&format!("{HEAD}{LEAST}{keys}"))?.storage {
        Storage::S3(s3) => Ok(*s3),
        storage @ Storage::Fs { .. } => panic!("{storage:?}"),
    }
}

/// The same for keys of `cloudfront`, indented by 6.
fn cloudfront(keys: &str) -> Result<CloudFront, String> {
    s3(&format!("{CLOUDFRONT}{keys}")).map(|s3| s3.cloudfront.unwrap())
}

/// The section with the line of a key, which is there already, replaced.
fn with(key: &str, value: &str) -> Result<Config, String> {
    let text = format!("{HEAD}{LEAST}{CLOUDFRONT}");
    let lines = text.lines().map(|line| match line.split_once(": ") {
        Some((before, _)) if before.trim() == key => format!("{before}: {value}\n"),
        _ => format!("{line}\n"),
    });
    parse(&lines.collect::<String>())
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

/// What an operator pastes for the charm, as the daemon gets it.
fn pasted(fixture: &str) -> String {
    let options: Value = from_yaml(fixture, Path::new("fixture")).unwrap();
    options["aar"]["storage_config"].as_str().unwrap().to_owned()
}

#[test]
fn the_least_means_the_whole_bucket_by_way_of_the_instance_profile() {
    let expected = S3 {
        region: "eu-west-3".into(),
        bucket: "aar0".into(),
        credentials: None,
        endpoint: None,
        public_endpoint: None,
        prefix: String::new(),
        redirect: true,
        cloudfront: None,
    };
    assert_eq!(s3("").as_ref(), Ok(&expected));
    assert_eq!(
        s3("    cloudfront:\n    prefix:\n    access-key: ~\n    redirect:\n").as_ref(),
        Ok(&expected)
    );
    let beside_nothing = parse(&format!("storage:\n  fs:\n  s3:\n{LEAST}")).unwrap();
    assert_eq!(beside_nothing.storage, Storage::S3(Box::new(expected)));
}

#[test]
fn a_whole_section_means_what_it_says() {
    let read = s3(&format!(
        "    access-key: AKIA1\n    secret-access-key: a/b+c=\n    endpoint: http://[::1]:9000\n    \
         public-endpoint: https://S3.example/\n    prefix: registry\n    redirect: true\n{CLOUDFRONT}      \
         duration: 1h30m\n      hash-algorithm: SHA256\n"
    ))
    .unwrap();
    assert_eq!(
        read.credentials,
        Some(Credentials { access_key: secret("AKIA1"), secret_access_key: secret("a/b+c=") })
    );
    assert_eq!(read.endpoint.unwrap().as_str(), "http://[::1]:9000/");
    assert_eq!(read.public_endpoint.unwrap().as_str(), "https://s3.example/");
    assert_eq!(read.prefix, "registry/");
    let cloudfront = read.cloudfront.unwrap();
    assert_eq!(cloudfront.base_url.as_str(), "https://d111111abcdef8.cloudfront.net/");
    assert_eq!(cloudfront.private_key.expose(), PEM);
    assert_eq!(cloudfront.keypair_id, "K2JC");
    assert_eq!(cloudfront.duration, Duration::from_secs(5400));
    assert_eq!(cloudfront.hash_algorithm, HashAlgorithm::Sha256);
}

#[test]
fn cloudfront_has_defaults() {
    let cloudfront = cloudfront("").unwrap();
    assert_eq!(cloudfront.duration, Duration::from_secs(60));
    assert_eq!(cloudfront.hash_algorithm, HashAlgorithm::Sha1);
}

#[test]
fn what_operators_paste_works_once_the_placeholders_are_replaced() {
    let real = |fixture: &str| {
        pasted(fixture)
            .replace("<your access key>", "AKIA1")
            .replace("<your secret access key>", "wJalr/")
            .replace("...", "MIIE")
    };
    for fixture in [FIXTURE_S3, FIXTURE_CLOUDFRONT] {
        let Storage::S3(s3) = parse(&real(fixture)).unwrap().storage else { panic!("{fixture}") };
        assert_eq!((s3.region.as_str(), s3.bucket.as_str()), ("eu-west-3", "aar0"));
        assert_eq!(s3.credentials.unwrap().secret_access_key.expose(), "wJalr/");
        assert_eq!(s3.cloudfront.is_some(), fixture == FIXTURE_CLOUDFRONT);
        if let Some(cloudfront) = s3.cloudfront {
            assert_eq!(cloudfront.base_url.as_str(), "https://d1dfsdfjmcefekdotjm.cloudfront.net/");
            assert_eq!(cloudfront.keypair_id, "ADF443JOEF3423JF");
            assert_eq!(cloudfront.duration, Duration::from_secs(60));
        }
    }
}

#[test]
fn a_placeholder_left_in_place_is_named() {
    let keys = pasted(FIXTURE_CLOUDFRONT);
    let second = keys.replace("<your access key>", "AKIA1");
    let third = second.replace("<your secret access key>", "wJalr");
    for (file, key) in [
        (pasted(FIXTURE_S3), "5:17: storage.s3.access-key: the placeholder `<your access key>`"),
        (keys, "5:17: storage.s3.access-key: the placeholder `<your access key>`"),
        (second, "6:24: storage.s3.secret-access-key: the placeholder `<your secret access key>`"),
        (third, "9:20: storage.s3.cloudfront.private-key: the placeholder `...`"),
        (format!("{HEAD}{LEAST}    access-key: …\n"), "5:17: storage.s3.access-key: the placeholder `…`"),
        (
            format!("{HEAD}{LEAST}    cloudfront:\n      private-key: <your private key>\n"),
            "6:20: storage.s3.cloudfront.private-key: the placeholder `<your private key>`",
        ),
    ] {
        let expected = format!("aar.yaml:{key} is still there: put the real value in its place");
        assert_eq!(parse(&file).unwrap_err(), expected);
    }
}

#[test]
fn buckets_and_regions_are_named_as_aws_names_them() {
    let longest = "a".repeat(63);
    for good in ["abc", "aar0", "0-a.b-1", "my.bucket.example", "192.168.5.4.a", longest.as_str()] {
        assert!(with("bucket", good).is_ok(), "{good}");
    }
    let too_long = "a".repeat(64);
    for bad in [
        "ab",
        "Aar0",
        "aar_0",
        "-aar",
        "aar-",
        ".aar",
        "aar.",
        "a..b",
        "192.168.5.4",
        "a b c",
        "aar/0",
        "ääää",
        too_long.as_str(),
    ] {
        let error = with("bucket", bad).unwrap_err();
        let expected = "aar.yaml:4:13: storage.s3.bucket: expected the name of a bucket: 3 to 63 lower-case";
        assert!(error.starts_with(expected) && error.ends_with(&format!(", found `{bad}`")), "{error}");
    }
    for good in
        ["eu-west-3", "us-gov-east-1", "us-isob-east-1", "ap-southeast-14", "cn-north-1", "eusc-de-east-1"]
    {
        assert!(with("region", good).is_ok(), "{good}");
    }
    for bad in ["eu-west", "euwest3", "eu-west-3a", "EU-WEST-3", "eu_west_3", "Paris", "garage", "3", "eu--3"]
    {
        assert_eq!(
            with("region", bad).unwrap_err(),
            format!(
                "aar.yaml:3:5: storage.s3.region: expected a region of AWS, such as `eu-west-3`, or an `endpoint`, found \
                 `{bad}`"
            )
        );
    }
}

#[test]
fn other_servers_have_regions_of_any_name() {
    for region in ["garage", "RegionOne", "us_1", "eu-west-3"] {
        let file =
            format!("{HEAD}    region: {region}\n    bucket: aar0\n    endpoint: https://s3.example\n");
        assert!(parse(&file).is_ok(), "{region}");
    }
    let file = format!("{HEAD}    region: Gärten 1\n    bucket: aar0\n    endpoint: https://s3.example\n");
    assert_eq!(
        parse(&file).unwrap_err(),
        "aar.yaml:3:13: storage.s3.region: expected the name of a region, such as `eu-west-3`, found `Gärten 1`"
    );
}

#[test]
fn a_prefix_is_a_path_that_ends_in_a_slash() {
    let prefix = |text: &str| s3(&format!("    prefix: {text}\n")).map(|s3| s3.prefix);
    for (given, expected) in [
        ("registry", "registry/"),
        ("registry/", "registry/"),
        ("a/b.c/..d", "a/b.c/..d/"),
        ("'ä +%20'", "ä +%20/"),
    ] {
        assert_eq!(prefix(given).unwrap(), expected);
    }
    assert_eq!(prefix(&"a".repeat(511)).unwrap().len(), 512);
    for bad in ["/", "/a", "a//b", "a//", "..", "a/../b", "./a", "a/.", "\"a\\u0007\"", &"a".repeat(512)] {
        let error = prefix(bad).unwrap_err();
        let expected =
            "aar.yaml:5:13: storage.s3.prefix: expected a path of up to 512 bytes such as `registry/`";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn endpoints_are_addresses_of_servers_and_nothing_more() {
    for key in ["endpoint", "public-endpoint"] {
        let column = key.len() + 7;
        for bad in [
            "s3.example",
            "s3.example:9000",
            "ftp://s3.example",
            "https://",
            "https://s3.example/path",
            "https://s3.example/?a",
            "https://s3.example/#a",
            "https://user@s3.example",
            "https://user:Passw0rd@s3.example",
            "https://s3.example:99999",
        ] {
            assert_eq!(
                s3(&format!("    {key}: {bad}\n")).unwrap_err(),
                format!(
                    "aar.yaml:5:{column}: storage.s3.{key}: expected an address without path, user and query, such as \
                     `https://s3.example:9000`"
                )
            );
        }
    }
}

#[test]
fn a_distribution_is_given_with_or_without_scheme_and_path() {
    let base_url = |text: &str| {
        with("base-url", text).map(|config| match config.storage {
            Storage::S3(s3) => s3.cloudfront.unwrap().base_url.to_string(),
            storage @ Storage::Fs { .. } => panic!("{storage:?}"),
        })
    };
    for (given, expected) in [
        ("d1.cloudfront.net", "https://d1.cloudfront.net/"),
        ("d1.cloudfront.net/", "https://d1.cloudfront.net/"),
        ("https://d1.cloudfront.net", "https://d1.cloudfront.net/"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("127.0.0.1:8080", "https://127.0.0.1:8080/"),
        ("images.example/a b/", "https://images.example/a%20b/"),
        ("https://images.example/a/b", "https://images.example/a/b"),
    ] {
        assert_eq!(base_url(given).unwrap(), expected);
    }
    for bad in [
        "ftp://d1.cloudfront.net",
        "https://",
        "/path",
        "d1.example?a=b",
        "'d1.example/#a'",
        "me:Passw0rd@d1.example",
    ] {
        assert_eq!(
            base_url(bad).unwrap_err(),
            "aar.yaml:6:17: storage.s3.cloudfront.base-url: expected the distribution's address without user and query, \
             such as `d111111abcdef8.cloudfront.net`"
        );
    }
}

#[test]
fn durations_are_written_as_go_writes_them() {
    let duration = |text: &str| cloudfront(&format!("      duration: {text}\n")).map(|read| read.duration);
    for (given, seconds) in [
        ("1s", 1.0),
        ("90s", 90.0),
        ("1m", 60.0),
        ("1h30m", 5400.0),
        ("1h0m0s", 3600.0),
        ("1.5h", 5400.0),
        ("2500ms", 2.5),
        ("1m0.5s", 60.5),
        ("168h", 604_800.0),
    ] {
        assert_eq!(duration(given), Ok(Duration::from_secs_f64(seconds)), "{given}");
    }
    for bad in [
        "60",
        "0",
        "0s",
        "-1m",
        "999ms",
        "168h1s",
        "7d",
        "1w",
        "1",
        "m",
        "1x",
        "1m30",
        "a minute",
        "1e3s",
        "99999999999999999999h",
    ] {
        assert_eq!(
            duration(bad).unwrap_err(),
            format!(
                "aar.yaml:12:17: storage.s3.cloudfront.duration: expected a duration from `1s` to `168h` (7 days), such as \
                 `90s`, `1m` or `1h30m`, found `{bad}`"
            )
        );
    }
}

#[test]
fn every_mistake_is_named_with_its_place_and_what_would_be_right() {
    let known = "known here: region, bucket, access-key, secret-access-key, endpoint, public-endpoint, prefix, redirect, \
                 cloudfront";
    let pair = "is missing: give both, or neither to use the instance profile";
    let pem = "expected a private key as PEM, which begins with `-----BEGIN` and stands, indented, below `private-key: |`";
    let contradiction =
        "clients reach CloudFront only by a redirect: remove `redirect: false`, or `cloudfront`";
    let whole = |keys: &str| format!("{HEAD}{LEAST}{keys}");
    let cases = [
        (
            "storage: {s3: bucket}\n".to_owned(),
            "1:15: storage.s3: expected the keys `region`, `bucket` and so on, indented".to_owned(),
        ),
        (format!("{HEAD}    bucket: aar0\n"), "3:5: storage.s3: the key `region` is missing".to_owned()),
        (format!("{HEAD}    region: eu-west-3\n"), "3:5: storage.s3: the key `bucket` is missing".to_owned()),
        (
            whole("    access_key: x\n"),
            format!("5:5: storage.s3.access_key: unknown key `access_key`, {known}; did you mean `access-key`?"),
        ),
        (
            whole("    access-key: AKIA1\n"),
            format!("5:5: storage.s3.access-key: the key `secret-access-key` {pair}"),
        ),
        (
            whole("    prefix: a\n    secret-access-key: wJalr\n"),
            format!("6:5: storage.s3.secret-access-key: the key `access-key` {pair}"),
        ),
        (
            "storage: {s3: {region: eu-west-3, bucket: aar0, access-key: A}}\n".to_owned(),
            format!("1:10: storage.s3.access-key: the key `secret-access-key` {pair}"),
        ),
        (
            whole("    access-key: |\n      AKIA1\n"),
            "5:17: storage.s3.access-key: expected a key without spaces and line breaks".to_owned(),
        ),
        (
            format!("storage:\n  fs:\n    root-directory: /srv\n  s3:\n{LEAST}"),
            "4:3: storage.s3: there is `fs` as well: keep the one that images are to be stored in".to_owned(),
        ),
        (
            whole("    redirect: no\n"),
            "5:15: storage.s3.redirect: expected true or false, found `no`".to_owned(),
        ),
        (
            whole(&format!("    redirect: false\n{CLOUDFRONT}")),
            format!("5:5: storage.s3.redirect: {contradiction}"),
        ),
        (
            whole(&format!("{CLOUDFRONT}    redirect: false\n")),
            format!("12:5: storage.s3.redirect: {contradiction}"),
        ),
        (
            whole("    cloudfront: d1.cloudfront.net\n"),
            "5:17: storage.s3.cloudfront: expected the keys `base-url`, `private-key` and `keypair-id`, indented"
                .to_owned(),
        ),
        (
            whole("    cloudfront:\n      base-url: d1.cloudfront.net\n      keypair-id: K2\n"),
            "6:7: storage.s3.cloudfront: the key `private-key` is missing".to_owned(),
        ),
        (
            whole(&format!("{CLOUDFRONT}      key-pair-id: K2\n")),
            "12:7: storage.s3.cloudfront.key-pair-id: unknown key `key-pair-id`, known here: base-url, private-key, \
             keypair-id, duration, hash-algorithm; did you mean `keypair-id`?"
                .to_owned(),
        ),
        (
            whole("    cloudfront:\n      private-key: /etc/key.pem\n"),
            format!("6:20: storage.s3.cloudfront.private-key: {pem}"),
        ),
        (
            whole("    cloudfront:\n      keypair-id: K2/3\n"),
            "6:19: storage.s3.cloudfront.keypair-id: expected the public key's ID in CloudFront, such as `K2JCJMDEHXQW5F`"
                .to_owned(),
        ),
        (
            whole(&format!("{CLOUDFRONT}      hash-algorithm: MD5\n")),
            "12:23: storage.s3.cloudfront.hash-algorithm: expected one of SHA1, SHA256, found `MD5`".to_owned(),
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(parse(&file).unwrap_err(), format!("aar.yaml:{expected}"), "{file}");
    }
}

#[test]
fn secrets_do_not_show() {
    let shown = format!(
        "{:?}",
        s3(&format!("    access-key: AKIA1\n    secret-access-key: wJalr\n{CLOUDFRONT}")).unwrap()
    );
    for secret in ["AKIA1", "wJalr", "MIIE"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the secret was put by mistake, and whatever else is wrong.
    #[test]
    fn no_error_shows_a_secret(secret in "[A-Za-z0-9/+]{20,40}", wrong in 0_usize..9) {
        let secret = format!("s{secret}/");
        let begun = "-----BEGIN PRIVATE KEY-----";
        let keys = [
            format!("    access-key: {secret}\n"),
            format!("    access-key: {secret}: {secret}\n"),
            format!("    access-key: [{secret}]\n    secret-access-key: A\n"),
            format!("    access-key: A\n    secret-access-key: {secret} {secret}\n"),
            format!("    {secret}: A\n"),
            format!("    endpoint: https://a:{secret}@s3.example\n"),
            format!("    cloudfront:\n      private-key: {secret}\n"),
            format!("    cloudfront:\n      keypair-id: \"{begun}\\n{secret}\"\n"),
            format!("    cloudfront:\n      private-key: |\n        {begun}\n      {secret}\n"),
        ];
        let error = Config::parse(&format!("{HEAD}{LEAST}{}", keys[wrong]), Path::new("aar.yaml")).unwrap_err();
        prop_assert!(!format!("{error} {error:?}").contains(&secret), "{error}");
    }
}
