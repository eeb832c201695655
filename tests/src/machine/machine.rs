//! A machine that has been booted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::files::Files;
use super::holder::{Holder, programs};
use super::network::Network;
use super::pro::Pro;
use crate::binary;

/// How long it may take to boot; far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running machine. It is switched off when dropped.
pub struct Machine {
    directory: PathBuf,
    arguments: Vec<String>,
    holder: Mutex<Option<Holder>>,
}

impl Machine {
    /// Boots a machine as it comes, with its files below `directory`, on a file system that overlays can be made of.
    pub fn boot(directory: &Path, name: &str, network: &Network, host: u8) -> Self {
        let arguments = vec![
            directory.display().to_string(),
            name.to_owned(),
            network.bridge.clone(),
            format!("{}/24", network.address(host)),
            programs().display().to_string(),
        ];
        let machine = Self { directory: directory.to_owned(), arguments, holder: Mutex::new(None) };
        machine.switch_on();
        symlink(binary("pro-stand-in"), machine.root().join("usr/bin/pro")).unwrap();
        machine
    }

    fn switch_on(&self) {
        let holder = Holder::start("boot.sh", self.arguments.iter().map(String::as_str));
        *self.holder.lock().unwrap() = Some(holder);
        let begun = Instant::now();
        loop {
            let state = self.run(&["systemctl", "is-system-running"]);
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            match state.as_str() {
                "running" | "degraded" => return,
                _ => assert!(begun.elapsed() < PATIENCE, "systemd does not come up: {state:?}"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Cuts its power and boots it again: what was in memory is gone.
    pub fn reboot(&self) {
        *self.holder.lock().unwrap() = None;
        self.switch_on();
    }

    fn first_process(&self) -> String {
        self.holder.lock().unwrap().as_ref().unwrap().answer.clone()
    }

    /// Its files, as a path of this machine; another after a reboot.
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.first_process()).into()
    }

    /// A command to be completed with a program of the machine and its arguments. The environment and the streams are
    /// what the command is given, the working directory is `/`.
    pub fn enter(&self) -> Command {
        let mut command = Command::new("/usr/bin/nsenter");
        let first = self.first_process();
        command.args(["--target", &first, "--mount", "--net", "--pid", "--cgroup", "--ipc", "--uts", "--"]);
        command
    }

    /// Runs a program there.
    pub fn run(&self, command: &[&str]) -> Output {
        self.enter().args(command).stdin(Stdio::null()).output().unwrap()
    }

    /// What a program there says on standard output; it must succeed.
    pub fn say(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The text of a file of the machine.
    pub fn read(&self, path: &str) -> String {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A property of a service, such as `ActiveState`, `MainPID`, `NRestarts`.
    pub fn property(&self, service: &str, property: &str) -> String {
        let output = self.say(&["systemctl", "show", "--property", property, service]);
        output.trim().split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    /// What a service, or all, wrote to the journal.
    pub fn journal(&self, service: Option<&str>) -> String {
        let mut command = vec!["journalctl", "--no-pager", "--output", "cat"];
        command.extend(service.into_iter().flat_map(|service| ["--unit", service]));
        self.say(&command)
    }

    /// Gives it a disk, mounted at `location`.
    pub fn attach_disk(&self, name: &str, location: &Path) {
        let disk = format!("/var/lib/juju/storage-disks/{name}");
        fs::create_dir_all(self.root().join(disk.trim_start_matches('/'))).unwrap();
        let location = location.to_str().unwrap();
        // As Juju does, so that it is there again after a reboot, before any service.
        let line = format!("{disk} {location} none bind 0 0\n");
        let table = self.root().join("etc/fstab");
        fs::write(&table, fs::read_to_string(&table).unwrap() + &line).unwrap();
        self.say(&["mount", location]);
    }

    /// Takes the disk that is mounted at `location`.
    pub fn detach_disk(&self, location: &Path) {
        let location = location.to_str().unwrap();
        self.say(&["umount", location]);
        let table = self.root().join("etc/fstab");
        let text = fs::read_to_string(&table).unwrap();
        let kept = text.split_inclusive('\n').filter(|line| line.split(' ').nth(1) != Some(location));
        fs::write(&table, kept.collect::<String>()).unwrap();
    }

    /// What has been changed there; see [`Files`].
    pub fn files(&self) -> Files {
        Files::of(&self.directory.join("upper"))
    }

    /// What Ubuntu Pro's client there does.
    pub fn pro(&self) -> Pro<'_> {
        Pro::new(self)
    }
}
