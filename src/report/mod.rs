//! `report.html`: one page without scripts or network access, in light or dark mode, readable on a phone and on paper.
//! It is made only from the values that a run passes to it.

mod axis;
mod calendar;
mod chart;
mod current;
mod headline;
mod heat_map;
mod learning;
mod monitor;
mod page;
mod series;
mod tables;
mod weights_chart;

use jiff::civil::Date;

use crate::evaluate::{CalendarReturns, Difference, Drawdown, MetricValue, Overfitting};
pub(crate) use page::html;

/// One rebalance.
#[derive(Clone, Debug)]
pub(crate) struct RebalanceValues {
    /// The decision date.
    pub date: Date,
    /// Target weights, `[assets]`.
    pub weights: Vec<f64>,
}

/// How a model's Sharpe ratio compares with the benchmark's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComparisonValues {
    /// The difference, or why there is none.
    pub difference: Result<Difference, &'static str>,
    /// The p-value after correction for the number of models.
    pub adjusted_p: Option<f64>,
}

/// The portfolio at the end of the path.
#[derive(Clone, Debug)]
pub(crate) struct CurrentValues {
    /// The last day.
    pub date: String,
    /// The day on which the last rebalance was decided.
    pub decided: String,
    /// The day at whose close it was executed.
    pub executed: String,
    /// The rows that the shares of risk are taken over.
    pub risk_rows: Option<usize>,
    /// Why there are no shares of risk.
    pub undefined: Option<String>,
    /// The assets that are held or were traded.
    pub holdings: Vec<HoldingValues>,
}

/// An asset of the current portfolio.
#[derive(Clone, Debug)]
pub(crate) struct HoldingValues {
    /// The asset.
    pub asset: String,
    /// Its weight at the close of the last day.
    pub weight: f64,
    /// The weight that the last rebalance bought, below 0 where it sold.
    pub traded: f64,
    /// Its share in the variance of the portfolio.
    pub risk: Option<f64>,
}

/// What one rule of the constraints changed on the out-of-sample path of a model.
#[derive(Clone, Debug)]
pub(crate) struct ConstraintValues {
    /// The rule.
    pub rule: &'static str,
    /// The number of decisions that it changed.
    pub decisions: usize,
    /// Σ|after − before| over those decisions.
    pub moved: f64,
    /// Date and size of the largest change.
    pub largest: (Date, f64),
}

/// The training history of a network in one window; lists have one element per epoch.
#[derive(Clone, Debug)]
pub(crate) struct TrainingValues {
    /// Mean loss over the batches.
    pub loss: Vec<f64>,
    /// The loss as a Sharpe ratio per year, before costs, if it is one.
    pub train_sharpe: Option<Vec<f64>>,
    /// Net Sharpe ratio on the validation span.
    pub validation: Vec<Option<f64>>,
    /// The epoch whose parameters were kept, counted from 1.
    pub best_epoch: usize,
    /// Whether training was stopped by the time limit.
    pub by_clock: bool,
    /// Why training ended, in words.
    pub ended: &'static str,
    /// The number of training samples.
    pub samples: usize,
    /// Samples per batch.
    pub batch: usize,
    /// Samples per micro-batch.
    pub micro_batch: usize,
    /// Whether activations were recomputed in the backward pass instead of saved.
    pub recompute: bool,
    /// The best validation score of each seed.
    pub seeds: Vec<Option<f64>>,
    /// The number of seeds that were trained at the same time.
    pub stack: usize,
    /// The final loss scale, in half precision.
    pub loss_scale: Option<f64>,
    /// Optimiser steps that were skipped because a value overflowed half precision.
    pub skipped: usize,
    /// The number of parameters.
    pub parameters: usize,
    /// Memory planned before the first step, in bytes.
    pub planned_bytes: usize,
    /// Memory used, in bytes.
    pub measured_bytes: usize,
}

/// One model; series have one value per out-of-sample day.
#[derive(Clone, Debug)]
pub(crate) struct ModelValues {
    /// Its name.
    pub name: String,
    /// Net returns.
    pub net: Vec<f64>,
    /// Turnover, ½ Σ|Δw|.
    pub turnover: Vec<f64>,
    /// The rebalances, by date.
    pub rebalances: Vec<RebalanceValues>,
    /// Out-of-sample metrics, in the order of [`METRICS`](crate::evaluate::METRICS).
    pub total: Vec<MetricValue>,
    /// The portfolio at the end; `None` if it never traded.
    pub current: Option<CurrentValues>,
    /// The worst drawdowns, deepest first.
    pub drawdowns: Vec<Drawdown>,
    /// The returns of calendar years and months.
    pub calendar: CalendarReturns,
    /// How its Sharpe ratio compares with the benchmark's; `None` for the benchmark.
    pub comparison: Option<ComparisonValues>,
    /// Metrics of what each window held on the out-of-sample path, `[windows]`, in the same order.
    pub windows: Vec<Vec<MetricValue>>,
    /// What the constraints changed.
    pub changes: Vec<ConstraintValues>,
    /// What happened to its portfolio that weights do not show.
    pub trading: TradingValues,
    /// The overfitting monitor, if the model is fitted.
    pub overfitting: Option<Overfitting>,
    /// The training history per window if the model is a network, else empty.
    pub training: Vec<TrainingValues>,
}

/// What happened to a portfolio that its weights do not show.
#[derive(Clone, Debug, Default)]
pub(crate) struct TradingValues {
    /// All of it in words, if there was anything.
    pub sentence: Option<String>,
    /// By day.
    pub events: Vec<TradingEvent>,
}

/// An order that was not executed, or a series that ended.
#[derive(Clone, Debug)]
pub(crate) struct TradingEvent {
    /// The day.
    pub date: String,
    /// The asset.
    pub asset: String,
    /// What happened.
    pub what: &'static str,
    /// The weight.
    pub weight: f64,
}

/// First and last day of a window's test span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowSpan {
    /// The part that belongs to the out-of-sample path.
    pub stitched: (Date, Date),
    /// The whole span.
    pub test: (Date, Date),
}

/// What the run recorded about the rows that models were shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integrity {
    /// The number of decisions, over all models and windows.
    pub decisions: usize,
    /// The last row shown minus the row of the decision, the maximum over all decisions. Above 0 is look-ahead.
    pub latest_offset: i64,
    /// The number of fits.
    pub fits: usize,
}

/// Everything that the report shows.
#[derive(Clone, Debug)]
pub(crate) struct ReportValues {
    /// The conditions under which the figures were computed, as name and value.
    pub facts: Vec<(String, String)>,
    /// Settings, data and plugins with their digests, as name and value.
    pub identity: Vec<(String, String)>,
    /// Rows per year.
    pub periods_per_year: f64,
    /// The out-of-sample days.
    pub days: Vec<Date>,
    /// The windows.
    pub windows: Vec<WindowSpan>,
    /// Asset names.
    pub assets: Vec<String>,
    /// The models, the benchmark first.
    pub models: Vec<ModelValues>,
    /// Which rows the models were shown.
    pub integrity: Integrity,
}

/// One element per model with the index of the model; the benchmark (index 0) comes last.
fn benchmark_last<T>(all: &[T]) -> impl Iterator<Item = (usize, &T)> {
    (1..all.len()).chain([0]).filter_map(|model| all.get(model).map(|one| (model, one)))
}

/// Escapes text for use in an element or a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
