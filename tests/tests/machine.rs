//! The machines of the tests of the charm are machines: systemd runs there as it does anywhere, what is done there stays
//! there, and Ubuntu Pro's client answers as the real one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aar_tests::juju::{Deploy, JujuVersion, Model};
use aar_tests::machine::{Machine, Network};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A service that says that it is ready as late as `/srv/slow` says, and listens.
const UNIT: &str = "[Unit]\nDescription=Test\n[Service]\nType=notify\nNotifyAccess=all\nExecStart=/usr/local/bin/served\n\
    ExecReload=/bin/kill -HUP $MAINPID\nUser=nobody\nPrivateUsers=yes\nProtectSystem=strict\nStateDirectory=served\n\
    [Install]\nWantedBy=multi-user.target\n";
const PROGRAM: &str = "#!/bin/sh\ntrap 'echo reloaded' HUP\necho \"I am $(id -un)\"\n[ ! -e /srv/broken ] || exit 3\n\
    touch /var/lib/served/here\nsystemd-notify --ready\nwhile :; do sleep 0.05; done\n";

struct Setting {
    machine: Machine,
    network: Network,
    dir: TempDir,
}

fn setting() -> Setting {
    let (dir, network) = (tempfile::tempdir().unwrap(), Network::new());
    let machine = Machine::boot(&dir.path().join("0"), "juju-0", &network, 10);
    Setting { machine, network, dir }
}

fn write(machine: &Machine, path: &str, text: &str) {
    let path = machine.root().join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn with_service() -> Setting {
    let setting = setting();
    write(&setting.machine, "/etc/systemd/system/served.service", UNIT);
    write(&setting.machine, "/usr/local/bin/served", PROGRAM);
    setting.machine.say(&["chmod", "755", "/usr/local/bin/served"]);
    setting.machine.say(&["systemctl", "daemon-reload"]);
    setting
}

fn code(machine: &Machine, command: &[&str]) -> i32 {
    machine.run(command).status.code().unwrap()
}

#[test]
fn services_run_as_on_any_machine_and_survive_a_reboot() {
    let Setting { machine, network: _network, dir: _dir } = with_service();
    assert_eq!(code(&machine, &["systemctl", "is-active", "served"]), 3);
    assert_eq!(code(&machine, &["systemctl", "start", "nonesuch"]), 5);
    machine.say(&["systemctl", "enable", "--now", "served"]);
    assert_eq!(machine.property("served", "ActiveState"), "active");
    assert!(machine.journal(Some("served")).contains("I am nobody"));
    machine.say(&["systemctl", "reload", "served"]);
    let first = machine.property("served", "MainPID");
    machine.say(&["systemctl", "restart", "served"]);
    assert_ne!(machine.property("served", "MainPID"), first);

    machine.reboot();
    assert_eq!(machine.property("served", "ActiveState"), "active");

    write(&machine, "/srv/broken", "");
    assert_eq!(code(&machine, &["systemctl", "restart", "served"]), 1);
    assert_eq!(code(&machine, &["systemctl", "is-failed", "served"]), 0);
    assert_eq!(machine.property("served", "ExecMainStatus"), "3");
}

#[test]
fn a_changed_unit_file_is_not_used_before_it_is_read_again() {
    let Setting { machine, network: _network, dir: _dir } = with_service();
    machine.say(&["systemctl", "start", "served"]);
    write(&machine, "/etc/systemd/system/served.service", &UNIT.replace("=Test", "=Other"));
    let said = machine.run(&["systemctl", "restart", "served"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("daemon-reload"), "{said:?}");
    assert_eq!(machine.property("served", "Description"), "Test");
    machine.say(&["systemctl", "daemon-reload"]);
    assert_eq!(machine.property("served", "Description"), "Other");
}

#[test]
fn what_is_done_there_stays_there_and_can_be_seen() {
    let Setting { machine, network, dir } = with_service();
    let before = machine.files();
    machine.say(&["useradd", "--system", "somebody-of-the-machine"]);
    write(&machine, "/usr/local/bin/new", "");
    let changed = machine.files().changed_since(&before, &["/etc"]);
    assert_eq!(changed, ["/usr/local/bin", "/usr/local/bin/new"].map(Path::new));
    assert!(machine.read("/etc/passwd").contains("somebody-of-the-machine"));
    assert!(!fs::read_to_string("/etc/passwd").unwrap().contains("somebody-of-the-machine"));
    assert!(!Path::new("/usr/local/bin/new").exists());
    assert_eq!(machine.files().changed_since(&machine.files(), &[]), Vec::<&Path>::new());

    machine.say(&["systemctl", "start", "served"]);
    let process = machine.root();
    drop(machine);
    assert!(!process.exists(), "its first process has ended, and all others with it");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()));
    let address = network.address(1);
    drop(network);
    assert!(TcpListener::bind((address, 0)).is_err(), "the network is gone");
}

#[test]
fn machines_have_a_network_in_which_they_reach_each_other_and_what_is_offered() {
    let Setting { machine, network, dir } = setting();
    let other = Machine::boot(&dir.path().join("1"), "juju-1", &network, 11);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let offered = network.offer(listener.local_addr().unwrap());
    let reach = |from: &Machine, address: &str, port: u16| {
        let command = format!("exec 3<>/dev/tcp/{address}/{port}");
        from.run(&["timeout", "5", "bash", "-c", &command]).status.success()
    };
    assert!(reach(&machine, &offered.ip().to_string(), offered.port()));
    assert!(!reach(&machine, "127.0.0.1", listener.local_addr().unwrap().port()), "loopback is its own");
    machine.say(&["systemd-run", "--quiet", "--", "python3", "-m", "http.server", "3000"]);
    let address = network.address(10).to_string();
    let listens = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        TcpStream::connect((address.as_str(), 3000)).is_ok()
    });
    assert!(listens);
    assert!(reach(&other, &address, 3000));
}

#[test]
fn the_pro_client_answers_as_the_real_one() {
    let Setting { machine, network: _network, dir: _dir } = setting();
    let pro = machine.pro();
    pro.accept(&["C1good"]);
    write(&machine, "/tmp/good.yaml", "token: C1good\nenable_services: []\n");
    write(&machine, "/tmp/bad.yaml", "token: C1bad\n");
    write(&machine, "/tmp/none.yaml", "enable_services: []\n");
    let run = |command: &[&str]| {
        let output = machine.run(command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let asked = |arguments: &[&str]| {
        let (code, stdout, _) = run(&[&["pro"], arguments, &["--format", "json"]].concat());
        let answer: Value = serde_json::from_str(&stdout).unwrap();
        (code, answer["result"].clone(), answer["errors"][0]["message_code"].clone())
    };
    let attach = |file: &str| asked(&["attach", "--attach-config", file, "--no-auto-enable"]);
    let status = || serde_json::from_str::<Value>(&run(&["pro", "status", "--format", "json"]).1).unwrap();

    assert_eq!(status()["attached"], false);
    assert_eq!(attach("/tmp/bad.yaml"), (1, json!("failure"), json!("attach-invalid-token")));
    assert_eq!(attach("/tmp/none.yaml"), (1, json!("failure"), json!("attach-config-read-error")));
    assert_eq!(run(&["pro", "attach", "--attach-config", "/tmp/nonesuch"]).0, 2);
    let both = asked(&["attach", "C1good", "--attach-config", "/tmp/good.yaml"]);
    assert_eq!(both, (1, json!("failure"), json!("attach-token-xor-config")));
    let (code, _, stderr) = run(&["setpriv", "--reuid", "65534", "pro", "attach", "C1good"]);
    assert_eq!((code, stderr.as_str()), (1, "This command must be run as root (try using sudo).\n"));
    pro.hold_lock(true);
    assert_eq!(attach("/tmp/good.yaml"), (1, json!("failure"), json!("lock-held-error")));
    pro.hold_lock(false);
    pro.cut_off();
    assert_eq!(attach("/tmp/good.yaml"), (1, json!("failure"), json!("attach-failure")));
    assert_eq!(asked(&["detach", "--assume-yes"]), (1, json!("failure"), json!("unattached")));
    assert_eq!(pro.attached(), None);

    pro.accept(&["C1good"]);
    assert_eq!(attach("/tmp/good.yaml"), (0, json!("success"), Value::Null));
    assert_eq!((pro.attached().as_deref(), pro.services()), (Some("C1good"), Vec::new()));
    assert_eq!(status()["attached"], true);
    assert_eq!(attach("/tmp/good.yaml"), (2, json!("failure"), json!("already-attached")));
    assert_eq!(asked(&["detach"]), (1, json!("failure"), json!("json-format-require-assume-yes")));
    assert_eq!(asked(&["detach", "--assume-yes"]), (0, json!("success"), Value::Null));

    machine.say(&["pro", "attach", "C1good"]);
    assert_eq!(pro.services(), ["esm-apps", "esm-infra"]);
    let calls = pro.calls();
    let told = |call: &aar_tests::machine::ProCall| call.processes.iter().any(|line| line.contains("C1good"));
    assert!(
        told(calls.last().unwrap()) && !calls.iter().any(|call| call.arguments[0] == "status" && told(call))
    );
}

#[test]
fn a_model_that_goes_lets_go_of_its_machines() {
    let charm = tempfile::tempdir().unwrap();
    fs::write(charm.path().join("metadata.yaml"), "name: aar\nsummary: s\ndescription: d\n").unwrap();
    fs::write(charm.path().join("dispatch"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(charm.path().join("dispatch"), PermissionsExt::from_mode(0o755)).unwrap();
    let mut model = Model::on_machines(JujuVersion::V3_6);
    model.deploy(charm.path()).unwrap();
    let root = model.machine("aar/0").root().display().to_string();
    let listeners = || fs::read_to_string("/proc/net/unix").unwrap();
    assert!(listeners().contains(&root), "nothing listens for the unit's tools");
    drop(model);
    // Whoever listens on a machine keeps its disk.
    assert!(!listeners().contains(&root), "{}", listeners());
}

#[test]
fn a_unit_has_a_machine_where_its_hooks_run_as_on_any() {
    let charm = tempfile::tempdir().unwrap();
    let text = |name: &str, text: &str| fs::write(charm.path().join(name), text).unwrap();
    text(
        "metadata.yaml",
        "name: aar\nsummary: s\ndescription: d\nstorage:\n  data: {type: filesystem, location: /srv/data, multiple: {range: 0-1}}\n",
    );
    text(
        "dispatch",
        "#!/bin/sh\n[ \"$JUJU_DISPATCH_PATH\" = hooks/install ] && touch /etc/installed /srv/data/kept\n\
         status-set active \"$(hostname) $PWD $(id -u) $(stat -c %t%T /dev/null) $(ls /srv/data) $(systemctl is-system-running)\"\n",
    );
    fs::set_permissions(charm.path().join("dispatch"), PermissionsExt::from_mode(0o755)).unwrap();
    let mut model = Model::on_machines(JujuVersion::V3_6);
    model.deploy_with(charm.path(), Deploy { storage: vec!["data".into()], ..Deploy::default() }).unwrap();
    let said = "juju-0 /var/lib/juju/agents/unit-aar-0/charm 0 13 kept running";
    assert_eq!(model.unit_status("aar/0").message, said, "{:#?}", model.log());
    let address = model.network().address(10).to_string();
    assert_eq!(model.status()["applications"]["aar"]["units"]["aar/0"]["public-address"], address.as_str());
    assert!(model.machine("aar/0").files().0.contains_key(Path::new("/etc/installed")));

    model.reboot("aar/0");
    assert_eq!(model.history("aar/0").last().unwrap(), "start");
    assert_eq!(model.unit_status("aar/0").message, said);
    let machine = model.machine("aar/0");
    model.remove_unit("aar/0").unwrap();
    assert_eq!(machine.run(&["mountpoint", "/srv/data"]).status.code(), Some(32), "the disk is taken away");
}
