//! Other versions of the registry: by a refresh, or a resource.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use aar_tests::binary;

use crate::{Site, UNIT, image, pack, replace, run};

/// Another build that does the same.
fn other(programs: &Path) {
    let mut file = OpenOptions::new().append(true).open(programs.join("aard")).unwrap();
    file.write_all(b"another build").unwrap();
}

/// A build that takes every configuration and never becomes ready.
pub(crate) fn broken(programs: &Path) {
    replace(
        &programs.join("aard"),
        "case \"$*\" in *--check-config*) exit 0;; esac\necho 'aard: this build is broken' >&2\nexit 1",
    );
}

pub(crate) fn other_charm() -> std::path::PathBuf {
    pack("other", other)
}

#[test]
fn a_refresh_keeps_data_trust_and_certificate() {
    let mut site = Site::serving();
    let publisher = site.person("publisher");
    let relation = site.relate("publisher", "builder", &publisher);
    let image = image(200_000);
    site.push(&publisher, "game", &image);
    let (before, certificate) = (site.daemon(), site.told(relation, "certificate"));
    site.model.refresh("aar", &other_charm()).unwrap();
    site.expect("active: serving 1 application");
    assert_ne!(site.daemon(), before, "the new build runs");
    assert!(site.machine().run(&["grep", "-q", "another build", "/usr/local/bin/aard"]).status.success());
    assert!(site.pull(&publisher, "game") == image);
    assert_eq!(site.told(relation, "certificate"), certificate);

    // The same again changes nothing.
    let before = site.daemon();
    site.model.refresh("aar", &other_charm()).unwrap();
    site.expect("active: serving 1 application");
    assert_eq!(site.daemon(), before);
}

#[test]
fn a_build_that_does_not_become_ready_is_rolled_back() {
    let mut site = Site::serving();
    let publisher = site.person("publisher");
    site.relate("publisher", "builder", &publisher);
    let image = image(1000);
    site.push(&publisher, "game", &image);
    site.model.refresh("aar", &pack("broken", broken)).unwrap();
    site.expect_words("blocked: ", &["did not become ready", "this build is broken"]);
    assert!(!site.is_closed(3000), "{}", site.story());
    assert!(site.pull(&publisher, "game") == image, "the build before serves");
    site.model.update_status(UNIT);
    site.expect("blocked: ");
    assert!(site.knows(&publisher));
    site.model.refresh("aar", &other_charm()).unwrap();
    site.expect("active: serving 1 application");
    assert!(site.pull(&publisher, "game") == image);
}

#[test]
fn a_resource_wins_over_what_the_charm_carries_and_an_empty_one_does_not() {
    let mut site = Site::serving();
    let (tree, archive) = (site.people.path().join("tree"), site.people.path().join("aar.tar.gz"));
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/install.sh");
    run(Command::new(install)
        .arg(other_charm().with_file_name("programs"))
        .arg(&tree)
        .arg("/usr/local")
        .env("AAR", binary("aar")));
    run(Command::new("tar")
        .args(["--create", "--gzip", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(&tree)
        .arg("."));
    let is_other = |site: &Site| {
        site.machine().run(&["grep", "-q", "another build", "/usr/local/bin/aard"]).status.success()
    };
    site.model.attach_resource("aar", "aar", &archive).unwrap();
    site.expect("active: serving");
    assert!(is_other(&site), "{}", site.story());
    let empty = site.people.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    site.model.attach_resource("aar", "aar", &empty).unwrap();
    site.expect("active: serving");
    assert!(!is_other(&site));
}
