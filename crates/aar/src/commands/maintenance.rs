//! Maintenance of the registry on this machine.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use aar_client::Client;
use aar_config::Config;
use aar_model::wire::{
    CollectReport, CopyReport, DamagedImage, RebuildReport, StorageFinding, StorageOutcome, StorageReport,
    VerifyReport,
};

use crate::cli::Maintenance;
use crate::error::{Error, Result};
use crate::output::{self, Present, csv_list, facts, joined, printable, size, table};
use crate::progress::while_waiting;

/// More than a configuration may have, in bytes.
const MAX_INPUT: u64 = (1 << 20) + 1;

pub(crate) async fn run(command: Maintenance, daemon: &Client) -> Result<()> {
    match command {
        Maintenance::Rebuild { output } => {
            let report = while_waiting("rebuilding the index", daemon.rebuild()).await?;
            output::print(output.format, &report)
        }
        Maintenance::CollectGarbage { dry_run, grace, output } => {
            let work = daemon.collect_garbage(dry_run, grace.map(Duration::from_secs));
            output::print(output.format, &while_waiting("collecting garbage", work).await?)
        }
        Maintenance::Verify { output } => {
            let report = while_waiting("verifying all images", daemon.verify()).await?;
            output::print(output.format, &report)?;
            fail_if_damaged(&report.damaged)
        }
        Maintenance::CopyStorage { to, output } => {
            let configuration = read_configuration(&to)?;
            let work = daemon.copy_storage(configuration);
            let report = while_waiting("copying all images and records", work).await?;
            output::print(output.format, &report)?;
            fail_if_damaged(&report.damaged)?;
            match report.extra.len() {
                0 => Ok(()),
                extra => Err(Error::Extra(records(extra))),
            }
        }
        Maintenance::CheckStorage { output } => {
            let report = while_waiting("trying the storage", daemon.check_storage()).await?;
            output::print(output.format, &report)?;
            let failed = report.checks.iter().filter(|found| found.outcome == StorageOutcome::Failed).count();
            if failed == 0 { Ok(()) } else { Err(Error::Storage { failed, all: report.checks.len() }) }
        }
    }
}

fn fail_if_damaged(damaged: &[DamagedImage]) -> Result<()> {
    match damaged.len() {
        0 => Ok(()),
        1 => Err(Error::Damaged("1 image is".into())),
        damaged => Err(Error::Damaged(format!("{damaged} images are"))),
    }
}

/// Reads a configuration of the daemon, which may not read the file itself. Errors show no value of it.
fn read_configuration(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let path = if path == Path::new("-") {
        io::stdin().take(MAX_INPUT).read_to_end(&mut bytes).map_err(Error::Input)?;
        Path::new("standard input")
    } else {
        let file = File::open(path).map_err(Error::file("open", path))?;
        file.take(MAX_INPUT).read_to_end(&mut bytes).map_err(Error::file("read", path))?;
        path
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Usage(format!("`{}` is no configuration: it is not UTF-8", path.display())))?;
    Config::parse(&text, path)?;
    Ok(text)
}

impl Present for RebuildReport {
    fn table(&self) -> String {
        facts([
            ("Records", self.records.to_string()),
            ("Changed", self.changed.to_string()),
            ("Damaged", self.damaged.to_string()),
            ("Took", format!("{} ms", self.elapsed_ms)),
        ])
    }

    fn csv(&self) -> Vec<Vec<String>> {
        vec![
            ["records", "changed", "damaged", "elapsed_ms"].map(String::from).to_vec(),
            [self.records, self.changed, self.damaged, self.elapsed_ms].map(|n| n.to_string()).to_vec(),
        ]
    }
}

impl Present for CollectReport {
    fn table(&self) -> String {
        let done = if self.dry_run { "would be removed" } else { "removed" };
        let sum = format!("{} {done}, {}", images(self.removed.len()), size(self.bytes));
        if self.removed.is_empty() {
            return sum;
        }
        let rows = self.removed.iter().map(|image| [image.fingerprint.to_string(), size(image.size)]);
        format!("{}\n\n{sum}", table(["FINGERPRINT", "SIZE"], rows))
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let rows =
            self.removed.iter().map(|image| vec![image.fingerprint.to_string(), image.size.to_string()]);
        std::iter::once(vec!["fingerprint".into(), "size".into()]).chain(rows).collect()
    }
}

impl Present for VerifyReport {
    fn table(&self) -> String {
        let count = images(usize::try_from(self.images).unwrap_or(usize::MAX));
        let sum = format!("{count} read, {}, {} damaged", size(self.bytes), self.damaged.len());
        if self.damaged.is_empty() { sum } else { format!("{}\n\n{sum}", damaged_table(&self.damaged)) }
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let header = ["fingerprint", "problem", "applications"].map(String::from).to_vec();
        let rows = self.damaged.iter().map(|image| {
            vec![image.fingerprint.to_string(), image.problem.clone(), csv_list(&image.applications)]
        });
        std::iter::once(header).chain(rows).collect()
    }
}

impl Present for CopyReport {
    fn table(&self) -> String {
        let mut parts = Vec::new();
        if !self.damaged.is_empty() {
            parts.push(damaged_table(&self.damaged));
        }
        if !self.extra.is_empty() {
            parts.push(table(["ONLY IN THE OTHER STORAGE"], self.extra.iter().map(|key| [key.clone()])));
        }
        parts.push(facts([
            ("Images copied", format!("{}, {}", self.images, size(self.bytes))),
            ("Images there", self.images_skipped.to_string()),
            ("Images damaged", self.damaged.len().to_string()),
            ("Records copied", self.records.to_string()),
            ("Records there", self.records_skipped.to_string()),
            ("Only there", self.extra.len().to_string()),
        ]));
        parts.join("\n\n")
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let header = ["images", "images_skipped", "bytes", "records", "records_skipped", "damaged", "extra"];
        let numbers = [self.images, self.images_skipped, self.bytes, self.records, self.records_skipped];
        let mut row = numbers.map(|n| n.to_string()).to_vec();
        row.push(csv_list(self.damaged.iter().map(|image| image.fingerprint)));
        row.push(csv_list(&self.extra));
        vec![header.map(String::from).to_vec(), row]
    }
}

fn damaged_table(damaged: &[DamagedImage]) -> String {
    let rows = damaged
        .iter()
        .map(|image| [image.fingerprint.to_string(), image.problem.clone(), joined(&image.applications)]);
    table(["FINGERPRINT", "PROBLEM", "USED BY"], rows)
}

fn records(count: usize) -> String {
    if count == 1 { "1 record".into() } else { format!("{count} records") }
}

impl Present for StorageReport {
    /// Problems stand below the table: they are long, and what is wrong with a key is wrong with all that it signs.
    fn table(&self) -> String {
        let rows = self.checks.iter().map(|found| {
            let note = if found.outcome == StorageOutcome::Failed { None } else { found.detail.clone() };
            [outcome(found).into(), found.check.clone(), found.resource.clone(), note.unwrap_or_default()]
        });
        let mut text = table(["OUTCOME", "CHECK", "RESOURCE", ""], rows);
        let mut told = Vec::new();
        for found in self.checks.iter().filter(|found| found.outcome == StorageOutcome::Failed) {
            let said = (&found.detail, &found.advice);
            if told.contains(&said) {
                continue;
            }
            told.push(said);
            let alike = self.checks.iter().filter(|other| (&other.detail, &other.advice) == said);
            let checks = joined(alike.map(|other| &other.check));
            let detail = found.detail.as_deref().unwrap_or_default();
            text.extend(["\n\n", &checks, ": ", &printable(detail)]);
            if let Some(advice) = &found.advice {
                text.extend(["\n  to do: ", &printable(advice)]);
            }
        }
        text
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let header = ["outcome", "check", "resource", "detail", "advice"].map(String::from).to_vec();
        let rows = self.checks.iter().map(|found| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            vec![
                outcome(found).into(),
                found.check.clone(),
                found.resource.clone(),
                text(&found.detail),
                text(&found.advice),
            ]
        });
        std::iter::once(header).chain(rows).collect()
    }
}

fn outcome(found: &StorageFinding) -> &'static str {
    match found.outcome {
        StorageOutcome::Ok => "ok",
        StorageOutcome::Failed => "failed",
        StorageOutcome::Skipped => "skipped",
    }
}

fn images(count: usize) -> String {
    if count == 1 { "1 image".into() } else { format!("{count} images") }
}

#[cfg(test)]
mod tests {
    use aar_model::Digest;
    use aar_model::wire::CollectedImage;

    use super::*;

    #[test]
    fn a_rebuild_is_shown_in_every_format() {
        let report = RebuildReport { records: 10_000, changed: 2, damaged: 1, elapsed_ms: 740 };
        insta::assert_snapshot!(output::all_formats(&report));
    }

    #[test]
    fn collected_garbage_is_shown_in_every_format() {
        let removed =
            ["a", "b"].map(|text| CollectedImage { fingerprint: Digest::of(text.as_bytes()), size: 3 << 20 });
        let report = CollectReport { removed: removed.to_vec(), bytes: 6 << 20, dry_run: true };
        insta::assert_snapshot!(output::all_formats(&report));
        let nothing = CollectReport { removed: Vec::new(), bytes: 0, dry_run: false };
        assert_eq!(nothing.table(), "0 images removed, 0 B");
    }

    #[test]
    fn a_copy_is_shown_in_every_format() {
        let damaged = DamagedImage {
            fingerprint: Digest::of(b"a"),
            problem: "it is missing".into(),
            applications: vec!["demo/3/x86_64".into()],
        };
        let done = CopyReport {
            images: 12,
            images_skipped: 3,
            bytes: 5 << 30,
            records: 20,
            records_skipped: 4,
            ..CopyReport::default()
        };
        let extra = ["application", "1"].map(|file| format!("records/applications/old/{file}.json"));
        let report = CopyReport { damaged: vec![damaged], extra: extra.to_vec(), ..done.clone() };
        insta::assert_snapshot!(output::all_formats(&report));
        insta::assert_snapshot!(done.table());
    }

    #[test]
    fn what_is_wrong_with_the_storage_is_shown_in_every_format() {
        let found = |check: &str, outcome, detail: Option<&str>, advice: Option<&str>| StorageFinding {
            check: check.into(),
            resource: "arn:aws:s3:::aar0/*".into(),
            outcome,
            detail: detail.map(String::from),
            advice: advice.map(String::from),
        };
        let (wrong_key, policy) = (Some("the store denies it: wrong key"), Some("add to the policy: {}"));
        let checks = vec![
            found("s3:PutObject", StorageOutcome::Ok, None, None),
            found("s3:GetObject", StorageOutcome::Failed, wrong_key, None),
            found("s3:DeleteObject", StorageOutcome::Failed, wrong_key, None),
            found("s3:AbortMultipartUpload", StorageOutcome::Failed, Some("it is denied\n"), policy),
            found("download", StorageOutcome::Skipped, Some("there is no image yet"), None),
        ];
        insta::assert_snapshot!(output::all_formats(&StorageReport { checks }));
    }

    #[test]
    fn damaged_images_are_named_in_every_format() {
        let damaged = DamagedImage {
            fingerprint: Digest::of(b"a"),
            problem: "the file is missing".into(),
            applications: vec!["demo/3/x86_64".into(), "demo-copy/1/x86_64".into()],
        };
        let report = VerifyReport { images: 12, bytes: 5 << 30, damaged: vec![damaged] };
        insta::assert_snapshot!(output::all_formats(&report));
    }
}
