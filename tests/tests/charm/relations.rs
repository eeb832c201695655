//! Relations: who is trusted, for how long, and what they are told.

use aar_model::Fingerprint;
use openssl::x509::X509;

use crate::{Site, UNIT, image};

#[test]
fn publishers_push_what_all_clients_pull_and_whoever_goes_is_refused_at_once() {
    let mut site = Site::serving();
    let (one, two, publisher) = (site.person("one"), site.person("two"), site.person("publisher"));
    assert!(!site.knows(&one));
    let before = site.daemon();
    let relations = [
        site.relate("client", "ams", &one),
        site.relate("client", "ams-two", &two),
        site.relate("publisher", "builder", &publisher),
    ];
    site.expect("active: serving");
    let image = image(500_000);
    site.push(&publisher, "game", &image);
    assert!(site.pull(&one, "game") == image && site.pull(&two, "game") == image);
    let refused =
        aar_tests::Connection::tls(site.address(), Some(&one)).push(&crate::path("other"), &image, &[]);
    assert_eq!(refused.status, 403, "a client may not push");

    for relation in relations {
        let certificate = site.told(relation, "certificate");
        let der = X509::from_pem(certificate.as_bytes()).unwrap().to_der().unwrap();
        assert_eq!(site.told(relation, "fingerprint"), Fingerprint::of(&der).to_string());
        assert_eq!(site.told(relation, "ip"), site.address().ip().to_string());
        assert_eq!(site.told(relation, "port"), "3000");
    }

    site.model.remove_relation(relations[0]).unwrap();
    assert!(!site.knows(&one) && site.knows(&two) && site.knows(&publisher));
    site.model.remote_depart(relations[1], "ams-two/0");
    assert!(!site.knows(&two) && site.knows(&publisher));
    assert_eq!(site.daemon(), before, "trust changes without a restart");
    site.expect("active: serving");
}

#[test]
fn a_certificate_that_two_relations_bring_stays_until_the_last_is_gone() {
    let mut site = Site::serving();
    let person = site.person("ams");
    let (one, two) = (site.relate("client", "ams", &person), site.relate("client", "ams-two", &person));
    let publisher = site.relate("publisher", "builder", &person);
    site.expect("active: serving");
    site.push(&person, "game", &image(1000));
    site.model.remove_relation(one).unwrap();
    assert!(site.knows(&person));
    site.model.remove_relation(publisher).unwrap();
    assert!(site.knows(&person));
    let refused =
        aar_tests::Connection::tls(site.address(), Some(&person)).push(&crate::path("other"), b"x", &[]);
    assert_eq!(refused.status, 403, "what the publisher's relation gave is gone with it");
    site.model.remove_relation(two).unwrap();
    assert!(!site.knows(&person));
}

#[test]
fn a_client_on_the_publisher_endpoint_is_told_both_names_and_the_others_go_on() {
    let mut site = Site::serving();
    let (client, wrong) = (site.person("client"), site.person("wrong"));
    site.relate("client", "ams", &client);
    let relation = site.model.relate_scripted("aar:publisher", "other").unwrap();
    site.model.remote_set(relation, "other/0", &[("certificate", &wrong.pem()), ("mode", "client")]);
    site.expect_words("blocked: ", &["other/0", "client", "publisher", "juju"]);
    assert!(site.knows(&client) && !site.knows(&wrong));
    site.model.remove_relation(relation).unwrap();
    site.expect("active: serving");
}

#[test]
fn certificates_come_in_every_dialect_and_garbage_is_told_by_its_unit() {
    let mut site = Site::serving();
    let relation = site.model.relate_scripted("aar:client", "ams").unwrap();
    site.model.remote_set(relation, "ams/0", &[]);
    site.expect_words("waiting: ", &["ams/0", "certificate"]);
    site.model.remote_set(relation, "ams/0", &[("certificate", "nonsense"), ("mode", "\"client\"")]);
    site.expect_words("blocked: ", &["ams/0"]);

    let (one, two) = (site.person("one"), site.person("two"));
    let quoted = serde_json::to_string(&one.pem()).unwrap();
    for certificate in [quoted, one.pem().replace('\n', "\\n"), format!("{}{}", two.pem(), one.pem())] {
        site.model.remote_set(relation, "ams/0", &[("certificate", &certificate)]);
        site.expect("active: serving");
        assert!(site.knows(&one), "{certificate}");
    }
    assert!(site.knows(&two), "both of two certificates count");
    site.model.remote_set(relation, "ams/0", &[("certificate", &one.pem())]);
    assert!(!site.knows(&two), "one that is not sent any more is gone");
}

#[test]
fn other_models_are_told_the_address_they_reach_the_unit_at() {
    let mut site = Site::serving();
    let person = site.person("ams");
    let outside = "198.51.100.7";
    let bind = site.address().ip().to_string();
    site.model.set_network(UNIT, "client", &bind, outside);
    let relation = site.model.relate_offered("aar:client", "ams").unwrap();
    site.model.remote_set(relation, "ams/0", &[("certificate", &person.pem()), ("mode", "client")]);
    assert_eq!(site.told(relation, "ip"), outside);
    assert!(site.knows(&person));
    site.set("location", "registry.example");
    assert_eq!(site.told(relation, "ip"), "registry.example");
}
