//! Deploy, configure, serve, remove.

use aar_tests::juju::Deploy;
use aar_tests::s3::S3Server;
use aar_tests::{Edge, Object};
use openssl::pkey::PKey;
use openssl::rsa::Rsa;

use crate::{Site, TOKEN, UNIT, fixture_text, image};

#[test]
fn a_registry_serves_once_its_machine_is_attached_to_ubuntu_pro() {
    let mut site = Site::deployed();
    site.expect("blocked: set ua_token: juju config aar ua_token=<token>");
    assert!(site.is_closed(3000));
    let pro = site.machine();
    let pro = pro.pro();
    pro.accept(&[TOKEN]);

    site.set("ua_token", "C1wrong");
    site.expect_words("blocked: ", &["Invalid token", "ua_token"]);
    assert!(site.is_closed(3000) && pro.attached().is_none());

    site.set("ua_token", TOKEN);
    site.expect("active: serving 0 applications");
    assert_eq!((pro.attached().as_deref(), pro.services()), (Some(TOKEN), Vec::new()));
    assert!(!site.is_closed(3000));
    assert_eq!(site.model.open_ports(UNIT), ["3000/tcp"]);
    let version = site.model.status()["applications"]["aar"]["version"].clone();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let machine = site.machine();
    assert_eq!(machine.property("aard", "UnitFileState"), "enabled");
    let config = machine.files().state("/var/lib/aar/config.yaml").clone();
    assert_eq!(config.permissions(), 0o600);

    // Another token: the machine is attached anew.
    pro.accept(&[TOKEN, "C1other"]);
    site.set("ua_token", "C1other");
    site.expect("active: ");
    assert_eq!(pro.attached().as_deref(), Some("C1other"));
}

#[test]
fn a_machine_that_is_attached_already_stays_as_it_is() {
    let mut site = Site::deployed();
    site.machine().pro().accept(&["C1landscape"]);
    site.machine().say(&["pro", "attach", "C1landscape"]);
    site.model.update_status(UNIT);
    site.expect("active: serving");
    assert_eq!(site.machine().pro().attached().as_deref(), Some("C1landscape"));
    assert!(site.machine().pro().calls().iter().all(|call| call.arguments[0] != "detach"));
}

#[test]
fn the_fixture_for_s3_is_told_its_placeholders_and_serves_once_they_are_filled_in() {
    let mut site = Site::serving();
    let publisher = site.person("publisher");
    site.relate("publisher", "builder", &publisher);
    let before = site.daemon();
    site.set_file(&fixture_text("juju-config-s3.yaml"));
    site.expect_words("blocked: ", &["access-key", "<your access key>", "<your secret access key>"]);
    assert!(site.knows(&publisher), "the configuration before still serves");
    assert_eq!(site.daemon(), before);

    let server = S3Server::shared_juicefs();
    let text = site.filled("juju-config-s3.yaml", &server, "session/");
    site.set_file(&text);
    site.expect_words("active: serving 0 applications", &["s3://"]);
    let image = image(300_000);
    site.push(&publisher, "game", &image);
    assert!(site.pull(&publisher, "game") == image);
    assert!(server.client().list("session/").iter().any(|key| key.contains("images/")));
    site.model.update_status(UNIT);
    site.expect("active: serving 1 application");
}

#[test]
fn the_fixture_for_cloudfront_is_told_its_placeholders_and_serves_once_they_are_filled_in() {
    let mut site = Site::serving();
    let publisher = site.person("publisher");
    site.relate("publisher", "builder", &publisher);
    site.set_file(&fixture_text("juju-config-cloudfront.yaml"));
    site.expect_words("blocked: ", &["<your access key>", "private-key"]);
    assert!(site.knows(&publisher));

    let server = S3Server::shared_juicefs();
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let public = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
    let client = server.client();
    let edge = Edge::start(&[("ADF443JOEF3423JF", public)], move |path| {
        client.get(path.trim_start_matches('/')).map(Object::Bytes)
    });
    let address = edge.base_url().strip_prefix("http://").unwrap().parse().unwrap();
    let base_url = format!("http://{}", site.model.network().offer(address));
    let pem = String::from_utf8(key.rsa().unwrap().private_key_to_pem().unwrap()).unwrap();
    let body: String =
        pem.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n            ");
    let text = site
        .filled("juju-config-cloudfront.yaml", &server, "cloudfront/")
        .replace("d1dfsdfjmcefekdotjm.cloudfront.net", &base_url)
        .replace("...", &body);
    site.set_file(&text);
    site.expect_words("active: serving 0 applications", &["s3://"]);
    let image = image(300_000);
    site.push(&publisher, "game", &image);
    let answer = site.request(&publisher, "GET", &crate::path("game"), b"");
    let url = answer.header("location").unwrap();
    assert!(url.starts_with(&base_url) && url.contains("Key-Pair-Id=ADF443JOEF3423JF"), "{url}");
    assert!(site.pull(&publisher, "game") == image);
}

#[test]
fn a_mistake_in_an_option_is_told_and_the_registry_goes_on() {
    let mut site = Site::serving();
    let client = site.person("client");
    site.relate("client", "ams", &client);
    let before = site.daemon();
    for (key, wrong, right, words) in [
        ("storage_config", "storage: {fs: {root: /x}}", "", ["storage_config", "root"]),
        (
            "storage_config",
            "storage:\n  fs:\n    root-directory: relative\n",
            "",
            ["storage_config", "root-directory"],
        ),
        ("port", "70000", "3000", ["port", "70000"]),
        ("log_level", "loud", "info", ["log_level", "loud"]),
        ("public_interface", "eth7", "", ["public_interface", "eth7"]),
        ("location", "https://registry", "", ["location", "https://registry"]),
    ] {
        site.set(key, wrong);
        site.expect_words("blocked: ", &words);
        assert!(site.knows(&client), "{key}");
        site.set(key, right);
        site.expect("active: serving");
    }
    assert_eq!(site.daemon(), before, "no mistake has touched the daemon");
}

#[test]
fn another_port_is_opened_carried_by_relations_and_the_old_one_closed() {
    let mut site = Site::serving();
    let client = site.person("client");
    let relation = site.relate("client", "ams", &client);
    assert_eq!(site.told(relation, "port"), "3000");
    let before = site.daemon();
    site.set("port", "4000");
    site.expect("active: ");
    site.port = 4000;
    assert_eq!(site.told(relation, "port"), "4000");
    assert_eq!(site.model.open_ports(UNIT), ["4000/tcp"]);
    assert!(site.is_closed(3000));
    assert!(site.knows(&client));
    assert_eq!(site.daemon(), before, "without a restart");
}

#[test]
fn images_on_juju_storage_are_there_after_a_reboot() {
    let options = Deploy { storage: vec!["data".into()], ..Deploy::default() };
    let mut site = Site::deployed_with(options);
    site.machine().pro().accept(&[TOKEN]);
    site.set("ua_token", TOKEN);
    site.expect("active: serving");
    let publisher = site.person("publisher");
    site.relate("publisher", "builder", &publisher);
    let image = image(100_000);
    site.push(&publisher, "game", &image);
    assert!(site.machine().files().0.keys().any(|path| {
        let path = path.to_string_lossy();
        path.contains("/storage-disks/data-0/images/")
    }));
    site.model.reboot(UNIT);
    site.expect("active: serving 1 application");
    assert!(site.pull(&publisher, "game") == image);
}

#[test]
fn a_second_unit_on_the_disk_is_blocked_and_the_first_serves() {
    let mut site = Site::serving();
    site.model.add_unit("aar").unwrap();
    let second = site.model.unit_status("aar/1");
    assert!(
        second.current == "blocked" && second.message.contains("storage fs is for a single unit"),
        "{second:?}"
    );
    site.expect("active: serving");
    site.model.remove_unit("aar/1").unwrap();
    site.expect("active: serving");
}

#[test]
fn a_daemon_that_was_stopped_by_hand_is_started_again() {
    let mut site = Site::serving();
    site.machine().say(&["systemctl", "stop", "aard"]);
    site.model.update_status(UNIT);
    site.expect("active: serving");
    assert!(!site.is_closed(3000));
}

#[test]
fn a_daemon_that_would_not_come_back_after_a_reboot_is_enabled_again() {
    let mut site = Site::serving();
    site.machine().say(&["systemctl", "disable", "aard"]);
    site.model.update_status(UNIT);
    assert_eq!(site.machine().say(&["systemctl", "is-enabled", "aard"]).trim(), "enabled");
    site.expect("active: serving");
}

#[test]
fn a_unit_that_is_removed_leaves_its_data_and_nothing_that_runs() {
    let mut site = Site::serving();
    let publisher = site.person("publisher");
    site.relate("publisher", "builder", &publisher);
    site.push(&publisher, "game", &image(1000));
    let machine = site.machine();
    site.model.remove_unit(UNIT).unwrap();
    assert_eq!(site.model.history(UNIT).last().unwrap(), "remove");
    assert_ne!(machine.property("aard", "ActiveState"), "active");
    assert!(site.is_closed(3000));
    let files = machine.files().0;
    let is_there = |text: &str| files.keys().any(|path| path.to_string_lossy().contains(text));
    assert!(is_there("/var/lib/aar/data/images/sha256/"));
    assert!(is_there("/var/lib/aar/certs/server.key"));
    let wanted = machine.run(&["systemctl", "list-unit-files", "aard.service"]);
    assert!(!String::from_utf8_lossy(&wanted.stdout).contains("enabled"), "{wanted:?}");
}
