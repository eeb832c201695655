//! The registry and those who use it, each with its own charm.

use aar_tests::juju::{ActionResult, Deploy};
use aar_tests::pack_ams;

use crate::Site;

impl Site {
    /// `juju deploy ./ams.charm NAME --config dialect=…`
    fn deploy_ams(&mut self, name: &str, config: &str) {
        let charm = pack_ams(self.people.path());
        let options = Deploy { name: Some(name.into()), config: vec![config.into()], ..Deploy::default() };
        self.model.deploy_with(&charm, options).unwrap();
    }

    /// `juju run NAME/0 ACTION …`
    #[track_caller]
    fn act(&mut self, name: &str, action: &str, parameters: &[&str]) -> ActionResult {
        let result = self.model.run(&format!("{name}/0"), action, parameters).unwrap();
        assert_eq!(result.status, "completed", "{result:?}\n{}", self.story());
        result
    }
}

#[test]
fn one_ams_pushes_and_others_pull_in_every_dialect_also_when_the_port_changes() {
    let mut site = Site::serving();
    for (name, dialect) in [("builder", "plain"), ("ams", "json"), ("ams-two", "escaped")] {
        site.deploy_ams(name, &format!("dialect={dialect}"));
    }
    site.model.relate("aar:publisher", "builder:registry-publisher").unwrap();
    let first = site.model.relate("aar:client", "ams:registry-client").unwrap();
    site.model.relate("ams-two:registry-client", "aar:client").unwrap();
    site.expect("active: serving 0 applications");

    site.act("builder", "push", &["name=game", "content=first"]);
    for name in ["ams", "ams-two", "builder"] {
        let pulled = site.act(name, "pull", &["name=game"]);
        assert_eq!(pulled.results["content"], "first");
    }
    let refused = site.model.run("ams/0", "push", &["name=other"]).unwrap();
    assert_eq!(refused.status, "failed");

    site.set("port", "4000");
    let pulled = site.act("ams", "pull", &["name=game"]);
    assert_eq!(pulled.results["content"], "first");
    assert!(pulled.results["registry"].as_str().unwrap().ends_with(":4000"), "{pulled:?}");

    site.model.remove_relation(first).unwrap();
    assert_eq!(site.model.unit_status("ams/0").current, "waiting");
    assert_eq!(site.act("ams-two", "list", &[]).results["applications"], "game");
    site.expect("active: serving 1 application");
}

#[test]
fn an_ams_on_the_wrong_endpoint_is_told_and_can_be_put_right() {
    let mut site = Site::serving();
    site.deploy_ams("ams", "mode=client");
    let wrong = site.model.relate("aar:publisher", "ams:registry-publisher").unwrap();
    site.expect_words("blocked: ", &["ams/0", "client", "publisher"]);
    let listed = site.model.run("ams/0", "list", &[]).unwrap();
    assert_eq!(listed.status, "failed", "{listed:?}");
    site.model.remove_relation(wrong).unwrap();
    site.model.relate("aar:client", "ams:registry-client").unwrap();
    site.expect("active: serving");
    site.act("ams", "list", &[]);
}
