//! A hook may be killed at any time: the agent runs it again, and the unit ends where it would have ended.
//!
//! Each hook is killed before, and while it waits for, every program that it runs (Juju's tools among them), before every
//! change that it makes to a file, and together with all that it has started before and after every call of a tool.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aar_model::Digest;
use aar_tests::juju::{Outcome, ToolCall, Verdict};

use crate::{Site, TOKEN, UNIT, charm, pack, upgrades};

/// Calls of the kernel that a program is started by, waited for, or a file changed with.
const CALLS: [&str; 9] =
    ["clone3", "vfork", "wait4", "rename", "unlink", "unlinkat", "mkdir", "fsync", "fchmod"];

/// Where the registry and others write by themselves.
const VOLATILE: [&str; 8] = [
    "/var/lib/aar/index",
    "/var/lib/aar/run",
    "/var/lib/juju",
    "/var/lib/ubuntu-advantage",
    "/var/log",
    "/var/tmp",
    "/var/lib/systemd",
    "/etc/ld.so.cache",
];

/// When a hook is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// Alone, at this call of the kernel, by its number.
    Call(&'static str, usize),
    /// With all that it has started, before this call of a tool is carried out.
    Before(usize),
    /// The same, afterwards.
    After(usize),
}

/// All kinds of moments, each to be given its number. The tracer counts each call of the kernel for itself.
pub(crate) fn moments() -> Vec<Box<dyn Fn(usize) -> Moment>> {
    let calls = CALLS
        .iter()
        .map(|&call| -> Box<dyn Fn(usize) -> Moment> { Box::new(move |number| Moment::Call(call, number)) });
    calls.chain([Box::new(Moment::Before) as Box<_>, Box::new(Moment::After) as Box<_>]).collect()
}

/// The number after this one. Programs and tools are all tried; of the many files of a version, which are all dealt with
/// alike, the first and then every seventh.
pub(crate) fn next(moment: &Moment, number: usize) -> usize {
    let is_of_a_file =
        matches!(moment, Moment::Call(call, _) if !["clone3", "vfork", "wait4"].contains(call));
    if is_of_a_file && number > 5 { number + 7 } else { number + 1 }
}

/// Lets the first run of `hook` from now on be killed.
pub(crate) fn kill(site: &Site, hook: &str, moment: Moment) {
    let armed = Arc::new(AtomicBool::new(true));
    let is_it = {
        let (hook, armed) = (hook.to_owned(), Arc::clone(&armed));
        move |name: &str| name == hook && armed.load(Ordering::SeqCst)
    };
    match moment {
        Moment::Call(call, number) => {
            site.model.run_under(move |name| {
                if !is_it(name) || !armed.swap(false, Ordering::SeqCst) {
                    return Vec::new();
                }
                let (trace, inject) =
                    (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={number}"));
                ["strace", "-o", "/dev/null", "-e", &trace, "-e", &inject].map(str::to_owned).into()
            });
        }
        Moment::Before(number) | Moment::After(number) => {
            let verdict =
                if matches!(moment, Moment::Before(_)) { Verdict::KillBefore } else { Verdict::KillAfter };
            site.model.on_tool_call(move |call: &ToolCall| {
                let is_now = call.number == number && is_it(&call.hook);
                if is_now && armed.swap(false, Ordering::SeqCst) { verdict } else { Verdict::Proceed }
            });
        }
    }
}

/// No run is killed any more; answers whether one was since run number `before`.
pub(crate) fn was_killed(site: &Site, before: usize) -> bool {
    site.model.run_under(|_| Vec::new());
    site.model.on_tool_call(|_| Verdict::Proceed);
    site.model.runs(UNIT)[before..].iter().any(|run| run.outcome == Outcome::Killed)
}

/// What matters of a unit and its machine.
#[derive(Debug, PartialEq)]
struct End {
    status: String,
    ports: Vec<String>,
    told: Vec<BTreeMap<String, String>>,
    service: Vec<String>,
    trusted: String,
    attached: Option<String>,
    /// By path: permissions, owner, and what is in it.
    files: BTreeMap<PathBuf, (u32, u32, u32, Option<Digest>)>,
}

fn end(site: &Site, relations: &[u32]) -> End {
    let machine = site.machine();
    let root = machine.root();
    let files = machine
        .files()
        .0
        .into_iter()
        .filter(|(path, _)| !VOLATILE.iter().any(|it| path.starts_with(it)))
        // Files that were not put in place yet; whoever writes there next writes them anew.
        .filter(|(path, _)| !path.to_string_lossy().ends_with(".new"));
    let files = files.map(|(path, state)| {
        // Notes of when somebody was trusted, and of how files look from outside, differ from run to run.
        let is_dated = path.starts_with("/var/lib/aar/certs") || path.ends_with("workload.json");
        let content = (state.is_file() && !is_dated)
            .then(|| Digest::of(&fs::read(root.join(path.strip_prefix("/").unwrap())).unwrap_or_default()));
        (path, (state.mode, state.uid, state.gid, content))
    });
    let trusted = machine.run(&[
        "env",
        "AAR_BASE_DIR=/var/lib/aar",
        "/usr/local/bin/aar",
        "trust",
        "list",
        "--format",
        "csv",
    ]);
    End {
        status: site.status(),
        ports: site.model.open_ports(UNIT),
        told: relations.iter().map(|relation| site.model.relation_data(*relation, UNIT)).collect(),
        service: ["ActiveState", "UnitFileState", "NeedDaemonReload", "NRestarts"]
            .map(|property| machine.property("aard", property))
            .into(),
        trusted: trusted_without_times(&String::from_utf8_lossy(&trusted.stdout)),
        attached: machine.pro().attached(),
        files: files.collect(),
    }
}

/// When somebody was registered differs from run to run.
fn trusted_without_times(list: &str) -> String {
    let mut lines: Vec<_> = list
        .lines()
        .map(|line| {
            line.split(',')
                .filter(|field| !field.contains('T') || !field.ends_with('Z'))
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

#[track_caller]
fn assert_same(found: &End, wanted: &End, when: &str, site: &Site) {
    if found == wanted {
        return;
    }
    let mut differences = Vec::new();
    for path in found.files.keys().chain(wanted.files.keys()) {
        if found.files.get(path) != wanted.files.get(path) {
            differences.push(format!(
                "{}: {:?} instead of {:?}",
                path.display(),
                found.files.get(path),
                wanted.files.get(path)
            ));
        }
    }
    let rest = |end: &End| {
        format!("{:#?}", (&end.status, &end.ports, &end.told, &end.service, &end.trusted, &end.attached))
    };
    panic!(
        "{when}:\n{}\ninstead of\n{}\nfiles: {differences:#?}\n{}",
        rest(found),
        rest(wanted),
        site.story()
    );
}

/// What an operator does, and how it is taken back.
struct Change<'a> {
    hooks: &'a [&'a str],
    act: &'a dyn Fn(&mut Site),
    undo: &'a dyn Fn(&mut Site),
    relations: &'a [u32],
}

/// Kills each hook of a change at every moment, once a time, and compares each end with that of an undisturbed change.
fn kill_at_every_moment(site: &mut Site, change: &Change) {
    // Once without being looked at, so that what only the first time makes is there.
    (change.act)(site);
    (change.undo)(site);
    (change.act)(site);
    let wanted = end(site, change.relations);
    (change.undo)(site);
    let start = end(site, change.relations);
    for hook in change.hooks {
        for moment in moments() {
            let mut number = 1;
            loop {
                let before = site.model.runs(UNIT).len();
                kill(site, hook, moment(number));
                (change.act)(site);
                let killed = was_killed(site, before);
                let when = format!("{hook} killed at {:?}", moment(number));
                assert_same(&end(site, change.relations), &wanted, &when, site);
                (change.undo)(site);
                assert_same(&end(site, change.relations), &start, &format!("{when}, and taken back"), site);
                if !killed {
                    break;
                }
                number = next(&moment(number), number);
            }
            assert!(number > 1 || matches!(moment(0), Moment::Call(..)), "{hook} was never killed");
            println!("{hook}: killed up to number {} ({:?})", number - 1, moment(0));
        }
    }
}

#[test]
fn the_install_hook() {
    let mut wanted = None;
    for moment in moments() {
        let mut number = 0;
        loop {
            let mut site = Site::empty();
            // The first one is left alone.
            if number > 0 {
                kill(&site, "install", moment(number));
            }
            site.model.deploy(&charm()).unwrap();
            let killed = was_killed(&site, 0);
            let end = end(&site, &[]);
            let wanted = wanted.get_or_insert_with(|| self::end(&site, &[]));
            assert_same(&end, wanted, &format!("install killed at {:?}", moment(number)), &site);
            if number > 0 && !killed {
                break;
            }
            number = next(&moment(number), number);
        }
        println!("install: killed up to number {} ({:?})", number - 1, moment(0));
    }
}

#[test]
fn a_change_of_the_token() {
    let mut site = Site::deployed();
    site.machine().pro().accept(&[TOKEN]);
    kill_at_every_moment(
        &mut site,
        &Change {
            hooks: &["config-changed"],
            act: &|site| site.set("ua_token", TOKEN),
            undo: &|site| {
                site.set("ua_token", "");
                site.machine().say(&["pro", "detach", "--assume-yes"]);
                site.model.update_status(UNIT);
            },
            relations: &[],
        },
    );
}

#[test]
fn a_change_of_the_port() {
    let mut site = Site::serving();
    let person = site.person("ams");
    let relation = site.relate("client", "ams", &person);
    kill_at_every_moment(
        &mut site,
        &Change {
            hooks: &["config-changed"],
            act: &|site| site.set("port", "4000"),
            undo: &|site| site.set("port", "3000"),
            relations: &[relation],
        },
    );
}

#[test]
fn a_change_of_the_storage() {
    let mut site = Site::serving();
    kill_at_every_moment(
        &mut site,
        &Change {
            hooks: &["config-changed"],
            act: &|site| {
                site.set("storage_config", "storage:\n  fs:\n    root-directory: /var/lib/aar/other\n");
            },
            undo: &|site| site.set("storage_config", ""),
            relations: &[],
        },
    );
}

#[test]
fn a_remote_unit_that_comes_and_goes() {
    let mut site = Site::serving();
    let person = site.person("ams");
    let relation = site.model.relate_scripted("aar:client", "ams").unwrap();
    let (pem, unit) = (person.pem(), "ams/0");
    let join =
        |site: &mut Site| site.model.remote_set(relation, unit, &[("certificate", &pem), ("mode", "client")]);
    let leave = |site: &mut Site| site.model.remote_depart(relation, unit);
    let (joining, leaving) =
        (["client-relation-joined", "client-relation-changed"], ["client-relation-departed"]);
    kill_at_every_moment(
        &mut site,
        &Change { hooks: &joining, act: &join, undo: &leave, relations: &[relation] },
    );
    join(&mut site);
    kill_at_every_moment(
        &mut site,
        &Change { hooks: &leaving, act: &leave, undo: &join, relations: &[relation] },
    );
}

#[test]
fn a_relation_that_is_made_and_removed() {
    let mut site = Site::serving();
    let relate = |site: &mut Site| {
        site.model.relate_scripted("aar:client", "ams").unwrap();
    };
    let remove = |site: &mut Site| {
        let last = site.model.runs(UNIT);
        let last =
            last.iter().rev().find_map(|run| run.variable("JUJU_RELATION_ID").rsplit_once(':')).unwrap();
        site.model.remove_relation(last.1.parse().unwrap()).unwrap();
    };
    let (made, broken) = (["client-relation-created"], ["client-relation-broken"]);
    kill_at_every_moment(&mut site, &Change { hooks: &made, act: &relate, undo: &remove, relations: &[] });
    relate(&mut site);
    kill_at_every_moment(&mut site, &Change { hooks: &broken, act: &remove, undo: &relate, relations: &[] });
}

#[test]
fn a_refresh() {
    let mut site = Site::serving();
    let other = upgrades::other_charm();
    kill_at_every_moment(
        &mut site,
        &Change {
            hooks: &["upgrade-charm"],
            act: &|site| site.model.refresh("aar", &other).unwrap(),
            undo: &|site| site.model.refresh("aar", &charm()).unwrap(),
            relations: &[],
        },
    );
}

#[test]
fn a_refresh_that_is_rolled_back() {
    let mut site = Site::serving();
    let broken = pack("broken", upgrades::broken);
    kill_at_every_moment(
        &mut site,
        &Change {
            hooks: &["upgrade-charm"],
            act: &|site| site.model.refresh("aar", &broken).unwrap(),
            undo: &|site| site.model.refresh("aar", &charm()).unwrap(),
            relations: &[],
        },
    );
}

#[test]
fn a_daemon_to_be_started_again() {
    let mut site = Site::serving();
    kill_at_every_moment(
        &mut site,
        &Change {
            hooks: &["update-status"],
            act: &|site| {
                site.machine().say(&["systemctl", "stop", "aard"]);
                site.model.update_status(UNIT);
            },
            undo: &|_| {},
            relations: &[],
        },
    );
}

#[test]
fn the_unit_s_end() {
    for hook in ["stop", "remove"] {
        let mut wanted = None;
        for moment in moments() {
            let mut number = 0;
            loop {
                let mut site = Site::serving();
                let before = site.model.runs(UNIT).len();
                // The first one is left alone.
                if number > 0 {
                    kill(&site, hook, moment(number));
                }
                site.model.remove_unit(UNIT).unwrap();
                let killed = was_killed(&site, before);
                // Keys and certificates are another machine's.
                let mut end = end(&site, &[]);
                end.files.retain(|path, _| !path.starts_with("/var/lib/aar/certs"));
                let when = format!("{hook} killed at {:?}", moment(number));
                match &wanted {
                    Some(wanted) => assert_same(&end, wanted, &when, &site),
                    None => wanted = Some(end),
                }
                if number > 0 && !killed {
                    break;
                }
                number = next(&moment(number), number);
            }
            println!("{hook}: killed up to number {} ({:?})", number - 1, moment(0));
        }
    }
}
