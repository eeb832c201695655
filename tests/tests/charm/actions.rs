//! Actions.

use aar_tests::juju::ActionResult;
use serde_json::json;

use crate::{Site, UNIT};

#[test]
fn clients_without_a_relation_are_registered_listed_removed_and_revoked() {
    let mut site = Site::serving();
    let person = site.person("laptop");
    let added = site.model.run_with(
        UNIT,
        "register-client",
        json!({"certificate": person.pem(), "role": "publisher"}),
    );
    assert_eq!(added.unwrap().status, "completed");
    assert!(site.knows(&person));
    let listed = site.model.run(UNIT, "list-clients", &[]).unwrap();
    let fingerprint = person.fingerprint().to_string();
    assert!(said(&listed).contains(&fingerprint), "{listed:?}");

    // A relation comes and goes: what the operator has registered stays.
    let relation = site.relate("client", "ams", &person);
    site.model.remove_relation(relation).unwrap();
    assert!(site.knows(&person));

    let removed = site.model.run(UNIT, "remove-client", &[&format!("fingerprint={fingerprint}")]).unwrap();
    assert_eq!(removed.status, "completed", "{removed:?}");
    assert!(!site.knows(&person));

    let relation = site.relate("client", "ams", &person);
    assert!(site.knows(&person));
    let revoked = site.model.run(UNIT, "revoke-client", &[&format!("fingerprint={fingerprint}")]).unwrap();
    assert_eq!(revoked.status, "completed", "{revoked:?}");
    assert!(!site.knows(&person));
    // A revoked certificate stays out, whoever brings it, and whoever reads the status learns why.
    site.model.update_status(UNIT);
    assert!(!site.knows(&person));
    site.expect_words("blocked: ", &["ams/0", "revoked"]);
    site.model.remove_relation(relation).unwrap();
    site.expect("active: serving");
    let listed = site.model.run(UNIT, "list-clients", &["revoked=true"]).unwrap();
    assert!(said(&listed).contains(&fingerprint), "{listed:?}");
}

#[test]
fn actions_that_cannot_be_done_fail_with_a_sentence() {
    let mut site = Site::serving();
    for (action, parameters) in [
        ("register-client", json!({"certificate": "nonsense"})),
        ("remove-client", json!({"fingerprint": "deadbeef"})),
        ("revoke-client", json!({"fingerprint": "deadbeef"})),
        ("restore", json!({"path": "/nonesuch"})),
        ("backup", json!({"path": "/nonesuch/backup.tar"})),
    ] {
        let result = site.model.run_with(UNIT, action, parameters).unwrap();
        assert_eq!(result.status, "failed", "{action}: {result:?}");
        assert!(
            result.message.contains(' ') && !result.message.contains("exit status"),
            "{action}: {result:?}"
        );
    }
    assert!(site.model.run_with(UNIT, "register-client", json!({"role": "client"})).is_err());
    site.expect("active: serving");
}

#[test]
fn the_registry_is_looked_after_by_actions() {
    let mut site = Site::serving();
    let publisher = site.person("publisher");
    site.relate("publisher", "builder", &publisher);
    let shown = site.model.run(UNIT, "show-certificate", &[]).unwrap();
    assert_eq!(shown.status, "completed", "{shown:?}");
    assert!(said(&shown).contains("BEGIN CERTIFICATE"), "{shown:?}");
    let image = crate::image(10_000);
    site.push(&publisher, "game", &image);
    let saved = site.model.run(UNIT, "backup", &["path=/root/aar.tar"]).unwrap();
    assert_eq!(saved.status, "completed", "{saved:?}");
    assert_eq!(site.machine().files().state("/root/aar.tar").permissions(), 0o600);
    site.request(&publisher, "DELETE", "/1.0/applications/game", b"");
    for action in ["check-storage", "rebuild-index", "collect-garbage"] {
        let result = site.model.run(UNIT, action, &[]).unwrap();
        assert_eq!(result.status, "completed", "{action}: {result:?}");
    }
    let restored = site.model.run(UNIT, "restore", &["path=/root/aar.tar"]).unwrap();
    assert_eq!(restored.status, "completed", "{restored:?}");
    assert!(site.pull(&publisher, "game") == image);
    site.expect("active: serving");
}

fn said(result: &ActionResult) -> String {
    serde_json::to_string(&result.results).unwrap()
}
