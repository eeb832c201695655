//! The figures, what they are held to, and how they are shown.

use std::{collections::BTreeMap, fmt, fs::File, io::BufWriter, path::Path};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::{load::CIPHER_SUITE, machine::Machine, servers::ServerKind};

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    runs: u32,
    quick: bool,
    notes: Vec<String>,
    rows: Vec<Row>,
}

/// One figure of one scenario, for each server that has it.
#[derive(Serialize)]
pub(crate) struct Row {
    /// What was done.
    scenario: String,
    /// What was measured, with its unit.
    figure: &'static str,
    /// Medians.
    medians: BTreeMap<ServerKind, f64>,
    /// What each run gave.
    samples: BTreeMap<ServerKind, Vec<f64>>,
    /// aard's figure over the peer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bar: Option<Bar>,
    /// Whether aard's figure is within the bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<bool>,
}

#[derive(Clone, Copy, Serialize)]
struct Ratio {
    peer: ServerKind,
    value: f64,
}

/// What aard's figure is held to.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bar {
    /// No more than this.
    AtMost(Limit),
    /// No less than this.
    AtLeast(Limit),
}

/// A figure to compare with.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    /// The figure itself.
    Value(f64),
    /// So many times the peer's figure.
    Times(f64, ServerKind),
}

/// The runs' figures by server.
#[derive(Clone, Default)]
pub(crate) struct Samples(BTreeMap<ServerKind, Vec<f64>>);

impl Samples {
    /// Adds the figure of a run.
    pub(crate) fn add(&mut self, server: ServerKind, figure: f64) {
        self.0.entry(server).or_default().push(figure);
    }

    /// The median of a server's figures.
    pub(crate) fn median(&self, server: ServerKind) -> Option<f64> {
        self.0.get(&server).map(|figures| median(figures))
    }
}

impl Report {
    /// A report without figures.
    pub(crate) fn new(machine: Machine, runs: u32, quick: bool) -> Self {
        Self { machine, runs, quick, notes: Vec::new(), rows: Vec::new() }
    }

    /// Adds something to know about the figures.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a figure; a scenario that measured nobody adds none.
    pub(crate) fn add(
        &mut self,
        scenario: impl Into<String>,
        figure: &'static str,
        samples: Samples,
        bar: Option<Bar>,
    ) {
        if samples.0.is_empty() {
            return;
        }
        let medians: BTreeMap<_, _> = samples.0.iter().map(|(&server, all)| (server, median(all))).collect();
        let ours = medians.get(&ServerKind::Aard).copied();
        let peer = bar.and_then(Bar::peer).or_else(|| {
            [ServerKind::Nginx, ServerKind::DockerRegistry]
                .into_iter()
                .find(|peer| medians.contains_key(peer))
        });
        let ratio = peer.and_then(|peer| Some(Ratio { peer, value: ours? / medians.get(&peer)? }));
        let pass = bar.and_then(|bar| bar.holds(ours?, ratio));
        self.rows.push(Row {
            scenario: scenario.into(),
            figure,
            medians,
            samples: samples.0,
            ratio,
            bar,
            pass,
        });
    }

    /// Number of bars that were missed.
    pub(crate) fn misses(&self) -> usize {
        self.rows.iter().filter(|row| row.pass == Some(false)).count()
    }

    /// Writes everything to the file `path`.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let write = || -> Result<()> {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            Ok(serde_json::to_writer_pretty(BufWriter::new(File::create(path)?), self)?)
        };
        write().with_context(|| format!("cannot write `{}`", path.display()))
    }
}

impl Bar {
    /// The peer that it compares with.
    fn peer(self) -> Option<ServerKind> {
        match self {
            Self::AtMost(Limit::Times(_, peer)) | Self::AtLeast(Limit::Times(_, peer)) => Some(peer),
            _ => None,
        }
    }

    /// Whether `ours` is within it; `None` where the peer was not measured.
    fn holds(self, ours: f64, ratio: Option<Ratio>) -> Option<bool> {
        let (Self::AtMost(limit) | Self::AtLeast(limit)) = self;
        let (figure, limit) = match limit {
            Limit::Value(value) => (ours, value),
            Limit::Times(times, _) => (ratio?.value, times),
        };
        Some(match self {
            Self::AtMost(_) => figure <= limit,
            Self::AtLeast(_) => figure >= limit,
        })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "≤ {limit}"),
            Self::AtLeast(limit) => write!(f, "≥ {limit}"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Times(times, peer) => write!(f, "{} × {peer}", f64::round(times * 1e3) / 1e3),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SERVERS: [ServerKind; 4] =
            [ServerKind::Aard, ServerKind::Nginx, ServerKind::DockerRegistry, ServerKind::Ops];
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let mut header = vec!["scenario".to_owned(), "figure".to_owned()];
        header.extend(SERVERS.map(|server| server.to_string()));
        header.extend(["ratio", "bar", ""].map(str::to_owned));
        table.set_header(header);
        let mut previous = "";
        for row in &self.rows {
            let shown = if row.scenario == previous { "" } else { &row.scenario };
            previous = &row.scenario;
            let mut cells = vec![shown.to_owned(), row.figure.to_owned()];
            cells.extend(
                SERVERS.map(|server| row.medians.get(&server).copied().map_or_else(String::new, figure)),
            );
            cells.push(
                row.ratio.map_or_else(String::new, |ratio| format!("{:.2} {}", ratio.value, ratio.peer)),
            );
            cells.push(row.bar.map_or_else(String::new, |bar| bar.to_string()));
            cells.push(row.pass.map_or("", |pass| if pass { "pass" } else { "MISS" }).to_owned());
            table.add_row(cells);
        }
        for column in 2..2 + SERVERS.len() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(
            f,
            "Mutual TLS 1.3 ({CIPHER_SUITE}, one set of keys) on loopback; medians of {} run(s){}",
            self.runs,
            if self.quick { "; quick: not to be relied on" } else { "" }
        )?;
        writeln!(f, "{table}")?;
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        let bars = self.rows.iter().filter(|row| row.pass.is_some()).count();
        write!(f, "{bars} bars, {} missed", self.misses())
    }
}

/// Three significant digits, or all of a whole number.
fn figure(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 100.0 => format!("{value:.0}"),
        magnitude if magnitude >= 10.0 => format!("{value:.1}"),
        magnitude if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The middle figure, or the mean of the two in the middle.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(value: f64) -> Ratio {
        Ratio { peer: ServerKind::Nginx, value }
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_bar_is_held_on_its_edge_and_missed_beyond() {
        let nginx = |times| Limit::Times(times, ServerKind::Nginx);
        assert_eq!(Bar::AtMost(Limit::Value(48.0)).holds(48.0, None), Some(true));
        assert_eq!(Bar::AtMost(Limit::Value(48.0)).holds(48.1, None), Some(false));
        assert_eq!(Bar::AtLeast(Limit::Value(0.8)).holds(0.79, None), Some(false));
        assert_eq!(Bar::AtMost(nginx(1.5)).holds(3.0, Some(ratio(1.5))), Some(true));
        assert_eq!(Bar::AtMost(nginx(1.5)).holds(1.0, Some(ratio(1.6))), Some(false));
        assert_eq!(Bar::AtLeast(nginx(1.7)).holds(3.0, Some(ratio(1.6))), Some(false));
    }

    #[test]
    fn a_bar_without_its_peer_is_neither_passed_nor_missed() {
        assert_eq!(Bar::AtMost(Limit::Times(1.0, ServerKind::Nginx)).holds(1.0, None), None);
    }
}
