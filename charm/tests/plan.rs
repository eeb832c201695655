//! What the charm does, as a function of what there is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod simulation;

use aar_charm::event::{Kind, Proxies};
use aar_charm::facts::Facts;
use aar_charm::memory::{Attached, DataPlace};
use aar_charm::plan::{Step, plan};
use aar_charm::relation::Told;
use aar_charm::status::Status;
use aar_model::Digest;
use proptest::prelude::*;
use serde_json::{Value, json};
use simulation::{
    apply, brings, certificate, fresh, next, options, outcome, relation, serving, settle, source, told,
};

fn configured(settings: &Value) -> Facts {
    let mut facts = serving();
    let mut all = json!({"port": 3000, "ua_token": "C1"});
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    facts.juju.options = options(&all);
    facts
}

fn blocked(facts: Facts) -> String {
    let text = outcome(facts);
    text.lines().last().unwrap().strip_prefix("blocked: ").unwrap_or_else(|| panic!("{text}")).to_owned()
}

// Deploying

#[test]
fn without_a_token_all_is_made_ready_and_nothing_is_served() {
    insta::assert_snapshot!(outcome(fresh()), @r"
    install the program files
    make the user and its directories
    check and write the daemon's file
    keep the new version
    blocked: set ua_token: juju config aar ua_token=<token>
    ");
}

#[test]
fn with_a_token_the_registry_comes_to_serve() {
    let mut facts = fresh();
    facts.juju.options = options(&json!({"port": 3000, "ua_token": "C1"}));
    insta::assert_snapshot!(outcome(facts), @r"
    install the program files
    attach the machine to Ubuntu Pro
    make the user and its directories
    check and write the daemon's file
    start the daemon
    keep the new version
    show the version 1.2.3
    open port 3000
    remember
    active: serving 12 applications, 40 GiB on /var/lib/aar/data
    ");
}

#[test]
fn a_machine_that_is_attached_already_needs_no_token() {
    let mut facts = fresh();
    facts.machine.attached = Ok(true);
    settle(&mut facts);
    assert_eq!(facts.juju.remembered.attached, Some(Attached::Otherwise));
    assert!(facts.machine.service.is_up());
    // A token that comes later changes nothing.
    next(&mut facts, Kind::ConfigChanged);
    facts.juju.options = options(&json!({"port": 3000, "ua_token": "C1"}));
    assert!(!told(&settle(&mut facts)).contains("attach"));
}

#[test]
fn a_charm_without_a_registry_says_where_one_comes_from() {
    let mut facts = fresh();
    facts.machine.source = None;
    assert!(blocked(facts).contains("juju attach-resource aar aar=aar.tar.gz"));
}

#[test]
fn an_event_that_changes_nothing_does_nothing() {
    for kind in [
        Kind::ConfigChanged,
        Kind::UpdateStatus,
        Kind::Start,
        Kind::UpgradeCharm,
        Kind::Install,
        Kind::Other("client-relation-joined".into()),
    ] {
        let mut facts = serving();
        next(&mut facts, kind.clone());
        assert_eq!(plan(&facts).steps, [], "{kind:?}");
    }
}

// Ubuntu Pro

#[test]
fn another_token_attaches_anew_and_the_same_does_not() {
    let facts = configured(&json!({"ua_token": "C2"}));
    assert!(outcome(facts).starts_with("attach the machine to Ubuntu Pro anew\n"));
}

#[test]
fn a_refused_token_is_told_in_the_words_of_pro_and_nothing_is_served() {
    let mut facts = configured(&json!({"ua_token": "C2"}));
    facts.machine.attached = Ok(false);
    facts.run.attach = Some("Invalid token.".into());
    let plans = settle(&mut facts);
    assert!(told(&plans).contains("stop the daemon\nclose port 3000\n"), "{}", told(&plans));
    let status = &plans.last().unwrap().status;
    assert!(matches!(status, Status::Blocked(text) if text.ends_with("Invalid token.")), "{status}");
    assert_eq!(facts.juju.remembered.attached, None);
}

#[test]
fn while_pro_does_not_answer_what_serves_goes_on() {
    let mut facts = serving();
    facts.machine.attached = Err("no pro".into());
    let plans = settle(&mut facts);
    assert_eq!(plans.len(), 1);
    assert!(plans[0].status.message().contains("no pro"));
}

// Options

#[test]
fn what_needs_no_restart_is_reloaded() {
    for settings in
        [json!({"port": 3001}), json!({"log_level": "debug"}), json!({"public_interface": "eth0"})]
    {
        let text = outcome(configured(&settings));
        assert!(text.contains("reload the daemon") && !text.contains("restart"), "{settings}: {text}");
    }
}

#[test]
fn another_storage_restarts_and_the_proxies_too() {
    let storage = "storage:\n  fs:\n    root-directory: /srv/aar\n";
    insta::assert_snapshot!(outcome(configured(&json!({"storage_config": storage}))), @r"
    check and write the daemon's file
    write what is around the service
    restart the daemon
    active: serving 12 applications, 40 GiB on /var/lib/aar/data
    ");
    let mut facts = serving();
    facts.juju.event.proxies = Proxies { https: "http://squid:3128".into(), ..Proxies::default() };
    insta::assert_snapshot!(outcome(facts), @r"
    write what is around the service
    restart the daemon
    active: serving 12 applications, 40 GiB on /var/lib/aar/data
    ");
}

#[test]
fn another_port_is_opened_and_told_and_the_old_one_closed() {
    let mut facts = configured(&json!({"port": 3001}));
    facts.juju.relations = vec![relation("client:7", &[("ams/0", brings(&["ams"]))])];
    insta::assert_snapshot!(outcome(facts), @r"
    check and write the daemon's file
    reload the daemon, which then listens on 0.0.0.0:3001
    trust 1eecad494e4d3fe96b86dacd0f27d96151a52ec2b50da612c6533d811d2b3779 of ams/0 as client for relation:7
    open port 3001
    close port 3000
    tell client:7: certificate, fingerprint, ip, port
    remember
    active: serving 12 applications, 40 GiB on /var/lib/aar/data
    ");
}

#[test]
fn a_mistake_in_an_option_is_told_and_what_serves_goes_on() {
    for (settings, told) in [
        (json!({"port": 0}), "port is 1 to 65535, not 0: juju config aar port=3000"),
        (json!({"port": -5}), "port is 1 to 65535, not -5"),
        (
            json!({"log_level": "loud"}),
            "log_level: expected one of error, warn, info, debug, trace, found `loud`",
        ),
        (json!({"public_interface": "eth7"}), "there is no `eth7` with an address here, only eth0, eth1"),
        (json!({"location": "https://aar.example"}), "location is an IP address or a DNS name"),
        (
            json!({"storage_config": "storage:\n  s3:\n    bucket: aar0\n"}),
            "storage_config:3:5: storage.s3: the key `region` is missing",
        ),
        (json!({"storage_config": "storage:\n  s3: {}\n  fs: {}\n"}), "storage_config:2:7"),
        (json!({"storage_config": "{storage: {fs: {}}}"}), "without braces"),
        (json!({"storage_config": "http:\n  addr: x:1\n"}), "has the one key `storage:`"),
        (json!({"storage_config": "storage: [\n"}), "storage_config:"),
        (json!({"storage_config": "nonsense"}), "storage_config"),
    ] {
        let mut facts = configured(&settings);
        facts.juju.relations = vec![relation("client:7", &[("ams/0", brings(&["ams"]))])];
        let plans = settle(&mut facts);
        let status = plans.last().unwrap().status.to_string();
        assert!(status.starts_with("blocked: ") && status.contains(told), "{settings}: {status}");
        assert!(facts.machine.service.is_up());
        let touched = plans.iter().flat_map(|plan| &plan.steps);
        let touched: Vec<_> = touched
            .filter(|step| matches!(step, Step::Render(_) | Step::Restart | Step::Reload(_) | Step::Stop))
            .collect();
        assert!(touched.is_empty(), "{settings}: {touched:?}");
    }
}

#[test]
fn placeholders_that_were_left_in_are_all_named() {
    let fixture = |text: &str| {
        let all: Value = aar_config::from_yaml::<Value>(text, std::path::Path::new("fixture")).unwrap();
        blocked(configured(&all["aar"]))
    };
    insta::assert_snapshot!(fixture(include_str!("fixtures/juju-config-s3.yaml")), @"storage_config still has placeholders, put the real values there: storage.s3.access-key `<your access key>`, storage.s3.secret-access-key `<your secret access key>`");
    insta::assert_snapshot!(fixture(include_str!("fixtures/juju-config-cloudfront.yaml")), @"storage_config still has placeholders, put the real values there: storage.s3.access-key `<your access key>`, storage.s3.secret-access-key `<your secret access key>`, storage.s3.cloudfront.private-key `...`");
}

#[test]
fn what_the_daemon_does_not_take_is_not_tried_again_until_it_may_work() {
    let mut facts = configured(&json!({"port": 3001}));
    let before = facts.machine.config.clone();
    assert!(apply(&plan(&facts).steps[0], &mut facts));
    facts.run.service = Some("address in use".into());
    let restore = plan(&facts).steps;
    assert_eq!(restore, [Step::RestoreConfig("address in use".into())]);
    apply(&restore[0], &mut facts);
    facts.machine.config = before;
    let plans = settle(&mut facts);
    assert!(plans.last().unwrap().status.message().ends_with("address in use"));
    assert_eq!(facts.juju.memory.port, Some(3000));

    next(&mut facts, Kind::UpdateStatus);
    assert_eq!(plan(&facts).steps, []);
    assert!(plan(&facts).status.message().ends_with("address in use"));
    next(&mut facts, Kind::ConfigChanged);
    assert!(matches!(plan(&facts).steps[..], [Step::Render(_)]));
}

// Upgrades

#[test]
fn a_new_version_is_kept_once_it_is_ready() {
    let mut facts = serving();
    next(&mut facts, Kind::UpgradeCharm);
    facts.machine.source = Some(source("two"));
    insta::assert_snapshot!(outcome(facts), @r"
    install the program files
    restart the daemon
    keep the new version
    active: serving 12 applications, 40 GiB on /var/lib/aar/data
    ");
}

#[test]
fn a_version_that_does_not_become_ready_goes_and_is_not_tried_again_before_the_next_upgrade() {
    let mut facts = serving();
    next(&mut facts, Kind::UpgradeCharm);
    facts.machine.source = Some(source("two"));
    assert!(apply(&plan(&facts).steps[0], &mut facts));
    assert_eq!(plan(&facts).steps, [Step::Restart]);
    facts.machine.service.active = "failed".into();
    facts.machine.summary = None;
    facts.run.service = Some("it panics".into());
    insta::assert_snapshot!(told(&settle(&mut facts)), @r"
    go back to the version before: it panics
    start the daemon
    blocked: the new version did not become ready, the one before goes on until the charm is refreshed again: it panics
    ");
    for kind in [Kind::ConfigChanged, Kind::UpdateStatus, Kind::Start] {
        next(&mut facts, kind);
        assert_eq!(plan(&facts).steps, []);
    }
    next(&mut facts, Kind::UpgradeCharm);
    assert_eq!(plan(&facts).steps, [Step::Install]);
}

#[test]
fn an_upgrade_that_was_cut_off_goes_on() {
    let mut facts = serving();
    next(&mut facts, Kind::UpgradeCharm);
    facts.machine.source = Some(source("two"));
    apply(&Step::Install, &mut facts);
    // Killed, and another hook comes.
    next(&mut facts, Kind::ConfigChanged);
    assert!(
        outcome(facts).starts_with("install the program files\nrestart the daemon\nkeep the new version\n")
    );
}

#[test]
fn the_same_files_unpacked_again_restart_nothing() {
    let mut facts = serving();
    next(&mut facts, Kind::UpgradeCharm);
    facts.machine.source.as_mut().unwrap().version.look = Digest::of(b"other");
    assert!(outcome(facts).starts_with("note that the program files are the same\nactive: "));
}

#[test]
fn a_full_disk_while_installing_leaves_the_daemon_alone() {
    let mut facts = serving();
    next(&mut facts, Kind::UpgradeCharm);
    facts.machine.source = Some(source("two"));
    facts.machine.notes.pending = Some(source("two").version);
    facts.machine.can_go_back = true;
    facts.run.installed = true;
    facts.run.install = Some("no space left".into());
    assert!(matches!(&plan(&facts).steps[..], [Step::RollBack(_)]));
    let text = outcome(facts);
    assert!(!text.contains("stop") && !text.contains("restart"), "{text}");
    assert!(text.contains("no space left"), "{text}");
}

// Relations

#[test]
fn what_a_relation_brings_is_trusted_for_it_alone() {
    let mut facts = serving();
    facts.juju.relations = vec![
        relation("client:7", &[("ams/0", brings(&["a", "b"])), ("ams/1", brings(&["a"]))]),
        relation("publisher:8", &[("ams/0", brings(&["a"]))]),
    ];
    settle(&mut facts);
    let sources = |facts: &Facts, name: &str| {
        let trusted = facts.machine.trusted.clone().unwrap();
        let known = trusted.into_iter().find(|known| known.fingerprint == certificate(name).fingerprint);
        known.map(|known| known.sources).unwrap_or_default()
    };
    assert_eq!(sources(&facts, "a"), ["relation:7", "relation:8"]);
    assert_eq!(sources(&facts, "b"), ["relation:7"]);

    // One unit goes; the other still brings it.
    next(&mut facts, Kind::Other("client-relation-departed".into()));
    facts.juju.relations[0].units.remove(0);
    settle(&mut facts);
    assert_eq!((sources(&facts, "a").len(), sources(&facts, "b").len()), (2, 0));

    facts.machine.trusted.as_mut().unwrap()[0].sources.push("operator".into());
    next(&mut facts, Kind::Other("client-relation-broken".into()));
    facts.juju.relations.clear();
    settle(&mut facts);
    assert_eq!(sources(&facts, "a"), ["operator"]);
    assert_eq!(facts.juju.remembered.published.len(), 0);
}

#[test]
fn one_wrong_relation_does_not_keep_the_others_from_working() {
    let mut facts = serving();
    facts.juju.relations = vec![
        relation("client:7", &[("ams/0", Told::OtherMode("publisher".into()))]),
        relation("client:8", &[("remote-0a1b/0", Told::OtherMode("client-ish".into()))]),
        relation(
            "client:9",
            &[("good/0", brings(&["good"])), ("late/0", Told::Nothing), ("odd/0", Told::Garbage)],
        ),
    ];
    let plans = settle(&mut facts);
    insta::assert_snapshot!(plans.last().unwrap().status.message(), @"ams/0 wants the mode publisher on the endpoint client: juju remove-relation 7, then juju integrate aar:publisher ams; remote-0a1b/0 wants the mode client-ish on the endpoint client: juju remove-relation 8; what odd/0 sends in the relation client:9 is no certificate: mend it there, or juju remove-relation 9");
    assert_eq!(facts.machine.trusted.unwrap().len(), 1);
    assert_eq!(facts.juju.remembered.published.len(), 3);
}

#[test]
fn a_certificate_that_has_not_come_is_waited_for() {
    let mut facts = serving();
    facts.juju.relations = vec![relation("client:7", &[("ams/0", Told::Nothing)]), relation("client:8", &[])];
    let plans = settle(&mut facts);
    let status = Status::Waiting("for ams/0 to send its certificate in the relation client:7".into());
    assert_eq!(plans.last().unwrap().status, status);
    // Who has no units yet is told nothing.
    assert_eq!(facts.juju.remembered.published.keys().collect::<Vec<_>>(), ["client:7"]);
}

#[test]
fn a_revoked_certificate_stays_out() {
    let mut facts = serving();
    facts.juju.relations = vec![relation("client:7", &[("ams/0", brings(&["ams"]))])];
    facts.machine.revoked = vec![certificate("ams").fingerprint];
    assert!(blocked(facts).contains("ams/0 in the relation client:7 is revoked"));
}

#[test]
fn what_the_registry_does_not_take_is_told_with_its_unit_and_tried_once() {
    let mut facts = serving();
    facts.juju.relations = vec![relation("client:7", &[("ams/0", brings(&["ams"]))])];
    let key = ("relation:7".to_owned(), certificate("ams").fingerprint);
    facts.run.trust.insert(key, "this is not a certificate".into());
    assert!(blocked(facts).starts_with("the certificate of ams/0 in the relation client:7: this is not"));
}

#[test]
fn relations_are_told_the_address_that_leads_here() {
    let address = |settings: &Value| {
        let mut facts = configured(settings);
        facts.juju.relations = vec![relation("client:7", &[("ams/0", brings(&["ams"]))])];
        let plans = settle(&mut facts);
        let data = plans.iter().flat_map(|plan| &plan.steps).find_map(|step| match step {
            Step::Publish { data, .. } => Some(data.clone()),
            _ => None,
        });
        data.map(|data| (data["ip"].clone(), data["port"].clone()))
    };
    let some = |ip: &str, port: &str| Some((ip.to_owned(), port.to_owned()));
    assert_eq!(address(&json!({})), some("10.0.0.5", "3000"));
    assert_eq!(address(&json!({"location": "aar.example", "port": 443})), some("aar.example", "443"));
    assert_eq!(address(&json!({"location": "[fd00::1]"})), some("fd00::1", "3000"));
    assert_eq!(address(&json!({"public_interface": "eth1"})), some("fd00::5", "3000"));
    assert_eq!(address(&json!({"public_interface": "eth1", "location": "1.2.3.4"})), some("1.2.3.4", "3000"));
    assert_eq!(address(&json!({"location": "https://wrong"})), None);
}

#[test]
fn an_observer_is_told_once_and_metrics_are_served_for_it() {
    let mut facts = serving();
    facts.juju.observers = vec!["cos-agent:3".into()];
    facts.juju.observed = Ok(Some("{}".into()));
    let text = outcome(facts.clone());
    assert!(text.contains("reload") && text.contains("tell cos-agent:3: config"), "{text}");
    settle(&mut facts);
    assert!(facts.machine.config.as_ref().unwrap().expose().contains("metrics:\n  addr: 127.0.0.1:9464\n"));
    next(&mut facts, Kind::UpdateStatus);
    assert_eq!(plan(&facts).steps, []);
}

// Units and storage

#[test]
fn a_second_unit_on_a_disk_does_not_serve_and_the_first_goes_on() {
    let mut facts = serving();
    facts.juju.units = vec!["aar/0".into(), "aar/10".into()];
    assert_eq!(plan(&facts).steps, []);
    facts.juju.event.unit = "aar/10".into();
    let text = outcome(facts.clone());
    assert!(text.contains("stop the daemon"), "{text}");
    assert!(text.contains("storage fs is for a single unit: juju remove-unit aar/10"), "{text}");
    let bucket = "storage:\n  s3:\n    region: eu-west-3\n    bucket: aar0\n";
    facts.juju.options = options(&json!({"port": 3000, "ua_token": "C1", "storage_config": bucket}));
    assert!(outcome(facts).contains("active: "));
}

#[test]
fn storage_that_comes_or_goes_under_the_images_stops_the_registry() {
    let mut facts = serving();
    assert_eq!(facts.juju.remembered.data, Some(DataPlace::Disk));
    facts.machine.data_is_mounted = true;
    assert!(blocked(facts.clone()).contains("juju detach-storage data/<number>"));
    assert!(outcome(facts.clone()).contains("stop the daemon"));

    facts.juju.memory.data = Some(DataPlace::Storage);
    assert!(!outcome(facts.clone()).contains("stop"));
    facts.machine.data_is_mounted = false;
    assert!(blocked(facts.clone()).contains("juju attach-storage aar/0 data/<number>"));
    facts.machine.data_is_mounted = true;
    next(&mut facts, Kind::DataDetaching);
    assert!(outcome(facts).ends_with("waiting: for the storage data to be detached"));
}

// The service

#[test]
fn a_daemon_that_went_down_is_started() {
    let mut facts = serving();
    facts.machine.service.active = "failed".into();
    facts.machine.summary = None;
    assert!(outcome(facts.clone()).starts_with("start the daemon\nactive: "));
    facts.run.service = Some("cannot open the storage".into());
    let status = blocked(facts);
    assert!(status.contains("does not start") && status.ends_with("cannot open the storage"), "{status}");
}

#[test]
fn a_daemon_that_ends_at_once_is_not_started_on_and_on() {
    let mut facts = serving();
    facts.machine.service.active = "failed".into();
    facts.machine.summary = None;
    facts.run.started = true;
    assert_eq!(plan(&facts).steps, [Step::ClosePort(3000)]);
    assert!(blocked(facts).contains("journalctl -u aard"));
}

#[test]
fn a_storage_out_of_reach_is_told_with_what_shows_why() {
    let mut facts = serving();
    if let Some(Ok(summary)) = &mut facts.machine.summary {
        (summary.state, summary.storage) = ("degraded".into(), "s3://aar0".into());
    }
    assert!(blocked(facts).contains("s3://aar0 cannot be used"));
}

#[test]
fn leaving_stops_the_daemon_and_takes_the_files_but_not_the_data() {
    let mut facts = serving();
    next(&mut facts, Kind::Stop);
    insta::assert_snapshot!(told(&settle(&mut facts)), @r"
    stop the daemon
    maintenance: stopped; the data stays in /var/lib/aar
    ");
    next(&mut facts, Kind::Remove);
    insta::assert_snapshot!(told(&settle(&mut facts)), @r"
    remove the program files
    maintenance: stopped; the data stays in /var/lib/aar
    ");
}

#[test]
fn no_plan_shows_a_secret() {
    let mut facts = fresh();
    let bucket = "storage:\n  s3:\n    region: eu-west-3\n    bucket: aar0\n    access-key: AKIDSECRET\n    secret-access-key: KEYSECRET\n";
    facts.juju.options = options(&json!({"port": 3000, "ua_token": "TOKENSECRET", "storage_config": bucket}));
    for plan in settle(&mut facts) {
        let shown = format!("{plan}{plan:?}{facts:?}");
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Install),
        Just(Kind::UpgradeCharm),
        Just(Kind::Start),
        Just(Kind::ConfigChanged),
        Just(Kind::UpdateStatus),
        Just(Kind::Other("client-relation-changed".into())),
        Just(Kind::Stop),
    ]
}

fn tellings() -> impl Strategy<Value = Told> {
    prop_oneof![
        Just(Told::Nothing),
        Just(Told::Garbage),
        Just(Told::OtherMode("publisher".into())),
        proptest::sample::subsequence(vec!["a", "b", "c"], 1..3).prop_map(|names| brings(&names)),
    ]
}

/// What operators and others may have done before an event: the event, the port, whether there is a token, what program
/// files the charm has, and relations with what their units tell.
type Change = (Kind, u16, bool, Option<&'static str>, Vec<(bool, Vec<Told>)>);

fn changes() -> impl Strategy<Value = Change> {
    let relations =
        proptest::collection::vec((any::<bool>(), proptest::collection::vec(tellings(), 0..3)), 0..3);
    let files = proptest::option::of(proptest::sample::select(vec!["one", "two"]));
    (kinds(), 3000..3003_u16, any::<bool>(), files, relations)
}

proptest! {
    /// Whatever happened before, an event comes to an end, and the same event again does nothing.
    #[test]
    fn every_history_settles_and_then_rests(
        history in proptest::collection::vec((changes(), 0..12_usize), 1..6)
    ) {
        let mut facts = fresh();
        for ((kind, port, token, files, relations), killed_after) in history {
            next(&mut facts, kind.clone());
            let token = if token { "C1" } else { "" };
            facts.juju.options = options(&json!({"port": port, "ua_token": token}));
            if let Some(files) = files {
                facts.machine.source = Some(source(files));
            }
            facts.juju.relations = relations.into_iter().enumerate().map(|(number, (publisher, units))| {
                let id = format!("{}:{number}", if publisher { "publisher" } else { "client" });
                let names: Vec<_> = (0..units.len()).map(|unit| format!("ams/{unit}")).collect();
                let units: Vec<_> = names.iter().map(String::as_str).zip(units).collect();
                relation(&id, &units)
            }).collect();
            // The hook is killed after some steps: what Juju was told is forgotten, what was done to the machine is not.
            let remembered = facts.juju.remembered.clone();
            let steps: Vec<_> = std::iter::from_fn(|| {
                let steps = plan(&facts).steps;
                (!steps.is_empty()).then(|| apply(&steps[0], &mut facts))
            }).take(killed_after).collect();
            prop_assert!(steps.len() <= killed_after);
            (facts.juju.memory, facts.juju.remembered) = (remembered.clone(), remembered);
            next(&mut facts, kind.clone());

            let mut twin = facts.clone();
            let end = settle(&mut facts).pop();
            next(&mut facts, kind.clone());
            prop_assert_eq!(plan(&facts), end.clone().unwrap());
            prop_assert_eq!(settle(&mut twin).pop(), end);
        }
    }
}
