//! The stand-in for an AMS, against a daemon: it shows what an AMS shows, and gets no further than its certificate, the pin
//! and its role let it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use aar_model::Fingerprint;
use aar_tests::juju::{ActionResult, Deploy, JujuVersion, Model};
use aar_tests::{Connection, Daemon, Person, pack_ams};
use openssl::x509::X509;
use serde_json::json;
use tempfile::TempDir;

/// The charm in a model, related with a registry that the test speaks for.
struct Related {
    model: Model,
    relation: u32,
    _dir: TempDir,
}

fn deploy(settings: &[&str]) -> (Model, TempDir) {
    let dir = TempDir::with_prefix("ams").unwrap();
    let mut model = Model::new(JujuVersion::V4_0);
    let config = settings.iter().map(|&setting| setting.to_owned()).collect();
    model.deploy_with(&pack_ams(dir.path()), Deploy { config, ..Deploy::default() }).unwrap();
    (model, dir)
}

fn related(endpoint: &str, settings: &[&str]) -> Related {
    let (mut model, dir) = deploy(settings);
    let relation = model.relate_scripted(&format!("ams:{endpoint}"), "aar").unwrap();
    Related { model, relation, _dir: dir }
}

impl Related {
    fn shown(&self, key: &str) -> String {
        self.model.relation_data(self.relation, "ams/0").get(key).cloned().unwrap_or_default()
    }

    /// The registry says where it is and shows this certificate.
    fn meet(&mut self, daemon: &Daemon, certificate: &str, fingerprint: &str) {
        let (ip, port) = (daemon.address().ip().to_string(), daemon.address().port().to_string());
        let data = [("certificate", certificate), ("fingerprint", fingerprint), ("ip", &ip), ("port", &port)];
        self.model.remote_set(self.relation, "aar/0", &data);
    }

    /// As a registry does that trusts what it is shown.
    fn meet_and_trust(&mut self, daemon: &Daemon, role: &str) {
        let body = json!({ "certificate": self.shown("certificate"), "role": role }).to_string();
        assert_eq!(daemon.admin("POST", "/1.0/certificates", body.as_bytes()).status, 201);
        self.meet(daemon, &certificate(daemon), &daemon.fingerprint().to_string());
    }

    fn run(&mut self, action: &str, parameters: &[&str]) -> ActionResult {
        self.model.run("ams/0", action, parameters).unwrap()
    }
}

fn certificate(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.base().join("certs/server.crt")).unwrap()
}

fn is_certificate(text: &str) -> bool {
    X509::from_pem(text.as_bytes()).is_ok()
}

#[test]
fn each_dialect_says_the_same_in_its_own_way() {
    let mut it = related("registry-publisher", &[]);
    assert_eq!(it.shown("mode"), "publisher");
    let plain = it.shown("certificate");
    assert!(is_certificate(&plain) && plain.lines().count() > 2, "{plain}");

    it.model.config("ams", &["dialect=json"]).unwrap();
    assert_eq!(it.shown("mode"), "\"publisher\"");
    assert_eq!(it.shown("certificate"), json!(plain).to_string());

    it.model.config("ams", &["dialect=escaped"]).unwrap();
    assert_eq!(it.shown("mode"), "publisher");
    assert_eq!(it.shown("certificate"), plain.replace('\n', "\\n"));
}

#[test]
fn the_mode_is_the_endpoints_or_what_the_option_says() {
    let mut it = related("registry-client", &[]);
    assert_eq!(it.shown("mode"), "client");
    it.model.config("ams", &["mode=publisher"]).unwrap();
    assert_eq!(it.shown("mode"), "publisher");
}

#[test]
fn each_unit_has_one_certificate_on_all_its_relations_and_keeps_it() {
    let (mut model, dir) = deploy(&[]);
    model.add_unit("ams").unwrap();
    let publisher = model.relate_scripted("ams:registry-publisher", "aar").unwrap();
    let client = model.relate_scripted("ams:registry-client", "aar").unwrap();
    let shown = |model: &Model, relation, unit| model.relation_data(relation, unit)["certificate"].clone();
    let first = shown(&model, publisher, "ams/0");
    assert_eq!(first, shown(&model, client, "ams/0"));
    assert_ne!(first, shown(&model, publisher, "ams/1"));
    model.refresh("ams", &pack_ams(dir.path())).unwrap();
    assert_eq!(first, shown(&model, publisher, "ams/0"));
}

#[test]
fn a_publisher_pushes_lists_and_pulls_under_its_own_certificate() {
    let daemon = Daemon::spawn();
    let mut it = related("registry-publisher", &[]);
    assert_eq!(it.model.unit_status("ams/0").current, "waiting");
    it.meet_and_trust(&daemon, "publisher");
    let status = it.model.unit_status("ams/0");
    assert_eq!((status.current.as_str(), status.message), ("active", daemon.url()));

    let pushed = it.run("push", &["name=game", "content=what is pushed"]);
    assert_eq!(pushed.status, "completed", "{pushed:?}");
    assert_eq!(it.run("list", &[]).results["applications"], "game");
    assert_eq!(it.run("pull", &["name=game"]).results["content"], "what is pushed");
    let own = X509::from_pem(it.shown("certificate").as_bytes()).unwrap();
    let own = Fingerprint::of(&own.to_der().unwrap()).to_string();
    let push = daemon.log().into_iter().find(|entry| entry["method"] == "PATCH").unwrap();
    assert_eq!(push["fingerprint"], own.as_str());
}

#[test]
fn a_client_pulls_and_is_refused_a_push() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", b"from elsewhere");
    let mut it = related("registry-client", &[]);
    it.meet_and_trust(&daemon, "client");
    assert_eq!(it.run("pull", &["name=game"]).results["content"], "from elsewhere");
    let refused = it.run("push", &["name=another"]);
    assert_eq!(refused.status, "failed");
    assert!(refused.message.contains("exit status: 4"), "{refused:?}");
}

#[test]
fn who_is_not_trusted_is_told_so() {
    let daemon = Daemon::spawn();
    let mut it = related("registry-client", &[]);
    assert_eq!(it.run("list", &[]).message, "there is no registry yet");
    it.meet(&daemon, &certificate(&daemon), &daemon.fingerprint().to_string());
    let refused = it.run("list", &[]);
    assert_eq!(refused.status, "failed");
    assert!(refused.message.contains("not trusted"), "{refused:?}");
}

#[test]
fn another_server_than_the_relations_gets_nothing() {
    let (daemon, dir) = (Daemon::spawn(), TempDir::new().unwrap());
    let mut it = related("registry-publisher", &[]);
    it.meet_and_trust(&daemon, "publisher");
    // A certificate that another server has, and a fingerprint that is not the certificate's.
    let another = Person::new(dir.path(), "another");
    it.meet(&daemon, &another.pem(), &another.fingerprint().to_string());
    let refused = it.run("push", &["name=game"]);
    assert_eq!(refused.status, "failed");
    assert!(refused.message.contains("exit status: 7"), "{refused:?}");
    it.meet(&daemon, &another.pem(), &daemon.fingerprint().to_string());
    assert!(it.run("list", &[]).message.contains("the certificate's"));
    assert_eq!(it.model.unit_status("ams/0").current, "blocked");
    assert_eq!(daemon.admin("GET", "/1.0/applications", b"").metadata(), json!([]));
    assert_eq!(Connection::tls(daemon.address(), None).request("GET", "/1.0/status", &[], b"").status, 200);
}
