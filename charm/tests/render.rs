//! The files that the charm writes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use aar_charm::daemon::{Kept, Settings, Surroundings, read, render, restarting_part, settings};
use aar_charm::event::Proxies;
use aar_charm::options::Options;
use aar_config::Config;
use serde_json::{Value, json};

fn options(settings: &Value) -> Options {
    Options::read(settings.as_object().unwrap())
}

fn around() -> Surroundings {
    let interfaces = [("eth0", "10.0.0.5"), ("eth1", "fd00::5")];
    Surroundings {
        interfaces: interfaces.map(|(name, ip)| (name.to_owned(), ip.to_owned())).into(),
        metrics: false,
    }
}

/// The file, which has to be one that the daemon takes.
fn rendered(settings: &Value) -> String {
    let rendered = render(&options(settings), &around()).unwrap();
    let text = rendered.text.expose().to_owned();
    Config::parse(&text, Path::new("config.yaml")).unwrap();
    assert_eq!((read(&text).address, read(&text).storage), (rendered.address, rendered.storage));
    text
}

/// What operators paste, with real values.
fn fixture(text: &str) -> Value {
    let key = "-----BEGIN RSA PRIVATE KEY-----\n            MIIBOgIBAAJBAKj34GkxFhD\n            -----END";
    let text = text
        .replace("<your access key>", "AKIDEXAMPLE")
        .replace("<your secret access key>", "wJalrXUtnFEMI/K7MDENG");
    let text = text.replace("-----BEGIN RSA PRIVATE KEY-----\n            ...\n            -----END", key);
    aar_config::from_yaml::<Value>(&text, Path::new("fixture")).unwrap()["aar"].clone()
}

#[test]
fn the_defaults_serve_from_the_disk_on_all_interfaces() {
    insta::assert_snapshot!(rendered(&json!({"port": 3000})), @r"
    # From here on: what the other options of the charm say. Change them by `juju config`.
    http:
      addr: 0.0.0.0:3000
    log:
      level: info
    ");
}

#[test]
fn what_operators_paste_stands_at_its_own_lines() {
    let mut settings = fixture(include_str!("fixtures/juju-config-cloudfront.yaml"));
    settings["port"] = 443.into();
    settings["ua_token"] = "C1: 'odd'".into();
    settings["public_interface"] = "eth1".into();
    settings["log_level"] = "debug".into();
    insta::assert_snapshot!(rendered(&settings));
    let mut settings = fixture(include_str!("fixtures/juju-config-s3.yaml"));
    settings["port"] = 3000.into();
    insta::assert_snapshot!(rendered(&settings));
}

#[test]
fn a_secret_that_looks_like_a_number_stays_as_it_was_written() {
    let storage = "storage:\n  s3:\n    region: eu-west-3\n    bucket: aar0\n    access-key: 0123456\n    secret-access-key: 1e5";
    let text = rendered(&json!({"port": 3000, "storage_config": storage}));
    let aar_config::Storage::S3(s3) = Config::parse(&text, Path::new("x")).unwrap().storage else {
        panic!("{text}")
    };
    let keys = s3.credentials.unwrap();
    assert_eq!((keys.access_key.expose(), keys.secret_access_key.expose()), ("0123456", "1e5"));
}

#[test]
fn metrics_are_for_the_machine_alone_and_only_where_somebody_wants_them() {
    let around = Surroundings { metrics: true, ..around() };
    let text = render(&options(&json!({"port": 3000})), &around).unwrap().text;
    let metrics = Config::parse(text.expose(), Path::new("x")).unwrap().metrics.unwrap();
    assert_eq!(metrics.addr.to_string(), "127.0.0.1:9464");
}

#[test]
fn only_another_storage_needs_a_restart() {
    let part = |settings: &Value| restarting_part(&rendered(settings));
    let storage = "storage:\n  fs:\n    root-directory: /srv/aar";
    let one = part(&json!({"port": 3000}));
    assert_eq!(one, part(&json!({"port": 3001, "log_level": "warn", "ua_token": "C1"})));
    assert_ne!(one, part(&json!({"port": 3000, "storage_config": storage})));
    // White space at its end is nothing.
    assert_eq!(
        part(&json!({"port": 3000, "storage_config": storage})),
        part(&json!({"port": 3000, "storage_config": format!("{storage}\n\n")}))
    );
}

#[test]
fn the_service_knows_the_proxies_and_where_it_may_write_and_only_root_reads_passwords() {
    assert_eq!(settings(&Proxies::default(), &Kept::Data), Settings::default());
    let proxies = Proxies {
        http: String::new(),
        https: "http://user:p%40ss@squid:3128".into(),
        no_proxy: "10.0.0.0/8,.internal \"x\"\n[Service]".into(),
    };
    let settings = settings(&proxies, &Kept::Directory("/srv/100% aar".into()));
    insta::assert_snapshot!(settings.unit, @r#"
    [Service]
    EnvironmentFile=/var/lib/aar-charm/environment
    ReadWritePaths="-/srv/100%% aar"
    "#);
    insta::assert_snapshot!(settings.environment.expose(), @r#"
    https_proxy="http://user:p%40ss@squid:3128"
    HTTPS_PROXY="http://user:p%40ss@squid:3128"
    no_proxy="10.0.0.0/8,.internal \"x\" [Service]"
    NO_PROXY="10.0.0.0/8,.internal \"x\" [Service]"
    "#);
    assert!(!format!("{settings:?}").contains("p%40ss"));
}
