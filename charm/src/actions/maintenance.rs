//! Looking after the registry.

use aar_model::wire::{CollectReport, RebuildReport, StorageOutcome, StorageReport};
use serde::Deserialize;

use super::run::{Failure, Results, result};
use crate::daemon;
use crate::tools;

/// The results, and what is wrong with the storage.
pub(super) fn check_storage() -> Result<(Results, Option<String>), Failure> {
    let ran = daemon::run_aar(&["maintenance", "check-storage", "--format", "json"], None)?;
    // Where checks have failed, that is its exit code, and the report is there all the same.
    let text = ran.stdout();
    let Ok(report) = serde_json::from_str::<StorageReport>(&text) else {
        return Err(ran.ok().err().map_or_else(|| Failure::Told(text), Failure::from));
    };
    let mut failed = report.checks.iter().filter(|found| found.outcome == StorageOutcome::Failed);
    let first = failed.next();
    let count = first.map_or(0, |_| failed.count() + 1);
    let results = vec![
        result("failed", count),
        result("passed", report.checks.iter().filter(|found| found.outcome == StorageOutcome::Ok).count()),
        result("checks", serde_json::json!(report.checks)),
    ];
    let problem = first.map(|found| {
        let told = [found.detail.as_deref(), found.advice.as_deref()];
        let told: Vec<_> = told.into_iter().flatten().collect();
        format!(
            "{count} of {} checks failed, {} on {} first: {}",
            report.checks.len(),
            found.check,
            found.resource,
            told.join("; ")
        )
    });
    Ok((results, problem))
}

pub(super) fn rebuild_index() -> Result<Results, Failure> {
    let report: RebuildReport = daemon::aar(&["maintenance", "rebuild", "--format", "json"], None)?.json()?;
    Ok(vec![
        result("records", report.records),
        result("changed", report.changed),
        result("damaged", report.damaged),
        result("elapsed-ms", report.elapsed_ms),
    ])
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Collect {
    dry_run: Option<bool>,
}

pub(super) fn collect_garbage() -> Result<Results, Failure> {
    let Collect { dry_run } = tools::action_get()?;
    let mut arguments = vec!["maintenance", "collect-garbage", "--format", "json"];
    if dry_run.unwrap_or(false) {
        arguments.push("--dry-run");
    }
    let report: CollectReport = daemon::aar(&arguments, None)?.json()?;
    Ok(vec![
        result("images", report.removed.len()),
        result("bytes", report.bytes),
        result("dry-run", report.dry_run),
        result("removed", serde_json::json!(report.removed)),
    ])
}
