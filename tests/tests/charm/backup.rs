//! Backup and restore.

use aar_tests::Person;
use serde_json::json;

use crate::kills::{kill, moments, next, was_killed};
use crate::{Site, UNIT};

/// What a registry has that archives hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    old: bool,
    new: bool,
    knows_newcomer: bool,
}

const OLD: Content = Content { old: true, new: false, knows_newcomer: false };
const NEW: Content = Content { old: false, new: true, knows_newcomer: true };

/// A registry whose archive `/root/old.tar` holds an application that is gone since, and whose archive `/root/new.tar`
/// holds what came then: another application, and somebody who is trusted.
fn changed_since() -> (Site, Person, Person) {
    let mut site = Site::serving();
    let (publisher, newcomer) = (site.person("publisher"), site.person("newcomer"));
    register(&mut site, &publisher);
    site.push(&publisher, "old", b"an old image");
    assert_eq!(act(&mut site, "backup", "/root/old.tar"), "completed");
    let path = "/1.0/applications/old";
    assert_eq!(site.request(&publisher, "DELETE", path, b"").status, 202);
    site.push(&publisher, "new", b"a new image");
    register(&mut site, &newcomer);
    assert_eq!(act(&mut site, "backup", "/root/new.tar"), "completed");
    assert_eq!(content(&site, &publisher, &newcomer), NEW);
    (site, publisher, newcomer)
}

fn register(site: &mut Site, person: &Person) {
    let parameters = json!({"certificate": person.pem(), "role": "publisher"});
    assert_eq!(site.model.run_with(UNIT, "register-client", parameters).unwrap().status, "completed");
}

fn act(site: &mut Site, action: &str, path: &str) -> String {
    site.model.run(UNIT, action, &[&format!("path={path}")]).unwrap().status
}

/// What there is; an image that is listed can be pulled.
fn content(site: &Site, publisher: &Person, newcomer: &Person) -> Content {
    let has = |application: &str, image: &[u8]| {
        let shown = site.request(publisher, "GET", &format!("/1.0/applications/{application}"), b"").status;
        if shown == 200 {
            assert!(site.pull(publisher, application) == image, "{application}");
        }
        shown == 200
    };
    Content {
        old: has("old", b"an old image"),
        new: has("new", b"a new image"),
        knows_newcomer: site.knows(newcomer),
    }
}

/// Files that a restore has beside what it replaces, as long as it lasts.
fn leftovers(site: &Site) -> Vec<String> {
    let files = site.machine().files().0.into_keys();
    let names = files.map(|path| path.display().to_string());
    names.filter(|path| path.starts_with("/var/lib/aar/") && path.contains("restore")).collect()
}

#[test]
fn an_archive_brings_back_images_trust_and_certificate() {
    let (mut site, publisher, newcomer) = changed_since();
    let before = site.machine().run(&["sha256sum", "/var/lib/aar/certs/server.crt"]).stdout;
    assert_eq!(act(&mut site, "restore", "/root/old.tar"), "completed");
    assert_eq!(content(&site, &publisher, &newcomer), OLD);
    assert_eq!(site.machine().run(&["sha256sum", "/var/lib/aar/certs/server.crt"]).stdout, before);
    assert_eq!(leftovers(&site), [""; 0]);
    // It is a registry as any.
    site.push(&publisher, "next", b"what comes next");
    site.model.update_status(UNIT);
    site.expect("active: serving 2 applications");
}

#[test]
fn archives_are_for_root_alone_and_never_replace_a_file() {
    let (mut site, ..) = changed_since();
    let mode = site.machine().run(&["stat", "--format=%a %U", "/root/old.tar"]).stdout;
    assert_eq!(mode, b"600 root\n");
    assert_eq!(act(&mut site, "backup", "/root/old.tar"), "failed");
    site.machine().say(&["sh", "-c", "echo garbage > /root/garbage.tar"]);
    assert_eq!(act(&mut site, "restore", "/root/garbage.tar"), "failed");
    site.expect("active: serving");
}

#[test]
fn a_restore_that_is_cut_off_is_there_whole_or_not_at_all() {
    let (mut site, publisher, newcomer) = changed_since();
    for moment in moments() {
        let mut number = 1;
        loop {
            let before = site.model.runs(UNIT).len();
            kill(&site, "restore", moment(number));
            act(&mut site, "restore", "/root/old.tar");
            let killed = was_killed(&site, before);
            let when = format!("killed at {:?}", moment(number));
            // Whether a hook runs next or another action, it is the same.
            if killed && number % 2 == 0 {
                assert_eq!(act(&mut site, "backup", "/root/cut-off.tar"), "completed", "{when}");
                site.machine().say(&["rm", "/root/cut-off.tar"]);
            }
            site.model.update_status(UNIT);
            site.expect("active: serving");
            let found = content(&site, &publisher, &newcomer);
            assert!(found == OLD || found == NEW, "{when}: {found:?}\n{}", site.story());
            assert!(killed || found == OLD, "{when}: {found:?}");
            assert_eq!(leftovers(&site), [""; 0], "{when}");
            if found == OLD {
                assert_eq!(act(&mut site, "restore", "/root/new.tar"), "completed", "{when}");
            }
            if !killed {
                break;
            }
            number = next(&moment(number), number);
        }
        println!("restore: killed up to number {} ({:?})", number - 1, moment(0));
    }
}
