//! An event that changes nothing does nothing.

use std::path::PathBuf;

use crate::{Site, UNIT};

/// What the daemon itself writes while it runs.
const DAEMON: [&str; 3] =
    ["/var/lib/aar/index", "/var/lib/aar/run", "/var/lib/ubuntu-advantage/private/calls.jsonl"];

#[test]
fn an_event_that_changes_nothing_restarts_nothing_writes_nothing_and_asks_little() {
    let mut site = Site::serving();
    let person = site.person("ams");
    let relation = site.relate("client", "ams", &person);
    let two = site.person("two");
    site.relate("publisher", "builder", &two);
    let address = site.address().ip().to_string();
    let (daemon, files, status) = (site.daemon(), site.machine().files(), site.status());
    let runs = site.model.runs(UNIT).len();

    site.model.update_status(UNIT);
    // It is run, although nothing that it looks at is other than before.
    site.model.set_network(UNIT, "juju-info", &address, &address);
    site.model.remote_set(relation, "ams/0", &[("unknown", "key")]);

    let runs = site.model.runs(UNIT).split_off(runs);
    let names: Vec<_> = runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, ["update-status", "config-changed", "client-relation-changed"]);
    for run in &runs {
        let calls: Vec<_> =
            run.calls.iter().map(|call| format!("{} {}", call.tool, call.arguments.join(" "))).collect();
        assert!(calls.len() <= 8 + 2 * 2, "{}: {calls:#?}", run.name);
        println!("{}: {} calls", run.name, calls.len());
    }
    assert_eq!(site.daemon(), daemon);
    assert_eq!(site.status(), status);
    assert_eq!(site.machine().files().changed_since(&files, &DAEMON), Vec::<PathBuf>::new());
}

#[test]
fn a_unit_without_relations_asks_at_most_eight_times() {
    let mut site = Site::serving();
    let address = site.address().ip().to_string();
    site.model.set_network(UNIT, "juju-info", &address, &address);
    let run = site.model.runs(UNIT).pop().unwrap();
    assert_eq!(run.name, "config-changed");
    let calls: Vec<_> = run.calls.iter().map(|call| call.tool.as_str()).collect();
    assert!(calls.len() <= 8, "{calls:?}");
}
