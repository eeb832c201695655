//! Ceph's gateway with the least that it runs on: one monitor, one object store in one file, no replicas.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::process::{command, free_port};

/// Bytes that the object store may take; the file is sparse.
const CAPACITY: u64 = 40 << 30;

/// What of it does not change while it is stopped and started.
pub(super) struct Ceph {
    monitor: u16,
    store: [u16; 4],
}

impl Ceph {
    pub(super) fn new() -> Self {
        // The store takes any four ports of a range.
        let first = std::iter::repeat_with(free_port).find(|port| port + 4 < 32_000).unwrap();
        Self { monitor: free_port(), store: std::array::from_fn(|at| first + u16::try_from(at).unwrap()) }
    }

    /// Makes configuration, keys and the monitor's and the store's data. `run` carries out a command and waits for it;
    /// `start` leaves one running.
    pub(super) fn prepare(&self, dir: &Path, run: impl Fn(Command), mut start: impl FnMut(Command)) {
        fs::write(dir.join("ceph.conf"), self.configuration(dir)).unwrap();
        fs::create_dir(dir.join("monitor")).unwrap();
        fs::create_dir(dir.join("store")).unwrap();
        // Made before it is filled: it is for nobody else.
        let keyring = dir.join("keyring");
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&keyring).unwrap();
        let tool = |program: &str, arguments: &[&str]| {
            let mut tool = Self::program(program, dir);
            tool.args(arguments);
            tool
        };
        let (keyring, monitors) = (keyring.to_str().unwrap(), dir.join("monitors"));
        for (name, capabilities) in [
            ("mon.", &["--cap", "mon", "allow *"][..]),
            ("client.admin", &["--cap", "mon", "allow *", "--cap", "osd", "allow *"]),
            ("osd.0", &["--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"]),
        ] {
            run(tool("ceph-authtool", &[&[keyring, "--gen-key", "-n", name], capabilities].concat()));
        }
        let monitors = monitors.to_str().unwrap();
        let address = format!("[v2:127.0.0.1:{}]", self.monitor);
        run(tool("monmaptool", &["--create", "--fsid", CLUSTER, "--addv", "a", &address, monitors]));
        run(tool("ceph-mon", &["-i", "a", "--mkfs", "--monmap", monitors, "--keyring", keyring]));
        start(Self::monitor(dir));
        run(tool("ceph", &["--connect-timeout", "60", "osd", "new", STORE, "0"]));
        run(tool("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", STORE]));
        start(Self::store(dir));
    }

    /// Makes a user of the gateway, whose keys Ceph chooses: given to it, they would be arguments, for everybody to see.
    /// Monitor and store have to run.
    pub(super) fn create_user(dir: &Path, output: impl FnOnce(Command) -> Vec<u8>) -> (String, String) {
        let mut create = Self::program("radosgw-admin", dir);
        create.args([
            "user",
            "create",
            "--uid=tests",
            "--display-name=tests",
            "--gen-access-key",
            "--gen-secret",
        ]);
        let user: Value = serde_json::from_slice(&output(create)).unwrap();
        let key = |name: &str| user["keys"][0][name].as_str().unwrap().to_owned();
        (key("access_key"), key("secret_key"))
    }

    pub(super) fn monitor(dir: &Path) -> Command {
        let mut monitor = Self::program("ceph-mon", dir);
        monitor.args(["-i", "a", "-f"]);
        monitor
    }

    pub(super) fn store(dir: &Path) -> Command {
        let mut store = Self::program("ceph-osd", dir);
        store.args(["-i", "0", "-f"]);
        store
    }

    pub(super) fn gateway(dir: &Path, port: u16) -> Command {
        let mut gateway = Self::program("radosgw", dir);
        gateway.args(["-f", "-n", "client.admin"]);
        gateway.arg(format!("--rgw-frontends=beast endpoint=127.0.0.1:{port}"));
        gateway
    }

    fn program(name: &str, dir: &Path) -> Command {
        let installed = Path::new("/usr/bin").join(name);
        assert!(
            installed.exists(),
            "`{name}` is missing: install it with `tests/install-s3-servers.sh --ceph`"
        );
        let mut program = command(installed);
        program.env("CEPH_CONF", dir.join("ceph.conf"));
        program
    }

    fn configuration(&self, dir: &Path) -> String {
        let (dir, monitor, [first, .., last]) = (dir.display(), self.monitor, self.store);
        format!(
            "[global]\nfsid = {CLUSTER}\nmon host = v2:127.0.0.1:{monitor}\npublic addr = 127.0.0.1\n\
             cluster addr = 127.0.0.1\nms bind msgr1 = false\nms bind port min = {first}\nms bind port max = {last}\n\
             keyring = {dir}/keyring\nrun dir = {dir}\ncrash dir = {dir}\nadmin socket =\npid file =\n\
             log file =\nlog to stderr = true\ndebug rocksdb = 0/0\n\
             mon data = {dir}/monitor\nmon data avail crit = 1\nmon allow pool size one = true\n\
             osd data = {dir}/store\nosd objectstore = bluestore\nbluestore block size = {CAPACITY}\n\
             osd pool default size = 1\nosd pool default min size = 1\nosd pool default pg num = 4\n\
             osd crush chooseleaf type = 0\n"
        )
    }
}

/// Any UUIDs: no cluster sees another.
const CLUSTER: &str = "5a0d6b5e-6c1c-4f3c-9d7e-0f9b6a8b2c11";
const STORE: &str = "c1e7a3d4-2f55-4b0e-8f3b-7d3a9e5f4b22";
