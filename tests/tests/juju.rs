//! The stand-in for Juju's unit agent behaves as Juju: to charms of shell that call its tools, and to a charm that uses
//! `ops` as most charms do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aar_tests::juju::{ActionResult, Deploy, JujuVersion, Model, Outcome, Status, ToolCall, Verdict};
use aar_tests::ops_python;
use tempfile::TempDir;

const METADATA: &str = "
name: aar
summary: s
description: d
provides:
  client: {interface: aar}
  publisher: {interface: aar, limit: 1}
storage:
  data: {type: filesystem, location: /srv/data, multiple: {range: 0-1}}
resources:
  aar: {type: file, filename: aar.bin}
";

const CONFIG: &str = "
options:
  port: {type: int, default: 3000}
  big: {type: int, default: 1000000}
  ratio: {type: float, default: 0.5}
  loud: {type: boolean, default: false}
  ua_token: {type: string}
  location: {type: string, default: ''}
";

const ACTIONS: &str = "
try:
  description: runs a script
  params:
    script: {type: string}
greet:
  description: greets
  params:
    name: {type: string}
    times: {type: integer, minimum: 1, default: 2}
  required: [name]
  additionalProperties: false
";

/// A charm of shell. `hooks` is run for every event; the action `try` runs what it is given.
fn charm(hooks: &str) -> TempDir {
    let dir = TempDir::with_prefix("charm").unwrap();
    fs::write(dir.path().join("metadata.yaml"), METADATA).unwrap();
    fs::write(dir.path().join("config.yaml"), CONFIG).unwrap();
    fs::write(dir.path().join("actions.yaml"), ACTIONS).unwrap();
    write_dispatch(dir.path(), hooks);
    dir
}

fn write_dispatch(dir: &Path, hooks: &str) {
    let script = format!(
        "#!/bin/sh\nhook=${{JUJU_DISPATCH_PATH#*/}}\nif [ \"$hook\" = try ]; then eval \"$(action-get script)\"; exit; fi\n{hooks}\n"
    );
    let path = dir.join("dispatch");
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn model() -> Model {
    Model::new(JujuVersion::V3_6)
}

fn deployed(hooks: &str) -> Model {
    let mut model = model();
    model.deploy(charm(hooks).path()).unwrap();
    model
}

fn attempt(model: &mut Model, script: &str) -> ActionResult {
    model.run_with("aar/0", "try", serde_json::json!({ "script": script })).unwrap()
}

/// Exit status, standard output and standard error of a script that runs within an action.
fn answer(model: &mut Model, script: &str) -> (i64, String, String) {
    let results = attempt(model, script).results;
    let text = |key: &str| results.get(key).and_then(|it| it.as_str()).unwrap_or_default().to_owned();
    (results["return-code"].as_i64().unwrap(), text("stdout"), text("stderr"))
}

fn check(model: &mut Model, table: &[(&str, i64, &str, &str)]) {
    for (script, code, stdout, stderr) in table {
        let stderr = if stderr.is_empty() { String::new() } else { format!("ERROR {stderr}\n") };
        assert_eq!(answer(model, script), (*code, (*stdout).to_owned(), stderr), "{script}");
    }
}

fn names(model: &Model, unit: &str) -> Vec<String> {
    model.runs(unit).into_iter().map(|run| run.name).collect()
}

/// The part of a history that came after `before` runs.
fn since(model: &Model, unit: &str, before: usize) -> Vec<String> {
    model.history(unit).split_off(before)
}

// Tools

#[test]
fn settings_are_read_in_every_format() {
    let mut model = deployed("");
    check(
        &mut model,
        &[
            ("config-get port", 0, "3000\n", ""),
            ("config-get --format=json port", 0, "3000\n", ""),
            ("config-get big", 0, "1e+06\n", ""),
            ("config-get --format json big", 0, "1000000\n", ""),
            ("config-get loud", 0, "False\n", ""),
            ("config-get --format=yaml loud", 0, "false\n", ""),
            ("config-get ua_token", 0, "", ""),
            ("config-get --format=json ua_token", 0, "null\n", ""),
            ("config-get location", 0, "", ""),
            ("config-get --format=yaml location", 0, "\"\"\n", ""),
            ("config-get nonesuch --format=json", 0, "null\n", ""),
            (
                "config-get --format=json",
                0,
                "{\"big\":1000000,\"location\":\"\",\"loud\":false,\"port\":3000,\"ratio\":0.5}\n",
                "",
            ),
            (
                "config-get --all --format=json",
                0,
                "{\"big\":1000000,\"location\":\"\",\"loud\":false,\"port\":3000,\"ratio\":0.5,\"ua_token\":null}\n",
                "",
            ),
            ("config-get -a port", 2, "", "cannot use argument --all together with key \"port\""),
            ("config-get --nonesuch", 2, "", "option provided but not defined: --nonesuch"),
            ("config-get port b", 2, "", "unrecognized args: [\"b\"]"),
            (
                "config-get --format=xml port",
                2,
                "",
                "invalid value \"xml\" for option --format: unknown format \"xml\"",
            ),
            ("config-get -o out port; cat out", 0, "3000\n", ""),
        ],
    );
    model.config("aar", &["location=a <b> & c"]).unwrap();
    check(
        &mut model,
        &[
            ("config-get --format=json location", 0, "\"a \\u003cb\\u003e \\u0026 c\"\n", ""),
            ("config-get location", 0, "a <b> & c\n", ""),
        ],
    );
}

#[test]
fn status_version_and_leadership_tools_answer_as_juju() {
    let mut model = deployed("");
    check(
        &mut model,
        &[
            ("status-get", 0, "unknown\n", ""),
            ("status-set active -- 'on duty'; status-get", 0, "active\n", ""),
            ("status-get --format=json", 0, "{\"status\":\"active\"}\n", ""),
            (
                "status-get --include-data --format=json",
                0,
                "{\"message\":\"on duty\",\"status\":\"active\",\"status-data\":{}}\n",
                "",
            ),
            (
                "status-set idle",
                2,
                "",
                "invalid status \"idle\", expected one of [maintenance blocked waiting active]",
            ),
            ("status-set", 2, "", "invalid args, require <status> [message]"),
            ("application-version-set", 2, "", "no version specified"),
            ("is-leader", 0, "True\n", ""),
            ("juju-reboot", 1, "", "juju-reboot is not supported when running an action."),
            ("resource-get aar", 1, "", "could not download resource: resource \"aar\" not found"),
            ("resource-get", 2, "", "missing required resource name"),
            ("secret-get", 2, "", "require either a secret URI or label"),
            ("unit-get private-address", 0, "127.0.0.10\n", ""),
            ("unit-get color", 2, "", "unknown setting \"color\""),
            ("network-get client --bind-address", 0, "127.0.0.10\n", ""),
            (
                "network-get --format=json --bind-address --ingress-address client",
                0,
                "{\"bind-address\":\"127.0.0.10\",\"ingress-address\":\"127.0.0.10\"}\n",
                "",
            ),
            ("network-get client --format=yaml --egress-subnets", 0, "- 127.0.0.10/32\n", ""),
            ("network-get juju-info --ingress-address", 0, "127.0.0.10\n", ""),
            (
                "network-get client --format=json",
                0,
                "{\"bind-addresses\":[{\"addresses\":[{\"cidr\":\"127.0.0.0/24\",\"hostname\":\"\",\"value\":\"127.0.0.10\"}],\"interface-name\":\"eth0\",\"mac-address\":\"00:16:3e:00:00:01\"}],\"egress-subnets\":[\"127.0.0.10/32\"],\"ingress-addresses\":[\"127.0.0.10\"]}\n",
                "",
            ),
            ("network-get nonesuch", 1, "", "no network config found for binding \"nonesuch\""),
        ],
    );
    let goal = answer(&mut model, "goal-state").1;
    assert!(goal.starts_with("relations: {}\nunits:\n  aar/0:\n    since: "), "{goal}");
    model.add_unit("aar").unwrap();
    let asked = serde_json::json!({"script": "is-leader; status-set --application active"});
    let result = model.run_with("aar/1", "try", asked).unwrap();
    assert_eq!(result.results["stdout"], "False\n");
    assert_eq!(result.results["stderr"], "ERROR this unit is not the leader\n");
    assert_eq!(result.message, "exit status 1");
}

#[test]
fn ports_are_opened_and_closed_as_juju_does_it() {
    let mut model = deployed("");
    check(
        &mut model,
        &[
            ("open-port", 2, "", "no port or range specified"),
            ("open-port 3000; opened-ports --format=json", 0, "[\"3000/tcp\"]\n", ""),
            (
                "open-port 3000-3005/tcp",
                1,
                "",
                "cannot open 3000-3005/tcp (unit \"aar/0\"): port range conflicts with 3000/tcp (unit \"aar/0\")",
            ),
            (
                "open-port 3000; open-port 80/udp; open-port icmp; opened-ports",
                0,
                "icmp\n3000/tcp\n80/udp\n",
                "",
            ),
            ("close-port 3000/tcp; close-port 3000; opened-ports", 0, "icmp\n80/udp\n", ""),
        ],
    );
    assert_eq!(model.open_ports("aar/0"), ["icmp", "80/udp"]);
    // Whatever is not ended well leaves all as it was.
    assert_eq!(answer(&mut model, "open-port 99; exit 3").0, 3);
    assert_eq!(model.open_ports("aar/0"), ["icmp", "80/udp"]);
}

#[test]
fn state_is_kept_within_its_limits() {
    let mut model = deployed("");
    check(
        &mut model,
        &[
            ("state-get --format=json", 0, "null\n", ""),
            ("state-get", 0, "{}\n", ""),
            ("state-set a=' b ' c=d; state-get --format=json", 0, "{\"a\":\"b\",\"c\":\"d\"}\n", ""),
            ("state-get --format=json nonesuch", 0, "\"\"\n", ""),
            ("state-get --strict nonesuch", 1, "", "\"nonesuch\" not found"),
            (
                "printf 'a: \" b \"' | state-set --file - c=x; state-get --format=json",
                0,
                "{\"a\":\" b \",\"c\":\"x\"}\n",
                "",
            ),
            ("state-delete a; state-get", 0, "c: x\n", ""),
            ("state-set novalue", 2, "", "expected \"key=value\", got \"novalue\""),
            ("state-set k=1 k=2", 2, "", "key \"k\" specified more than once"),
        ],
    );
    let long = answer(&mut model, "state-set $(printf '%0300d' 0)=v");
    assert_eq!(long.0, 1, "{long:?}");
    let script = "for i in $(seq 40); do printf 'k%s: %065000d' $i 0 | state-set --file -; done";
    assert!(attempt(&mut model, script).message.contains("more than"), "the quota was not kept");
    assert_eq!(answer(&mut model, "state-get").1, "c: x\n");
}

#[test]
fn tools_know_the_hook_that_calls_them() {
    let mut model = deployed("");
    let (code, _, stderr) = answer(&mut model, "env -u JUJU_CONTEXT_ID $(command -v config-get)");
    assert_eq!((code, stderr.as_str()), (1, "ERROR JUJU_CONTEXT_ID not set\n"));
    let (code, _, stderr) = answer(&mut model, "JUJU_CONTEXT_ID=old config-get");
    assert_eq!((code, stderr.as_str()), (1, "ERROR bad request: wrong context ID; got \"old\"\n"));
    // A relation's tools outside of a relation's hook.
    check(
        &mut model,
        &[
            ("relation-ids", 2, "", "no endpoint name specified"),
            ("relation-ids --format=json nonesuch", 0, "[]\n", ""),
            ("relation-ids client", 0, "", ""),
            ("relation-list", 2, "", "no relation id specified"),
            ("relation-set a=b", 2, "", "no relation id specified"),
            (
                "relation-get -r client:7",
                2,
                "",
                "invalid value \"client:7\" for option -r: relation not found",
            ),
            ("relation-get -rx", 2, "", "invalid value \"x\" for option -r: invalid relation id"),
            ("relation-get --relation", 2, "", "option needs an argument: --relation"),
        ],
    );
    let mut other = deployed("if [ $hook = install ]; then action-get; fi");
    assert_eq!(other.unit_status("aar/0").message, "hook failed: \"install\"");
    assert!(other.log().iter().any(|line| line.message == "ERROR not running an action"));
    other.resolved_no_retry("aar/0").unwrap();
    assert_eq!(names(&other, "aar/0"), ["install", "leader-elected", "config-changed", "start"]);
}

#[test]
fn relation_data_is_read_and_written_as_juju_does_it() {
    let mut model = deployed("");
    let relation = model.relate_scripted("aar:client", "ams").unwrap();
    model.remote_set(relation, "ams/0", &[("mode", "\"client\""), ("certificate", "A\nB")]);
    model.remote_set(relation, "ams/10", &[]);
    model.remote_set(relation, "ams/2", &[]);
    check(
        &mut model,
        &[
            ("relation-ids --format=json client", 0, "[\"client:0\"]\n", ""),
            ("relation-list -r client:0", 0, "ams/0\nams/10\nams/2\n", ""),
            ("relation-list -r 0 --app --format=json", 0, "\"ams\"\n", ""),
            (
                "relation-get --format=json -r client:0 - ams/0",
                0,
                "{\"certificate\":\"A\\nB\",\"mode\":\"\\\"client\\\"\"}\n",
                "",
            ),
            ("relation-get --format=json -r0 nonesuch ams/0", 0, "null\n", ""),
            ("relation-get -r 0 - ams", 2, "", "expected unit name, got application name \"ams\""),
            ("relation-get -r 0 - a/b/c", 2, "", "invalid unit name \"a/b/c\""),
            ("relation-get -r 0", 2, "", "no unit or application specified"),
            (
                "relation-get -r 0 - ams/9",
                1,
                "",
                "cannot read settings for unit \"ams/9\" in relation \"aar:client ams:client\": unit \"ams/9\": settings not found",
            ),
            // The own bag, with what is not committed yet; values of the command line are trimmed, a file's are not.
            ("relation-set -r 0 'port= 30 ' gone=; relation-get -r 0 port aar/0", 0, "30\n", ""),
            (
                "printf 'port: \" 1 \"\\nip: x' | relation-set -r 0 --file - ip=y; relation-get --format=json -r 0 port aar/0; relation-get -r 0 ip aar/0",
                0,
                "\" 1 \"\ny\n",
                "",
            ),
            ("relation-set -r 0 --app a=b; relation-get -r 0 --app a aar", 0, "b\n", ""),
        ],
    );
    assert_eq!(
        model.relation_data(relation, "aar/0"),
        [
            ("egress-subnets", "127.0.0.10/32"),
            ("ingress-address", "127.0.0.10"),
            ("ip", "y"),
            ("port", " 1 "),
            ("private-address", "127.0.0.10"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    );
    model.add_unit("aar").unwrap();
    let script = serde_json::json!({"script": "relation-get -r 0 --app - aar; relation-set -r 0 --app a=b"});
    let result = model.run_with("aar/1", "try", script).unwrap();
    assert_eq!(result.results["stderr"], "ERROR permission denied\nERROR cannot write relation settings\n");
}

// Environment

#[test]
fn a_hook_finds_exactly_the_environment_of_the_agent() {
    let model = deployed("env > env-$hook; pwd >> where; cat > stdin; [ $# = 0 ] || exit 9");
    let charm = model.charm_directory("aar/0");
    let given: BTreeMap<String, String> = fs::read_to_string(charm.join("env-install"))
        .unwrap()
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        // The shell's own.
        .filter(|(key, _)| !["PWD", "OLDPWD", "SHLVL", "_"].contains(&key.as_str()))
        .collect();
    let keys: Vec<_> = given.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "APT_LISTCHANGES_FRONTEND",
            "CHARM_DIR",
            "CLOUD_API_VERSION",
            "DEBIAN_FRONTEND",
            "JUJU_AGENT_SOCKET_ADDRESS",
            "JUJU_AGENT_SOCKET_NETWORK",
            "JUJU_API_ADDRESSES",
            "JUJU_AVAILABILITY_ZONE",
            "JUJU_CHARM_DIR",
            "JUJU_CHARM_FTP_PROXY",
            "JUJU_CHARM_HTTPS_PROXY",
            "JUJU_CHARM_HTTP_PROXY",
            "JUJU_CHARM_NO_PROXY",
            "JUJU_CONTEXT_ID",
            "JUJU_DISPATCH_PATH",
            "JUJU_HOOK_NAME",
            "JUJU_MACHINE_ID",
            "JUJU_MODEL_NAME",
            "JUJU_MODEL_UUID",
            "JUJU_PRINCIPAL_UNIT",
            "JUJU_SLA",
            "JUJU_UNIT_NAME",
            "JUJU_VERSION",
            "LANG",
            "PATH",
            "TERM",
        ]
    );
    assert_eq!(given["JUJU_DISPATCH_PATH"], "hooks/install");
    assert_eq!(given["CHARM_DIR"], charm.display().to_string());
    assert!(charm.ends_with("var/lib/juju/agents/unit-aar-0/charm"));
    assert!(
        given["PATH"]
            .starts_with(&format!("{}/var/lib/juju/tools/unit-aar-0:", model.root("aar/0").display()))
    );
    let id = given["JUJU_CONTEXT_ID"].strip_prefix("aar/0-install-").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let places = fs::read_to_string(charm.join("where")).unwrap();
    assert!(places.lines().all(|line| Path::new(line) == charm), "{places}");
}

#[test]
fn relations_and_actions_add_their_variables() {
    let mut model = deployed("");
    model.model_config("juju-http-proxy", "http://proxy:1");
    model.model_config("https-proxy", "http://proxy:2");
    let relation = model.relate_offered("aar:client", "ams").unwrap();
    let seen = model.seen_as(relation, "ams");
    assert!(seen.len() == 39 && seen.starts_with("remote-"), "{seen}");
    model.remote_set(relation, "ams/0", &[]);
    model.remote_depart(relation, "ams/0");
    model.run("aar/0", "greet", &["name=you"]).unwrap();
    let runs = model.runs("aar/0");
    let run = |name: &str| runs.iter().find(|run| run.name == name).unwrap();
    let joined = run("client-relation-joined");
    assert_eq!(joined.variable("JUJU_RELATION"), "client");
    assert_eq!(joined.variable("JUJU_RELATION_ID"), "client:0");
    assert_eq!(joined.variable("JUJU_REMOTE_UNIT"), format!("{seen}/0"));
    assert_eq!(joined.variable("JUJU_REMOTE_APP"), seen);
    assert_eq!(joined.variable("JUJU_CHARM_HTTP_PROXY"), "http://proxy:1");
    assert_eq!(
        (joined.variable("https_proxy"), joined.variable("HTTPS_PROXY")),
        ("http://proxy:2", "http://proxy:2")
    );
    assert!(!joined.environment.contains_key("JUJU_DEPARTING_UNIT"));
    let created = run("client-relation-created");
    assert_eq!(created.environment.get("JUJU_REMOTE_UNIT").map(String::as_str), Some(""));
    assert_eq!(run("client-relation-departed").variable("JUJU_DEPARTING_UNIT"), format!("{seen}/0"));
    let action = run("greet");
    assert_eq!(action.variable("JUJU_HOOK_NAME"), "");
    assert_eq!(action.variable("JUJU_DISPATCH_PATH"), "actions/greet");
    assert_eq!(action.variable("JUJU_ACTION_NAME"), "greet");
    assert_eq!(action.variable("JUJU_ACTION_TAG"), format!("action-{}", action.variable("JUJU_ACTION_UUID")));
    assert!(!action.environment.contains_key("JUJU_RELATION"));
}

// Order

#[test]
fn a_deployment_runs_its_hooks_in_order() {
    let mut model = model();
    let charm = charm("[ $hook = install ] && status-get >> log || true");
    let options = Deploy { units: 0, storage: vec!["data".into()], ..Deploy::default() };
    model.deploy_with(charm.path(), options).unwrap();
    let relation = model.relate_scripted("aar:client", "ams").unwrap();
    model.remote_set(relation, "ams/0", &[]);
    model.remote_set_application(relation, "ams", &[("a", "b")]);
    model.add_unit("aar").unwrap();
    assert_eq!(
        model.history("aar/0"),
        [
            "data-storage-attached",
            "install",
            "client-relation-created ams",
            "leader-elected",
            "config-changed",
            "start",
            "client-relation-changed ams",
            "client-relation-joined ams/0",
            "client-relation-changed ams/0",
        ]
    );
    assert_eq!(
        model.unit_status("aar/0"),
        Status { current: "unknown".into(), message: String::new(), data: BTreeMap::new() }
    );
    assert_eq!(fs::read_to_string(model.charm_directory("aar/0").join("log")).unwrap(), "maintenance\n");
    model.add_unit("aar").unwrap();
    assert!(names(&model, "aar/1").contains(&"leader-settings-changed".into()));
    let location = model.runs("aar/0")[0].variable("JUJU_STORAGE_LOCATION").to_owned();
    assert_eq!(Path::new(&location), model.root("aar/0").join("srv/data"));
}

#[test]
fn relations_come_and_go_in_order() {
    let mut model = deployed(
        "relation-list >> list-$hook; [ $hook = client-relation-broken ] && relation-ids client >> ids; [ $hook != client-relation-departed ] || relation-get mode >> left; true",
    );
    let before = model.history("aar/0").len();
    let relation = model.relate_scripted("aar:client", "ams").unwrap();
    model.remote_set(relation, "ams/0", &[("mode", "client")]);
    model.remote_set(relation, "ams/1", &[("mode", "client")]);
    model.remote_set(relation, "ams/1", &[("mode", "publisher")]);
    model.remote_set(relation, "ams/1", &[("mode", "publisher")]);
    model.remote_depart(relation, "ams/0");
    model.remote_set(relation, "ams/2", &[("mode", "x")]);
    model.remove_relation(relation).unwrap();
    assert_eq!(
        since(&model, "aar/0", before),
        [
            "client-relation-created ams",
            "client-relation-joined ams/0",
            "client-relation-changed ams/0",
            "client-relation-joined ams/1",
            "client-relation-changed ams/1",
            "client-relation-changed ams/1",
            "client-relation-departed ams/0",
            "client-relation-joined ams/2",
            "client-relation-changed ams/2",
            "client-relation-departed ams/1",
            "client-relation-departed ams/2",
            "client-relation-broken ams",
        ]
    );
    let read = |file: &str| fs::read_to_string(model.charm_directory("aar/0").join(file)).unwrap();
    assert_eq!(read("list-client-relation-departed"), "ams/1\nams/2\n", "who departs is off the list");
    assert_eq!(read("list-client-relation-broken"), "");
    assert_eq!(read("ids"), "");
    assert_eq!(read("left"), "client\npublisher\nx\n", "data of a unit that left stays readable");
    assert_eq!(model.relate_scripted("aar:client", "ams"), Ok(relation + 1));
}

#[test]
fn a_unit_that_is_removed_leaves_its_relations_and_stops() {
    let mut model = deployed("");
    model.add_unit("aar").unwrap();
    let relation = model.relate_scripted("aar:client", "ams").unwrap();
    model.remote_set(relation, "ams/0", &[]);
    let before = model.history("aar/0").len();
    model.remove_unit("aar/0").unwrap();
    assert_eq!(
        since(&model, "aar/0", before),
        ["client-relation-departed ams/0", "client-relation-broken ams", "stop", "remove"]
    );
    let runs = model.runs("aar/0");
    assert_eq!(runs[before].variable("JUJU_DEPARTING_UNIT"), "aar/0");
    assert_eq!(model.unit_status("aar/0").current, "terminated");
    assert_eq!(model.history("aar/1").last().unwrap(), "leader-elected");
    assert!(model.status()["applications"]["aar"]["units"].get("aar/0").is_none());
    model.remove_application("aar").unwrap();
    assert!(model.status()["applications"].get("aar").is_none());
    assert_eq!(model.history("aar/1").last().unwrap(), "remove");
}

#[test]
fn two_charms_see_each_other() {
    let mut model = deployed("[ $hook = client-relation-joined ] && relation-set port=3000; true");
    let other = charm("[ $hook = registry-relation-changed ] && relation-get - >> seen; true");
    fs::write(
        other.path().join("metadata.yaml"),
        "name: ams\nsummary: s\ndescription: d\nrequires:\n  registry: {interface: aar}\n",
    )
    .unwrap();
    model.deploy(other.path()).unwrap();
    assert_eq!(
        model.relate("aar", "ams").unwrap_err(),
        "ambiguous relation: \"aar\" \"ams\" could refer to several endpoints"
    );
    let relation = model.relate("aar:client", "ams").unwrap();
    let seen = fs::read_to_string(model.charm_directory("ams/0").join("seen")).unwrap();
    assert!(seen.contains("port: \"3000\"\n"), "{seen}");
    model.remove_relation(relation).unwrap();
    assert_eq!(model.history("aar/0").last().unwrap(), "client-relation-broken ams");
    assert_eq!(model.history("ams/0").last().unwrap(), "registry-relation-broken aar");

    model.relate("aar:publisher", "ams:registry").unwrap();
    assert_eq!(
        model.relate_scripted("aar:publisher", "other").unwrap_err(),
        "establishing a new relation for aar:publisher would exceed its maximum relation limit of 1"
    );
}

#[test]
fn a_suspended_relation_is_broken_and_created_again() {
    let mut model = deployed("");
    let relation = model.relate_offered("aar:client", "ams").unwrap();
    model.remote_set(relation, "ams/0", &[]);
    let before = model.history("aar/0").len();
    model.suspend_relation(relation, true).unwrap();
    model.suspend_relation(relation, false).unwrap();
    let hooks: Vec<_> = names(&model, "aar/0").split_off(before);
    assert_eq!(
        hooks.iter().map(|hook| hook.rsplit('-').next().unwrap()).collect::<Vec<_>>(),
        ["departed", "broken", "created", "joined", "changed"]
    );
}

#[test]
fn settings_of_every_kind_are_checked_and_change_once() {
    let mut model = deployed("");
    let before = model.history("aar/0").len();
    model.config("aar", &["port=3000"]).unwrap();
    assert_eq!(since(&model, "aar/0", before), [""; 0], "the default is no change");
    let file = TempDir::new().unwrap();
    let path = file.path().join("config.yaml");
    fs::write(&path, "aar:\n  port: 4000\n  ua_token: |\n    a\n    b\n").unwrap();
    model.config_file("aar", &path).unwrap();
    assert_eq!(since(&model, "aar/0", before), ["config-changed"]);
    assert_eq!(
        answer(&mut model, "config-get port; config-get ua_token"),
        (0, "4000\na\nb\n\n".into(), String::new())
    );
    fs::write(&path, "other:\n  port: 1\n").unwrap();
    assert_eq!(model.config_file("aar", &path).unwrap_err(), "no settings found for \"aar\"");
    assert_eq!(model.config("aar", &["nonesuch=1"]).unwrap_err(), "unknown option \"nonesuch\"");
    assert_eq!(model.config("aar", &["port=x"]).unwrap_err(), "option \"port\" expected int, got \"x\"");
    model.reset("aar", "port").unwrap();
    assert_eq!(answer(&mut model, "config-get port").1, "3000\n");
    model.set_address("aar/0", "127.0.0.77");
    assert_eq!(model.history("aar/0").last().unwrap(), "config-changed");
}

#[test]
fn a_reboot_starts_again_and_an_idle_unit_updates_its_status() {
    let mut model = deployed("[ $hook = update-status ] && [ ! -e once ] && touch once && juju-reboot; true");
    let before = model.history("aar/0").len();
    model.reboot("aar/0");
    model.update_status("aar/0");
    assert_eq!(since(&model, "aar/0", before), ["start", "update-status", "start"]);

    let mut model =
        deployed("[ $hook = update-status ] && [ ! -e once ] && touch once && juju-reboot --now; true");
    model.update_status("aar/0");
    let last: Vec<_> = model.runs("aar/0").into_iter().map(|run| (run.name, run.outcome)).collect();
    let last: Vec<_> =
        last[last.len() - 3..].iter().map(|(name, outcome)| (name.as_str(), outcome.clone())).collect();
    assert_eq!(
        last,
        [("update-status", Outcome::Killed), ("update-status", Outcome::Done), ("start", Outcome::Done)]
    );
}

// Failure

const FAILING: &str = "
if [ $hook = client-relation-changed ] && [ ! -e mended ]; then
    juju-log 'about to fail'; status-set blocked 'kept'; application-version-set 7
    relation-set port=1; open-port 5; state-set a=b
    exit 1
fi";

#[test]
fn a_failed_hook_keeps_what_is_immediate_and_drops_the_rest() {
    let mut model = deployed(FAILING);
    let relation = model.relate_scripted("aar:client", "ams").unwrap();
    model.remote_set(relation, "ams/0", &[]);
    let status = model.unit_status("aar/0");
    assert_eq!(status.message, "hook failed: \"client-relation-changed\"");
    let data = [("hook", "client-relation-changed"), ("relation-id", "0"), ("remote-unit", "ams/0")];
    assert_eq!(status.data, data.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert!(!model.relation_data(relation, "aar/0").contains_key("port"));
    assert_eq!(model.open_ports("aar/0"), [""; 0]);
    assert_eq!(model.status()["applications"]["aar"]["version"], "7");
    assert!(model.log().iter().any(|line| line.message == "client:0: about to fail"));

    // Other hooks wait; actions do not.
    let before = model.history("aar/0").len();
    model.config("aar", &["port=1"]).unwrap();
    model.remote_set(relation, "ams/1", &[]);
    assert_eq!(since(&model, "aar/0", before), [""; 0]);
    assert_eq!(answer(&mut model, "status-get; state-get"), (0, "blocked\n{}\n".into(), String::new()));

    // It is retried as it was, in a new context, which sees the new settings.
    model.retry("aar/0").unwrap();
    fs::write(model.charm_directory("aar/0").join("mended"), "").unwrap();
    model.resolved("aar/0").unwrap();
    let history = since(&model, "aar/0", before);
    assert_eq!(
        history,
        [
            "try",
            "client-relation-changed ams/0",
            "client-relation-changed ams/0",
            "config-changed",
            "client-relation-joined ams/1",
            "client-relation-changed ams/1",
        ]
    );
    let runs = model.runs("aar/0");
    assert_ne!(runs[before + 1].variable("JUJU_CONTEXT_ID"), runs[before + 2].variable("JUJU_CONTEXT_ID"));
    assert_eq!(model.unit_status("aar/0").message, "kept");
    assert_eq!(model.resolved("aar/0").unwrap_err(), "unit \"aar/0\" is not in an error state");
}

#[test]
fn a_hook_that_is_killed_runs_again_without_being_an_error() {
    let mut model = deployed(
        "if [ $hook = config-changed ] && [ ! -e once ]; then touch once; open-port 5; kill -9 $$; fi; [ $hook != config-changed ] || open-port 6",
    );
    assert_eq!(model.open_ports("aar/0"), ["6/tcp"]);
    let outcomes: Vec<_> = model
        .runs("aar/0")
        .into_iter()
        .filter(|run| run.name == "config-changed")
        .map(|run| run.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Killed, Outcome::Done]);
    let result = attempt(&mut model, "kill -9 $$");
    assert_eq!((result.status.as_str(), result.message.as_str()), ("failed", "action terminated"));
}

#[test]
fn a_test_can_kill_a_hook_at_any_call_of_a_tool() {
    const HOOKS: &str =
        "[ $hook = config-changed ] || exit 0; juju-log one; status-set active two; open-port 3; touch after";
    for number in 1..=3 {
        for verdict in [Verdict::KillBefore, Verdict::KillAfter, Verdict::Fail] {
            let mut model = model();
            let killed = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&killed);
            model.on_tool_call(move |call: &ToolCall| {
                let hit = call.hook == "config-changed" && call.number == number;
                if hit && counter.fetch_add(1, Ordering::SeqCst) == 0 { verdict } else { Verdict::Proceed }
            });
            model.deploy(charm(HOOKS).path()).unwrap();
            let runs: Vec<_> =
                model.runs("aar/0").into_iter().filter(|run| run.name == "config-changed").collect();
            let tools =
                |index: usize| runs[index].calls.iter().map(|call| call.tool.as_str()).collect::<Vec<_>>();
            let all = ["juju-log", "status-set", "open-port"];
            assert_eq!(killed.load(Ordering::SeqCst), if verdict == Verdict::Fail { 1 } else { 2 });
            if verdict == Verdict::Fail {
                assert_eq!((runs.len(), runs[0].calls[number - 1].answer.as_ref().unwrap().code), (1, 1));
                continue;
            }
            assert_eq!((tools(0), tools(1)), (all[..number].to_vec(), all.to_vec()));
            assert_eq!(runs[0].calls[number - 1].answer.is_some(), verdict == Verdict::KillAfter);
            assert_eq!((&runs[0].outcome, &runs[1].outcome), (&Outcome::Killed, &Outcome::Done));
            let logged = model.log().iter().filter(|line| line.message == "one").count();
            let twice = number > 1 || verdict == Verdict::KillAfter;
            assert_eq!(logged, if twice { 2 } else { 1 });
            assert_eq!(model.open_ports("aar/0"), ["3/tcp"]);
        }
    }
}

#[test]
fn a_hook_without_a_program_is_skipped_and_one_that_cannot_run_fails() {
    let dir = charm("");
    fs::remove_file(dir.path().join("dispatch")).unwrap();
    fs::create_dir(dir.path().join("hooks")).unwrap();
    fs::write(dir.path().join("hooks/start"), "#!/bin/sh\nstatus-set active old").unwrap();
    fs::set_permissions(dir.path().join("hooks/start"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut old = model();
    old.deploy(dir.path()).unwrap();
    assert_eq!(old.unit_status("aar/0").message, "old");
    assert_eq!(old.history("aar/0"), ["start"]);
    assert_eq!(
        old.run("aar/0", "greet", &["name=x"]).unwrap().message,
        "action not implemented on unit \"aar/0\""
    );

    let dir = charm("");
    fs::set_permissions(dir.path().join("dispatch"), fs::Permissions::from_mode(0o644)).unwrap();
    let mut model = model();
    model.deploy(dir.path()).unwrap();
    assert_eq!(model.unit_status("aar/0").message, "hook failed: \"install\"");
}

// Actions

#[test]
fn actions_check_their_parameters_and_return_results() {
    let mut model = deployed(
        "[ $hook = greet ] || exit 0; action-log \"for $(action-get name)\"; action-set a.b=c=d times=$(action-get times) x=; echo out; printf '\\377' >&2",
    );
    let result = model.run("aar/0", "greet", &["name=you"]).unwrap();
    assert_eq!((result.status.as_str(), result.log.as_slice()), ("completed", &["for you".to_owned()][..]));
    assert_eq!(
        serde_json::Value::Object(result.results),
        serde_json::json!({
            "a": {"b": "c=d"}, "times": "2", "x": "", "return-code": 0,
            "stdout": "out\n", "stderr": "/w==", "stderr-encoding": "base64",
        })
    );
    assert_eq!(
        model.run("aar/0", "nonesuch", &[]).unwrap_err(),
        "action \"nonesuch\" not defined on unit \"aar/0\""
    );
    for wrong in [&[][..], &["name=3"], &["name=a", "times=0"], &["name=a", "other=b"]] {
        let error = model.run("aar/0", "greet", wrong).unwrap_err();
        assert!(error.starts_with("validation failed: (root)"), "{error}");
    }
    check(
        &mut model,
        &[
            ("action-set stdout=x", 2, "", "cannot set reserved action key \"stdout\""),
            ("action-set x", 2, "", "argument \"x\" must be of the form key...=value"),
            ("action-get --format=json no.such.thing", 0, "null\n", ""),
        ],
    );
    assert_eq!(answer(&mut model, "action-set A=b").0, 2);
    let failed = attempt(&mut model, "action-fail 'for a reason'; open-port 7");
    assert_eq!((failed.status.as_str(), failed.message.as_str()), ("failed", "for a reason"));
    assert_eq!(model.open_ports("aar/0"), ["7/tcp"], "an action that fails in good order commits");
    let failed = attempt(&mut model, "action-fail 'is lost'; open-port 8; exit 4");
    assert_eq!(failed.message, "exit status 4");
    assert_eq!(model.open_ports("aar/0"), ["7/tcp"]);
    assert_eq!(
        attempt(&mut model, "action-fail").message,
        "action failed without reason given, check action for errors"
    );
    assert_eq!(model.unit_status("aar/0").current, "unknown");
}

// Charms

fn archive(dir: &Path) -> PathBuf {
    let path = dir.join("packed.charm");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, mode) in [("metadata.yaml", 0o600), ("config.yaml", 0o664), ("dispatch", 0o744)] {
        zip.start_file(name, zip::write::SimpleFileOptions::default().unix_permissions(mode)).unwrap();
        zip.write_all(&fs::read(dir.join(name)).unwrap()).unwrap();
    }
    zip.start_file("manifest.yaml", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"bases:\n- {name: ubuntu, channel: '22.04', architectures: [amd64]}\n").unwrap();
    zip.finish().unwrap();
    path
}

#[test]
fn an_archive_is_deployed_with_the_modes_of_juju() {
    let dir = charm("");
    let packed = archive(dir.path());
    for version in [JujuVersion::V3_6, JujuVersion::V4_0] {
        let mut model = Model::new(version);
        model.deploy(&packed).unwrap();
        let mode = |name: &str| {
            fs::metadata(model.charm_directory("aar/0").join(name)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("metadata.yaml"), mode("config.yaml"), mode("dispatch")), (0o644, 0o644, 0o755));
    }
}

#[test]
fn the_lines_of_juju_differ_where_they_are_known_to() {
    let dir = charm("");
    let mut model = Model::new(JujuVersion::V4_0);
    assert!(model.deploy(dir.path()).is_err(), "4.0 takes no directory");
    model.deploy(&archive(dir.path())).unwrap();
    let relation = model.relate_scripted("aar:client", "ams").unwrap();
    assert!(!model.relation_data(relation, "aar/0").contains_key("private-address"));
    let run = &model.runs("aar/0")[0];
    assert!(
        !run.environment.contains_key("JUJU_SLA")
            && run.environment.contains_key("JUJU_CHARM_TRACE_CONFIG_HTTP")
    );
    let tools = model.root("aar/0").join("var/lib/juju/tools/unit-aar-0");
    assert!(tools.join("relation-set").exists() && !tools.join("leader-set").exists());
    model.add_unit("aar").unwrap();
    assert!(!names(&model, "aar/1").contains(&"leader-settings-changed".into()));
}

#[test]
fn a_bad_charm_is_refused() {
    let spoilt: [(&str, &str, &str); 7] = [
        ("metadata.yaml", "name: Aar\nsummary: s\ndescription: d\n", "invalid charm name"),
        ("metadata.yaml", "name: aar\ndescription: d\n", "summary"),
        (
            "metadata.yaml",
            "name: a\nsummary: s\ndescription: d\nprovides: {juju-x: {interface: a}}\n",
            "reserved",
        ),
        ("config.yaml", "options: {a: {type: int, default: x}}\n", "expected int"),
        ("actions.yaml", "a: {params: {b: {$ref: '#/c'}}}\n", "$ref"),
        ("manifest.yaml", "bases: []\n", "charm manifest not valid"),
        ("manifest.yaml", "bases: [{name: ubuntu, channel: 22.04, architectures: [amd64]}]\n", "not valid"),
    ];
    for (file, content, why) in spoilt {
        let dir = charm("");
        fs::write(dir.path().join(file), content).unwrap();
        let error = model().deploy(dir.path()).unwrap_err();
        assert!(error.contains(why), "{content}: {error}");
    }
}

#[test]
fn a_refresh_replaces_the_files_and_runs_upgrade_charm() {
    let dir = charm("touch own");
    fs::write(dir.path().join("old-file"), "").unwrap();
    let mut model = model();
    model.deploy(dir.path()).unwrap();
    let before = model.history("aar/0").len();
    fs::remove_file(dir.path().join("old-file")).unwrap();
    write_dispatch(dir.path(), "status-set active new; [ $hook != upgrade-charm ] || [ -e mended ]");
    model.refresh("aar", dir.path()).unwrap();
    assert_eq!(since(&model, "aar/0", before), ["upgrade-charm"]);
    let charm = model.charm_directory("aar/0");
    assert!(!charm.join("old-file").exists() && charm.join("own").exists());

    // A newer charm waits for the failed hook, unless it is forced on it; then that hook is what is retried.
    write_dispatch(dir.path(), "status-set active newer");
    model.refresh("aar", dir.path()).unwrap();
    assert_eq!(model.unit_status("aar/0").current, "error");
    model.refresh_forced("aar", dir.path()).unwrap();
    assert_eq!(since(&model, "aar/0", before), ["upgrade-charm", "upgrade-charm", "config-changed"]);
    assert_eq!(model.unit_status("aar/0").message, "newer");

    let resource = dir.path().join("payload");
    fs::write(&resource, "content").unwrap();
    model.attach_resource("aar", "aar", &resource).unwrap();
    assert_eq!(since(&model, "aar/0", before)[3..], ["upgrade-charm", "config-changed"]);
    let (_, path, _) = answer(&mut model, "resource-get aar");
    assert!(path.ends_with("unit-aar-0/resources/aar/aar.bin"), "{path:?}");
    assert_eq!(fs::read_to_string(path).unwrap(), "content");
}

#[test]
fn the_output_of_hooks_goes_to_the_log() {
    let model = deployed("[ $hook = start ] && echo good && echo bad >&2; juju-log -l nonsense x; true");
    let log = model.log();
    let has = |level: &str, module: &str, message: &str| {
        log.iter().any(|line| {
            (line.level.as_str(), line.module.as_str(), line.message.as_str()) == (level, module, message)
        })
    };
    assert!(has("DEBUG", "unit.aar/0.start", "good") && has("WARNING", "unit.aar/0.start", "bad"), "{log:?}");
    assert!(has("INFO", "unit.aar/0.juju-log", "x"));
}

#[test]
fn what_a_hook_leaves_running_does_not_hold_it_up() {
    let begin = Instant::now();
    let model =
        deployed("[ $hook != start ] || (for i in $(seq 200); do echo still here; sleep 0.1; done) & true");
    assert!(begin.elapsed() < Duration::from_secs(15), "the agent waited for it");
    assert_eq!(model.runs("aar/0").last().unwrap().outcome, Outcome::Done);
}

// ops

/// The charm of `fixtures/ops-charm`, to be run by the Python that `ops` is installed for.
fn ops_charm() -> TempDir {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = ops_python();
    let dir = TempDir::with_prefix("charm").unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(here.join("fixtures/ops-charm/.")).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    let dispatch = dir.path().join("dispatch");
    fs::write(&dispatch, format!("#!/bin/sh\nexec {} src/charm.py\n", python.display())).unwrap();
    fs::set_permissions(dispatch, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn notes(model: &Model, unit: &str) -> Vec<String> {
    let notes = fs::read_to_string(model.charm_directory(unit).join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

#[test]
fn a_charm_of_ops_is_configured_acted_on_and_removed() {
    let dir = ops_charm();
    let mut model = model();
    let resource = dir.path().join("payload");
    fs::write(&resource, "what was attached").unwrap();
    let resources = BTreeMap::from([("payload".to_owned(), resource)]);
    model.deploy_with(dir.path(), Deploy { units: 2, resources, ..Deploy::default() }).unwrap();
    let status = &model.status()["applications"]["observed"];
    assert_eq!(status["application-status"]["message"], "all well");
    assert_eq!(status["units"]["observed/0"]["workload-status"]["message"], "hello on 8080");
    assert_eq!(status["version"], "1.2");
    assert_eq!(model.open_ports("observed/0"), ["8080/tcp"]);
    assert_eq!(notes(&model, "observed/0").len(), 1);

    model.config("observed", &["port=9090", "greeting=good day"]).unwrap();
    assert_eq!(model.unit_status("observed/1").message, "good day on 9090");
    assert_eq!(model.open_ports("observed/1"), ["9090/tcp"]);

    let result = model.run("observed/0", "greet", &["name=you"]).unwrap();
    assert_eq!((result.status.as_str(), result.log.as_slice()), ("completed", &["greeting".to_owned()][..]));
    assert_eq!(result.results["text"], "hi you");
    assert_eq!(result.results["in"]["side"], "x=y");
    assert!(model.run("observed/0", "greet", &[]).unwrap_err().starts_with("validation failed: (root)"));
    assert!(model.run("observed/0", "greet", &["name=5"]).is_err());
    let result = model.run("observed/0", "refuse", &[]).unwrap();
    assert_eq!((result.status.as_str(), result.message.as_str()), ("failed", "not today"));
    assert_eq!(result.results["tried"], "yes");
    assert_eq!(model.run("observed/0", "crash", &[]).unwrap().message, "exit status 1");
    let report = model.run("observed/1", "report", &[]).unwrap();
    assert_eq!(report.status, "completed", "{report:?}");
    for (key, value) in [
        ("ports", "[[\"tcp\", 9090]]"),
        ("status", "active"),
        ("leader", "False"),
        ("peers", "observed/0"),
        ("elected", "observed/0"),
        ("planned", "2"),
        ("resource", "what was attached"),
        ("private", "None"),
    ] {
        assert_eq!(report.results[key], value, "{key}");
    }

    // A hook that fails drops its ports, and keeps its status.
    model.config("observed", &["port=7070", "broken=true"]).unwrap();
    assert_eq!(model.unit_status("observed/0").current, "error");
    assert_eq!(model.open_ports("observed/0"), ["9090/tcp"]);
    model.config("observed", &["broken=false"]).unwrap();
    for unit in ["observed/0", "observed/1"] {
        model.retry(unit).unwrap();
        assert_eq!(model.unit_status(unit).message, "good day on 7070");
        assert_eq!(model.open_ports(unit), ["7070/tcp"]);
    }

    model.remove_unit("observed/0").unwrap();
    assert!(model.charm_directory("observed/0").join("removed").exists());
    let history = model.history("observed/1");
    assert_eq!(history[history.len() - 2..], ["leader-elected", "cluster-relation-departed observed/0"]);
}

#[test]
fn two_charms_of_ops_are_related_and_defer() {
    let dir = ops_charm();
    let mut model = model();
    model.deploy(dir.path()).unwrap();
    let relation = model.relate_offered("observed:registry", "aar").unwrap();
    let seen = model.seen_as(relation, "aar");
    model.remote_set(relation, "aar/0", &[]);
    assert_eq!(notes(&model, "observed/0")[1..], [format!("defer {seen}/0")]);
    let data = model.relation_data(relation, "observed/0");
    assert_eq!(
        (data["mode"].as_str(), data["certificate"].as_str()),
        ("client", "-----BEGIN-----\na=b <&>\n")
    );
    // Deferred events are emitted again at the next hook, whichever it is.
    model.remote_set(relation, "aar/0", &[("port", "3000")]);
    let mut expected =
        vec![format!("defer {seen}/0"), format!("changed {seen}/0 3000"), format!("changed {seen}/0 3000")];
    assert_eq!(notes(&model, "observed/0")[1..], expected);
    model.remote_set(relation, "aar/1", &[("port", "1")]);
    model.remote_depart(relation, "aar/0");
    model.remove_relation(relation).unwrap();
    expected.push(format!("changed {seen}/1 1"));
    expected.push(format!("departed {seen}/0 {seen}/0 3000 ['{seen}/1']"));
    expected.push(format!("departed {seen}/1 {seen}/1 1 []"));
    expected.push(format!("broken registry {seen} 0"));
    assert_eq!(notes(&model, "observed/0")[1..], expected);

    let clients = model.relate_scripted("observed:clients", "someone").unwrap();
    model.remote_set(clients, "someone/0", &[]);
    let data = model.relation_data(clients, "observed/0");
    assert_eq!((data["ip"].as_str(), data["port"].as_str()), ("127.0.0.10", "8080"));
    assert_eq!(model.relation_data(clients, "observed")["kind"], "observed");
}

#[test]
fn a_charm_of_ops_survives_kills_at_every_call_of_a_tool() {
    let dir = ops_charm();
    let mut calls = None;
    let mut number = 0;
    while calls.is_none_or(|calls| number < calls) {
        number += 1;
        let mut model = model();
        let once = Arc::new(AtomicUsize::new(0));
        model.on_tool_call(move |call: &ToolCall| {
            let hit = call.hook == "config-changed" && call.number == number;
            if hit && once.fetch_add(1, Ordering::SeqCst) == 0 {
                Verdict::KillAfter
            } else {
                Verdict::Proceed
            }
        });
        model.deploy(dir.path()).unwrap();
        let runs: Vec<_> =
            model.runs("observed/0").into_iter().filter(|run| run.name == "config-changed").collect();
        assert_eq!(
            (&runs[0].outcome, &runs[1].outcome),
            (&Outcome::Killed, &Outcome::Done),
            "at call {number}"
        );
        calls = Some(runs[1].calls.len());
        assert_eq!(model.unit_status("observed/0").message, "hello on 8080", "at call {number}");
        assert_eq!(model.open_ports("observed/0"), ["8080/tcp"], "at call {number}");
    }
}
