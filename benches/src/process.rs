//! A server's process: started, measured through /proc, and stopped.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long a server may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running server with its children; stopped when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own, which a Ctrl-C on the terminal does not reach. What it prints goes
    /// to the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot create `{}`", log.display()))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start `{}`", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Fails, with what it printed, if the server has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended ({status}): {}", fs::read_to_string(&self.log)?.trim());
        }
        Ok(())
    }

    /// Seconds of CPU time that the server and its children have used, user and system.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        Ok(self.sum("stat", cpu_ticks)? as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Makes [`Process::peak_memory`] start anew.
    pub(crate) fn reset_peak_memory(&self) -> Result<()> {
        for pid in self.pids()? {
            fs::write(format!("/proc/{pid}/clear_refs"), "5").context("cannot reset the peak of memory")?;
        }
        Ok(())
    }

    /// The most memory that was resident, in MiB; the peaks of several processes are added up, pages that they share
    /// counting for each.
    pub(crate) fn peak_memory(&self) -> Result<f64> {
        Ok(mebibytes(self.sum("status", |status| status_kibibytes(status, "VmHWM:"))?))
    }

    /// The memory that is resident now, in MiB, added up likewise.
    pub(crate) fn memory(&self) -> Result<f64> {
        Ok(mebibytes(self.sum("status", |status| status_kibibytes(status, "VmRSS:"))?))
    }

    fn sum(&self, file: &str, read: impl Fn(&str) -> Option<u64>) -> Result<u64> {
        self.pids()?
            .into_iter()
            .map(|pid| {
                let path = format!("/proc/{pid}/{file}");
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
                read(&text).with_context(|| format!("cannot understand `{path}`"))
            })
            .sum()
    }

    fn pids(&self) -> Result<Vec<u32>> {
        let pid = self.child.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
        let mut pids = vec![pid];
        for child in children.split_whitespace() {
            pids.push(child.parse()?);
        }
        Ok(pids)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let deadline = Instant::now() + STOP_LIMIT;
        let _ = kill_process(pid, Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        // What is left of the group, if it did not stop or left children behind.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// utime and stime out of /proc/PID/stat; the name, in brackets, may hold blanks and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn status_kibibytes(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[allow(clippy::cast_precision_loss)]
fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 1 0 0 0 120 34 9 9 20 0 1 0 1 1 1 1\n";
        assert_eq!(cpu_ticks(stat), Some(154));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_by_its_key() {
        let status = "VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(status_kibibytes(status, "VmHWM:"), Some(2048));
        assert_eq!(status_kibibytes(status, "VmSwap:"), None);
    }

    #[test]
    fn a_stopped_server_leaves_no_child_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "trap 'exit 0' TERM; sleep 600 & wait"]);
        let server = Process::start(&mut command, &dir.path().join("log")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.pids().unwrap().len() < 2 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let child = server.pids().unwrap()[1];
        assert!(server.memory().unwrap() > 0.0);

        drop(server);

        let ended = || match fs::read_to_string(format!("/proc/{child}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        while !ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(ended());
    }

    #[test]
    fn a_server_that_ends_is_reported_with_what_it_printed() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such port >&2; exit 3"]);
        let mut server = Process::start(&mut command, &dir.path().join("log")).unwrap();
        server.child.wait().unwrap();
        let error = server.check().unwrap_err().to_string();
        assert!(error.contains("no such port"), "{error}");
    }
}
