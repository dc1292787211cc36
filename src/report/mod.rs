//! `report.html`: one page that needs no network and no script, light or dark as its reader prefers, readable on a phone
//! and on paper. It sees only the values that a run hands it.

mod axis;
mod chart;
mod learning;
mod monitor;
mod page;
mod series;
mod tables;
mod weights_chart;

use jiff::civil::Date;

use crate::evaluate::{MetricValue, Overfitting};
pub use page::html;

/// A rebalance as the report shows it.
#[derive(Clone, Debug)]
pub struct RebalanceValues {
    /// The decision's date.
    pub date: Date,
    /// Weights, `[assets]`.
    pub weights: Vec<f64>,
}

/// Metrics of one window, in the order of the table.
#[derive(Clone, Debug)]
pub struct WindowValues {
    /// Over the train span.
    pub train: Vec<MetricValue>,
    /// Over the validation span.
    pub validation: Vec<MetricValue>,
    /// Over the test span.
    pub test: Vec<MetricValue>,
}

/// What one rule of the constraints changed on the out-of-sample path.
#[derive(Clone, Debug)]
pub struct ChangedValues {
    /// The rule.
    pub rule: &'static str,
    /// On how many decisions it changed something.
    pub decisions: usize,
    /// Σ|after − before| over all of them.
    pub moved: f64,
    /// The day and size of the largest change.
    pub most: (Date, f64),
}

/// How a network was trained on a window; lists by epoch.
#[derive(Clone, Debug)]
pub struct Curves {
    /// Mean loss of the batches.
    pub loss: Vec<f64>,
    /// Net Sharpe ratio on the validation span.
    pub validation: Vec<Option<f64>>,
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: usize,
    /// Whether the clock ended it.
    pub by_clock: bool,
    /// Why it ended, in words.
    pub ended: &'static str,
    /// Train samples.
    pub samples: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// Samples that were gone through at a time.
    pub micro_batch: usize,
    /// Whether what ops keep for the backward pass was computed again instead.
    pub recompute: bool,
    /// The kept validation score of every seed.
    pub seeds: Vec<Option<f64>>,
    /// Seeds that were trained at a time.
    pub stack: usize,
    /// The loss scale at the end, in half precision.
    pub loss_scale: Option<f64>,
    /// Steps that were not taken, as a number overflowed half precision.
    pub skipped: usize,
    /// Parameters.
    pub parameters: usize,
    /// Bytes that were planned before the first step.
    pub planned_bytes: usize,
    /// Bytes that were taken.
    pub measured_bytes: usize,
}

/// One model of the report, series `[days]`.
#[derive(Clone, Debug)]
pub struct ModelValues {
    /// Its name.
    pub name: String,
    /// Whether it fits anything, so that scores on the train span mean something.
    pub fits: bool,
    /// Net returns.
    pub net: Vec<f64>,
    /// ½ Σ|Δw|.
    pub turnover: Vec<f64>,
    /// Targets.
    pub rebalances: Vec<RebalanceValues>,
    /// Out-of-sample metrics in the order of the table.
    pub total: Vec<MetricValue>,
    /// By window.
    pub windows: Vec<WindowValues>,
    /// What the constraints changed.
    pub changes: Vec<ChangedValues>,
    /// What its path went through where prices were missing, if they were.
    pub gaps: Option<String>,
    /// The overfitting monitor, where it fits anything.
    pub overfitting: Option<Overfitting>,
    /// How it was trained, by window, where it is a network; else empty.
    pub training: Vec<Curves>,
}

/// The days of a window's test span, first and last.
#[derive(Clone, Copy, Debug)]
pub struct WindowSpan {
    /// Those that the out-of-sample path takes from it.
    pub held: (Date, Date),
    /// All of them.
    pub test: (Date, Date),
}

/// What the walk recorded of what models were shown.
#[derive(Clone, Copy, Debug)]
pub struct Integrity {
    /// Decisions made, of all models in all windows.
    pub decisions: usize,
    /// The highest row shown less the as-of row, the largest of all decisions: 0 where nothing was shown too early.
    pub nearest: i64,
    /// Fits made.
    pub fits: usize,
}

/// Everything that a report shows.
#[derive(Clone, Debug)]
pub struct ReportValues {
    /// Name and value of what the reader should know of how the figures came about.
    pub facts: Vec<(String, String)>,
    /// The out-of-sample days.
    pub days: Vec<Date>,
    /// The windows.
    pub windows: Vec<WindowSpan>,
    /// Asset names.
    pub assets: Vec<String>,
    /// The models, the benchmark first.
    pub models: Vec<ModelValues>,
    /// What models were shown.
    pub integrity: Integrity,
}

/// What belongs to models with their places, the benchmark's last.
fn ordered<T>(all: &[T]) -> impl Iterator<Item = (usize, &T)> {
    (1..all.len()).chain([0]).filter_map(|place| all.get(place).map(|one| (place, one)))
}

/// Text as it may stand in an element or a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
