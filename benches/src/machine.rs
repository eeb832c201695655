//! What the figures were measured on.

use std::{fmt, fs, path::Path, process::Command, thread::available_parallelism, time::Instant};

use aar_tests::ops_python;
use anyhow::{Context, Result};
use serde::Serialize;

use crate::servers::{ServerKind, docker_registry, nginx};

/// Facts of the machine and of the programs.
#[derive(Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    memory_mib: u64,
    kernel: String,
    openssl: &'static str,
    file_system: String,
    programs: Vec<String>,
}

impl Machine {
    /// Looks at this machine, and at the file system that holds `dir`.
    pub(crate) fn inspect(dir: &Path, servers: &[ServerKind], aard: &Path) -> Result<Self> {
        let cpu = read("/proc/cpuinfo")?;
        let memory = read("/proc/meminfo")?;
        let mut programs = vec![first_line(Command::new("curl").arg("--version"))?];
        for server in servers {
            programs.push(match server {
                ServerKind::Aard => first_line(Command::new(aard).arg("--version"))?,
                ServerKind::Nginx => first_line(Command::new(nginx::PROGRAM).arg("-v"))?,
                ServerKind::DockerRegistry => {
                    first_line(Command::new(docker_registry::PROGRAM).arg("--version"))?
                }
                ServerKind::Ops => first_line(
                    Command::new(ops_python()).args(["-c", "import ops; print('ops', ops.__version__)"]),
                )?,
            });
        }
        Ok(Self {
            cores: available_parallelism()?.get(),
            cpu: field(&cpu, "model name").unwrap_or("unknown").to_owned(),
            memory_mib: field(&memory, "MemTotal")
                .and_then(|total| total.strip_suffix(" kB")?.parse::<u64>().ok())
                .context("cannot understand `/proc/meminfo`")?
                / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            openssl: openssl::version::version(),
            file_system: first_line(Command::new("findmnt").args(["-no", "FSTYPE,SOURCE", "-T"]).arg(dir))?,
            programs,
        })
    }
}

/// Watches how much of the CPU goes to programs that have nothing to do with the measurement.
pub(crate) struct Bystanders {
    start: Instant,
    others: u64,
}

impl Bystanders {
    /// Begins to watch.
    pub(crate) fn watch() -> Result<Self> {
        Ok(Self { start: Instant::now(), others: others_ticks()? })
    }

    /// Their share of all cores so far, in percent. All children of this process must have ended.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn percent(&self) -> Result<f64> {
        let seconds = others_ticks()?.saturating_sub(self.others) as f64
            / rustix::param::clock_ticks_per_second() as f64;
        Ok(100.0 * seconds / (self.start.elapsed().as_secs_f64() * available_parallelism()?.get() as f64))
    }
}

/// CPU time of the machine without this process and its children.
fn others_ticks() -> Result<u64> {
    let all = read("/proc/stat")?;
    let own = read("/proc/self/stat")?;
    let ticks = |all: &str, own: &str| {
        // user nice system idle iowait irq softirq …
        let cores: Vec<u64> = all.lines().next()?.split_whitespace().skip(1).flat_map(str::parse).collect();
        let busy: u64 = [0, 1, 2, 5, 6].iter().map(|&state| cores.get(state)).sum::<Option<u64>>()?;
        // utime stime cutime cstime
        let own = own.rsplit_once(") ")?.1.split(' ').skip(11).take(4);
        Some(busy.saturating_sub(own.flat_map(str::parse::<u64>).sum()))
    };
    ticks(&all, &own).context("cannot understand `/proc/stat`")
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "machine: {} × {}, {} MiB, Linux {}",
            self.cores, self.cpu, self.memory_mib, self.kernel
        )?;
        writeln!(f, "data on: {}", self.file_system)?;
        write!(f, "{}; {}", self.openssl, self.programs.join("; "))
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// The first line that a program prints; nginx prints its version as an error.
fn first_line(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("cannot run `{}`", command.get_program().display()))?;
    let text = String::from_utf8([output.stdout, output.stderr].concat())?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
