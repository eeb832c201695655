//! `config-changed` with nothing to do, run by the stand-in for Juju's agent: the charm with a registry that serves, against
//! a charm of `ops` without any code of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use aar_tests::{
    Person,
    juju::{JujuVersion, Model, Outcome, Run},
    ops_python, pack_charm,
};
use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

use crate::{
    bench::Bench,
    report::{Bar, Limit, Report, Samples},
    servers::ServerKind,
};

/// The charm may take so much of the time that `ops` takes.
const TIME_FACTOR: f64 = 0.1;
const CALLS_LIMIT: f64 = 8.0;
const CALLS_OF_A_RELATION: f64 = 2.0;
const RELATED: [(&str, &str); 3] = [("client", "ams-1"), ("client", "ams-2"), ("publisher", "ams-3")];
const TOKEN: &str = "C1tokenOfTheBench";

/// What a charm of `ops` has at least.
const OPS_METADATA: &str = "name: empty\nsummary: Does nothing\ndescription: Does nothing.\n";
const OPS_CHARM: &str = "import ops\n\nops.main(ops.CharmBase)\n";
/// What `ops` consists of and needs, by how it begins.
const OPS_PACKAGES: [&str; 6] = ["_yaml", "ops", "opentelemetry", "typing_extensions", "websocket", "yaml"];

/// Measures time, memory and the number of calls of hook tools.
pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    if !bench.measures(ServerKind::Aard) || !bench.measures(ServerKind::Ops) {
        report.note("config-changed: left out, since it compares aard's charm with one of ops");
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        report.note("config-changed: left out, since a machine for the charm takes root");
        return Ok(());
    }
    let dir = TempDir::new()?;
    let (mut ours, mut theirs) = (Charm::ours(dir.path())?, Charm::of_ops(dir.path())?);
    let (mut time, mut memory, mut calls) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..bench.scale.events {
        for charm in [&mut ours, &mut theirs] {
            let run = charm.config_changed()?;
            time.add(charm.kind, run.elapsed.as_secs_f64() * 1e3);
            calls.add(charm.kind, count(&run));
        }
    }

    let related = format!("config-changed, nothing to do, {} relations", RELATED.len());
    let (mut related_time, mut related_calls) = (Samples::default(), Samples::default());
    for (endpoint, name) in RELATED {
        ours.relate(endpoint, name, dir.path())?;
    }
    for _ in 0..bench.scale.events {
        let run = ours.config_changed()?;
        related_time.add(ours.kind, run.elapsed.as_secs_f64() * 1e3);
        related_calls.add(ours.kind, count(&run));
    }

    // Last, since what watches the memory takes time.
    for charm in [&mut ours, &mut theirs] {
        charm.watch_memory()?;
        for _ in 0..bench.runs {
            charm.config_changed()?;
        }
        for peak in charm.peaks()? {
            memory.add(charm.kind, peak);
        }
    }

    let name = "config-changed, nothing to do";
    report.add(name, "time, ms", time, Some(Bar::AtMost(Limit::Times(TIME_FACTOR, ServerKind::Ops))));
    report.add(name, "largest process, MiB", memory, Some(Bar::AtMost(Limit::Times(1.0, ServerKind::Ops))));
    report.add(name, "hook tool calls", calls, Some(Bar::AtMost(Limit::Value(CALLS_LIMIT))));
    #[allow(clippy::cast_precision_loss)] // a handful
    let limit = CALLS_LIMIT + CALLS_OF_A_RELATION * RELATED.len() as f64;
    report.add(&related, "time, ms", related_time, None);
    report.add(&related, "hook tool calls", related_calls, Some(Bar::AtMost(Limit::Value(limit))));
    report.note(
        "config-changed: each charm is on a machine of its own, with systemd, which the agent enters anew for each event; a \
         call of a hook tool takes next to nothing here, and some 50 ms on a real agent",
    );
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // a handful
fn count(run: &Run) -> f64 {
    run.calls.len() as f64
}

/// A charm with one unit in a model of its own.
struct Charm {
    kind: ServerKind,
    unit: &'static str,
    model: Model,
    events: u32,
}

impl Charm {
    /// The registry's charm, once its registry serves.
    fn ours(dir: &Path) -> Result<Self> {
        let mut model = Model::on_machines(JujuVersion::V3_6);
        model.deploy(&pack_charm(dir)).map_err(|error| anyhow!(error))?;
        model.machine("aar/0").pro().accept(&[TOKEN]);
        model.config("aar", &[&format!("ua_token={TOKEN}")]).map_err(|error| anyhow!(error))?;
        let charm = Self { kind: ServerKind::Aard, unit: "aar/0", model, events: 0 };
        charm.check_status()?;
        Ok(charm)
    }

    fn of_ops(dir: &Path) -> Result<Self> {
        let charm = dir.join("empty");
        fs::create_dir_all(charm.join("src"))?;
        fs::write(charm.join("metadata.yaml"), OPS_METADATA)?;
        fs::write(charm.join("src/charm.py"), OPS_CHARM)?;
        // As charmcraft packs it: with the packages that it needs.
        copy_ops(&charm.join("venv"))?;
        let python = fs::canonicalize(ops_python())?;
        let start = format!("PYTHONPATH=venv exec '{}' src/charm.py", python.display());
        write_program(&charm.join("dispatch"), &start)?;
        let mut model = Model::on_machines(JujuVersion::V3_6);
        model.deploy(&charm).map_err(|error| anyhow!(error))?;
        Ok(Self { kind: ServerKind::Ops, unit: "empty/0", model, events: 0 })
    }

    fn relate(&mut self, endpoint: &str, name: &str, dir: &Path) -> Result<()> {
        let relation =
            self.model.relate_scripted(&format!("aar:{endpoint}"), name).map_err(|error| anyhow!(error))?;
        let certificate = Person::new(dir, name).pem();
        let data = [("certificate", certificate.as_str()), ("mode", endpoint)];
        self.model.remote_set(relation, &format!("{name}/0"), &data);
        self.check_status()
    }

    /// Has the agent run `config-changed`: the network of an endpoint that has no relation is another one.
    fn config_changed(&mut self) -> Result<Run> {
        self.events += 1;
        let address = format!("192.0.2.{}", self.events % 2 + 1);
        self.model.set_network(self.unit, "juju-info", &address, &address);
        let run = self.model.runs(self.unit).pop().context("nothing has run")?;
        ensure!(run.name == "config-changed" && run.outcome == Outcome::Done, "{run:?}");
        if self.kind == ServerKind::Aard {
            self.check_status()?;
        }
        Ok(run)
    }

    fn check_status(&self) -> Result<()> {
        let status = self.model.unit_status(self.unit);
        ensure!(status.current == "active", "the charm is not at work: {status:?}");
        Ok(())
    }

    /// From now on, the largest process of each event is noted.
    fn watch_memory(&self) -> Result<()> {
        let charm = self.model.charm_directory(self.unit);
        fs::rename(charm.join("dispatch"), charm.join("watched"))?;
        write_program(&charm.join("dispatch"), "exec time --format=%M --append --output=../peaks ./watched")
    }

    /// What was noted, in MiB.
    fn peaks(&self) -> Result<Vec<f64>> {
        let file: PathBuf = self.model.charm_directory(self.unit).with_file_name("peaks");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        text.lines().map(|kibibytes| Ok(kibibytes.parse::<f64>()? / 1024.0)).collect()
    }
}

/// Copies `ops` and what it needs from where it is installed.
fn copy_ops(to: &Path) -> Result<()> {
    let library = ops_python().with_file_name("..").join("lib");
    let mut versions = fs::read_dir(library)?;
    let packages = versions.next().context("there is no Python")??.path().join("site-packages");
    fs::create_dir_all(to)?;
    let mut copy = Command::new("cp");
    copy.arg("--recursive").arg("--target-directory").arg(to).current_dir(&packages);
    for entry in fs::read_dir(&packages)? {
        let name = entry?.file_name();
        if OPS_PACKAGES.iter().any(|package| name.to_string_lossy().starts_with(package)) {
            copy.arg(name);
        }
    }
    ensure!(copy.status()?.success(), "ops cannot be copied from `{}`", packages.display());
    Ok(())
}

fn write_program(path: &Path, script: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{script}\n"))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
