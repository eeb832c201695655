//! Keeping a directory and a registry in step.

use std::path::Path;
use std::sync::Arc;

use aar_ams::{AmsSource, AmsTarget, Wanted};
use aar_client::{ImageAddress, RateLimit};
use aar_model::{AppName, Architecture, Version};
use aar_sync::{Mirror, OnChange, Outcome, Packages, Plan, Registry, Selection, Step, Sync, Timing};
use serde::Serialize;

use crate::cli::{self, Mode};
use crate::commands::application::this_machine;
use crate::connect;
use crate::error::{Error, Result};
use crate::output::{self, Present, size, table};
use crate::{logging, progress};

pub(crate) async fn run(command: cli::Sync, base_dir: &Path) -> Result<()> {
    let dir = command.dir.clone();
    let ams = command.ams.as_ref().map(|url| connect::ams(url, command.ams_fingerprint, &command.registry));
    let ams = ams.transpose()?;
    if command.on_change.is_some() && (command.mode == Mode::Push || ams.is_some()) {
        return Err(Error::Usage("--on-change is for pulling into a directory".into()));
    }
    let registry = match &command.from_relation {
        None => connect::Registry::choose(command.registry, base_dir).await?,
        Some(file) => connect::Registry::from_relation(command.registry, file)?,
    };
    let client = match command.limit_rate {
        None => registry.client,
        Some(limit) => registry.client.limited(Arc::new(RateLimit::new(limit))),
    };
    let registry = match ams {
        None => Registry::new(client, &dir),
        Some(_) => Registry::new(client, AmsSource::exports(&dir)),
    };
    let of_ams = ams.is_some().then(|| only(&command.architecture)).transpose()?;
    let architectures = if of_ams.is_some() { Vec::new() } else { command.architecture };
    let selection = Selection { tags: tags(&command.filter), architectures };
    let timing = Timing { interval: command.interval, parallel: command.parallel };
    let todo = if command.dry_run {
        Todo::Show(command.output.format)
    } else if command.once {
        Todo::Once
    } else {
        Todo::Keep
    };
    if !matches!(todo, Todo::Show(_)) {
        logging::init();
    }
    match (command.mode, ams.zip(of_ams)) {
        (Mode::Pull, None) => {
            let mirror = match todo {
                Todo::Show(_) => Mirror::look(&dir),
                Todo::Once | Todo::Keep => Mirror::open(&dir, command.on_change.is_some())?,
            };
            let on_change = command.on_change.map(|command| OnChange::new(&mirror, command));
            let sync = Sync { source: &registry, target: &mirror, selection, timing };
            carry_out(&sync, &registry, on_change.as_ref(), &todo).await
        }
        (Mode::Push, None) => {
            let packages = Packages::open(&dir)?;
            let sync = Sync { source: &packages, target: &registry, selection, timing };
            carry_out(&sync, &registry, None, &todo).await
        }
        (Mode::Pull, Some((ams, architecture))) => {
            let target = match todo {
                Todo::Show(_) => AmsTarget::look(ams, &dir)?,
                Todo::Once | Todo::Keep => AmsTarget::open(ams, &dir)?,
            };
            let source = Wanted { source: &registry, target: &target, architecture };
            let sync = Sync { source: &source, target: &target, selection, timing };
            carry_out(&sync, &registry, None, &todo).await
        }
        (Mode::Push, Some((ams, architecture))) => {
            let source = match todo {
                Todo::Show(_) => AmsSource::look(ams, architecture),
                Todo::Once | Todo::Keep => AmsSource::open(ams, architecture, &dir)?,
            };
            let sync = Sync { source: &source, target: &registry, selection, timing };
            carry_out(&sync, &registry, None, &todo).await
        }
    }
}

/// The tags that were given. An empty variable names none: it must not mean a tag that nothing has.
fn tags(given: &[String]) -> Vec<String> {
    given.iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
}

/// What the machines of AMS are.
fn only(architectures: &[Architecture]) -> Result<Architecture> {
    match architectures {
        [] => this_machine(),
        [only] => Ok(*only),
        _ => Err(Error::Usage("an AMS has machines of one architecture: give one".into())),
    }
}

/// What is asked for.
enum Todo {
    Show(cli::Format),
    Once,
    Keep,
}

async fn carry_out(
    sync: &Sync<'_>,
    registry: &Registry,
    on_change: Option<&OnChange<'_>>,
    todo: &Todo,
) -> Result<()> {
    match todo {
        Todo::Show(format) => output::print(*format, &PlanView::new(&sync.plan().await?)),
        Todo::Once => {
            let mut outcome = progress::while_waiting("getting in step", sync.round()).await?;
            if let Some(on_change) = on_change {
                outcome.failures.extend(on_change.once().await?);
            }
            summarise(&outcome)
        }
        Todo::Keep => {
            let telling = async {
                match on_change {
                    Some(on_change) => on_change.run().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                never = sync.run() => match never {},
                never = registry.listen() => match never {},
                never = telling => match never {},
            }
        }
    }
}

fn summarise(outcome: &Outcome) -> Result<()> {
    let Outcome { transferred, changed, removed, failures, conflicts } = outcome;
    output::say(&format!("transferred: {transferred}, changed: {changed}, removed: {removed}"))?;
    match (failures.first(), conflicts.len()) {
        (None, 0) => Ok(()),
        (first, conflicts) => Err(Error::OutOfStep {
            failed: failures.len(),
            conflicts,
            exit: first.map_or(crate::exit::Exit::Conflict, crate::error::exit_of_sync),
        }),
    }
}

/// A plan as it is shown.
#[derive(Serialize)]
#[serde(transparent)]
struct PlanView(Vec<StepView>);

#[derive(Serialize)]
struct StepView {
    action: &'static str,
    application: AppName,
    version: Option<Version>,
    architecture: Option<Architecture>,
    size: Option<u64>,
}

impl PlanView {
    fn new(plan: &Plan) -> Self {
        let conflicts = plan
            .conflicts
            .iter()
            .map(|conflict| StepView::of_image("conflict", &conflict.image, conflict.wanted.size));
        Self(plan.steps.iter().map(StepView::new).chain(conflicts).collect())
    }
}

impl StepView {
    fn new(step: &Step) -> Self {
        match step {
            Step::RemoveApplication { name } => Self::of("remove", name, None),
            Step::RemoveVersion { name, version } => Self::of("remove", name, Some(*version)),
            Step::RemoveImage { image } => Self::of_image("remove", image, None),
            Step::ChangeApplication { name, .. } => Self::of("change", name, None),
            Step::ChangeVersion { name, version, .. } => Self::of("change", name, Some(*version)),
            Step::Transfer { image, package, .. } => Self::of_image("transfer", image, package.size),
        }
    }

    fn of(action: &'static str, name: &AppName, version: Option<Version>) -> Self {
        Self { action, application: name.clone(), version, architecture: None, size: None }
    }

    fn of_image(action: &'static str, image: &ImageAddress, size: Option<u64>) -> Self {
        let ImageAddress { name, version, architecture } = image;
        Self { architecture: Some(*architecture), size, ..Self::of(action, name, Some(*version)) }
    }

    fn cells(&self, size: impl Fn(u64) -> String, nothing: &str) -> [String; 5] {
        let or_nothing = |text: Option<String>| text.unwrap_or_else(|| nothing.to_owned());
        [
            self.action.to_owned(),
            self.application.to_string(),
            or_nothing(self.version.map(|version| version.to_string())),
            or_nothing(self.architecture.map(|architecture| architecture.to_string())),
            or_nothing(self.size.map(size)),
        ]
    }
}

impl Present for PlanView {
    fn table(&self) -> String {
        let headings = ["ACTION", "APPLICATION", "VERSION", "ARCHITECTURE", "SIZE"];
        table(headings, self.0.iter().map(|step| step.cells(size, "-")))
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let header = ["action", "application", "version", "architecture", "size"].map(String::from).to_vec();
        let rows = self.0.iter().map(|step| step.cells(|size| size.to_string(), "").to_vec());
        std::iter::once(header).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use aar_sync::{Catalogue, Conflict, Package};

    use super::*;

    #[test]
    fn an_empty_filter_is_none_and_blanks_do_not_count() {
        let tags_of = |given: &str| tags(&given.split(',').map(String::from).collect::<Vec<_>>());
        for empty in ["", " ", ",", " , "] {
            assert_eq!(tags_of(empty), [""; 0], "{empty:?}");
        }
        assert_eq!(tags_of("eu, beta,"), ["eu", "beta"]);
    }

    #[test]
    fn a_plan_is_shown_in_every_format() {
        let name: AppName = "game".parse().unwrap();
        let image = |version: &str| ImageAddress {
            name: name.clone(),
            version: version.parse().unwrap(),
            architecture: Architecture::X86_64,
        };
        let package = Package { size: Some(3 << 20), ..Package::default() };
        let mut plan = Plan::new(
            &Catalogue::default(),
            &Catalogue::default(),
            aar_sync::Rules { removes: true, replaces: true },
        );
        plan.steps = vec![
            Step::RemoveApplication { name: "gone".parse().unwrap() },
            Step::RemoveVersion { name: name.clone(), version: "0".parse().unwrap() },
            Step::RemoveImage { image: image("1") },
            Step::ChangeApplication { name: name.clone(), fields: serde_json::Map::new() },
            Step::Transfer {
                image: image("2"),
                package: package.clone(),
                application: serde_json::Map::new(),
                version: serde_json::Map::new(),
            },
        ];
        plan.conflicts =
            vec![Conflict { image: image("3"), wanted: package.clone(), present: Package::default() }];
        insta::assert_snapshot!(output::all_formats(&PlanView::new(&plan)));
    }
}
