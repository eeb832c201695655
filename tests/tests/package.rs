//! The charm's archive: what Juju, `ops`, charmcraft, systemd and Prometheus find in it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aar_tests::{Daemon, binary, ops_python, pack_charm, pack_command};
use tempfile::TempDir;
use zip::{CompressionMethod, ZipArchive};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A file of the archive.
struct Entry {
    mode: u32,
    content: Vec<u8>,
}

/// The archive, and its entries by name.
fn packed() -> (TempDir, PathBuf, BTreeMap<String, Entry>) {
    let dir = TempDir::with_prefix("package").unwrap();
    let archive = pack_charm(dir.path());
    let mut zip = ZipArchive::new(File::open(&archive).unwrap()).unwrap();
    let mut entries = BTreeMap::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).unwrap();
        let name = file.name().unwrap().into_owned();
        assert!(
            matches!(file.compression(), CompressionMethod::Stored | CompressionMethod::Deflated),
            "{name}"
        );
        assert!(!file.encrypted(), "{name}");
        let mode = file.unix_mode().unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert!(entries.insert(name.clone(), Entry { mode, content }).is_none(), "{name} is there twice");
    }
    (dir, archive, entries)
}

/// A directory with what an archive holds.
fn unpacked() -> TempDir {
    let (_archive, _, entries) = packed();
    let dir = TempDir::with_prefix("charm").unwrap();
    for (name, entry) in entries {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, entry.content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(entry.mode & 0o777)).unwrap();
    }
    dir
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}:\n{}", text(&output));
    text(&output)
}

#[test]
fn juju_finds_what_it_looks_for_under_the_exact_names() {
    let (_dir, _, entries) = packed();
    let at_root: BTreeSet<_> =
        entries.keys().filter(|name| !name.contains('/')).map(String::as_str).collect();
    let expected = [
        "LICENSE",
        "README.md",
        "actions.yaml",
        "config.yaml",
        "dispatch",
        "icon.svg",
        "manifest.yaml",
        "metadata.yaml",
        "version",
    ];
    assert_eq!(at_root, BTreeSet::from(expected));
    for (name, entry) in &entries {
        let odd = name.starts_with('/')
            || name.contains('\\')
            || name.split('/').any(|part| [".", "..", ""].contains(&part));
        assert!(!odd, "{name}");
        let runs = name == "dispatch" || name.starts_with("workload/usr/local/bin/");
        assert_eq!(entry.mode, if runs { 0o100_755 } else { 0o100_644 }, "{name}");
    }
    let manifest: serde_json::Value = serde_yaml::from_slice(&entries["manifest.yaml"].content).unwrap();
    let bases: Vec<_> = manifest["bases"].as_array().unwrap().iter().collect();
    let channels: Vec<_> = bases.iter().map(|base| base["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["20.04", "22.04", "24.04"]);
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert!(
        bases
            .iter()
            .all(|base| base["name"] == "ubuntu" && base["architectures"] == serde_json::json!([machine]))
    );
}

#[test]
fn the_same_programs_make_the_same_archive_whoever_packs_them_when_and_where() {
    let dir = TempDir::with_prefix("package").unwrap();
    let copies = dir.path().join("copies, touched later");
    fs::create_dir(&copies).unwrap();
    // Last first, so that the directory lists them in another order.
    for name in ["dispatch", "aard", "aar"] {
        fs::copy(binary(name), copies.join(name)).unwrap();
        fs::set_permissions(copies.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let first = pack_charm(dir.path());
    let second = dir.path().join("second/of two.charm");
    let pack = pack_command(&copies, &second);
    let mut elsewhere = Command::new("sh");
    elsewhere.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(pack.get_program()).args(pack.get_args());
    for (name, value) in pack.get_envs() {
        elsewhere.env(name, value.unwrap());
    }
    elsewhere.envs([("TZ", "Pacific/Chatham"), ("LC_ALL", "C.UTF-8")]).current_dir(dir.path());
    // Times in a zip are of two seconds.
    std::thread::sleep(std::time::Duration::from_secs(2));
    succeed(&mut elsewhere);
    assert!(fs::read(first).unwrap() == fs::read(second).unwrap(), "the archives differ");
}

#[test]
fn ops_and_charmcraft_take_the_charm() {
    let charm = unpacked();
    let script = Path::new(SOURCES).join("tests/ops/accept.py");
    succeed(Command::new(ops_python()).arg(script).arg(charm.path()).arg(SOURCES));
}

#[test]
fn ops_and_charmcraft_are_asked_in_earnest() {
    let charm = unpacked();
    let script = Path::new(SOURCES).join("tests/ops/accept.py");
    for (file, from, to) in [
        ("metadata.yaml", "interface: aar", "interfaces: aar"),
        ("config.yaml", "type: int", "type: integer"),
        ("actions.yaml", "type: boolean", "type: bool"),
        ("manifest.yaml", "architectures: [", "architectures: [0, "),
    ] {
        let path = charm.path().join(file);
        let good = fs::read_to_string(&path).unwrap();
        assert!(good.contains(from), "{file}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let asked = Command::new(ops_python()).arg(&script).arg(charm.path()).arg(SOURCES).output().unwrap();
        assert!(!asked.status.success(), "{file} with `{to}` is taken");
        fs::write(path, good).unwrap();
    }
}

#[test]
fn the_workloads_unit_starts_the_workloads_daemon() {
    let charm = unpacked();
    let workload = charm.path().join("workload");
    let unit = fs::read_to_string(workload.join("usr/local/lib/systemd/system/aard.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert_eq!(start, "/usr/local/bin/aard");
    let version = succeed(Command::new(workload.join(&start[1..])).arg("--version"));
    assert!(version.starts_with("aard "), "{version}");
    // What is left is the unit as it is in the sources.
    let source = fs::read_to_string(Path::new(SOURCES).join("packaging/systemd/aard.service")).unwrap();
    assert_eq!(unit.replace("/usr/local/bin", "/usr/bin"), source);
}

#[test]
fn the_unit_for_synchronisation_is_installed_valid_and_confined() {
    let charm = unpacked();
    let installed = charm.path().join("workload/usr/local/lib/systemd/system/aar-sync.service");
    let unit = fs::read_to_string(installed).unwrap();
    assert!(unit.contains("\nExecStart=/usr/local/bin/aar sync\n"), "{unit}");
    // The program is not installed here: its own binary stands where the unit will find it.
    let copy = charm.path().join("aar-sync.service");
    fs::write(&copy, unit.replace("/usr/local/bin/aar", binary("aar").to_str().unwrap())).unwrap();
    let verified = succeed(Command::new("systemd-analyze").arg("verify").arg(&copy));
    assert_eq!(verified, "");
    let security = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    succeed(Command::new("systemd-analyze").args(security).arg(&copy));
}

#[test]
fn prometheus_takes_the_alert_rules_and_they_fire_when_they_should() {
    let dir = unpacked();
    let rules = fs::read_to_string(dir.path().join("cos/prometheus_alert_rules/aar.yaml")).unwrap();
    fs::write(dir.path().join("rules.yaml"), rules.replace("%%juju_topology%%", "juju_application=\"aar\""))
        .unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/alerts.yaml"), dir.path().join("alerts.yaml"))
        .unwrap();
    succeed(Command::new("promtool").args(["check", "rules", "rules.yaml"]).current_dir(dir.path()));
    succeed(Command::new("promtool").args(["test", "rules", "alerts.yaml"]).current_dir(dir.path()));
}

#[test]
fn alert_rules_and_dashboard_ask_for_metrics_that_the_daemon_has() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", b"image");
    daemon.connect(None).request("GET", "/1.0/applications", &[], b"");
    let exported = String::from_utf8(daemon.admin("GET", "/1.0/metrics", b"").body).unwrap();
    let exported: BTreeSet<_> = names(&exported);

    let dir = unpacked();
    let cos = dir.path().join("cos");
    let rules = fs::read_to_string(cos.join("prometheus_alert_rules/aar.yaml")).unwrap();
    let dashboard = fs::read_to_string(cos.join("grafana_dashboards/aar.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    for asked in [rules, dashboard.to_string()] {
        let asked: BTreeSet<_> = names(&asked);
        assert!(asked.len() >= 4, "{asked:?}");
        let unknown: Vec<_> = asked.difference(&exported).collect();
        assert!(unknown.is_empty(), "the daemon does not export {unknown:?}");
    }
}

#[test]
fn every_status_text_of_the_guide_is_one_of_the_charms() {
    let mut source = sources(&Path::new(SOURCES).join("charm/src"));
    // As the compiler puts lines together.
    while let Some(end) = source.find("\\\n") {
        let next = source[end + 2..].find(|c: char| c != ' ').unwrap();
        source.replace_range(end..end + 2 + next, "");
    }
    let source = source.replace("{OPTION}", "storage_config");
    let guide = fs::read_to_string(Path::new(SOURCES).join("docs/charm.md")).unwrap();
    let (_, troubleshoot) = guide.split_once("\n## Troubleshoot by status text\n").unwrap();
    let (of_the_charm, _) = troubleshoot.split_once("\n### error\n").unwrap();
    let cells = of_the_charm.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let mut known = 0;
    for cell in cells {
        let texts: Vec<_> = match cell.strip_prefix('`') {
            Some(quoted) => vec![quoted.split("``").next().unwrap().trim()],
            None => cell.split('`').step_by(2).collect(),
        };
        for part in texts.iter().flat_map(|text| text.split('…')) {
            assert!(source.contains(part), "the charm has no text with {part:?}, as in {cell:?}");
        }
        known += texts.len();
    }
    assert!(known > 30, "{known}");
}

fn sources(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        text += &if path.is_dir() { sources(&path) } else { fs::read_to_string(path).unwrap() };
    }
    text
}

/// Names of the daemon's metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("aar_")).collect()
}
