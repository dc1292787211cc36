//! One table of metrics. The run, the report and the bindings iterate it; a new metric is one function and one row. Beside
//! it the overfitting monitor, which compares a model's scores over the spans of its windows.

mod metrics;
mod overfitting;

use jiff::civil::Date;

pub use metrics::{METRICS, sharpe};
pub use overfitting::{CLEAR_GAP, MIN_WINDOWS, OVERFIT_BELOW, Overfitting, SpanSharpes, Verdict, overfitting};

/// Trading days a year, for annualisation.
pub const TRADING_DAYS_PER_YEAR: f64 = 252.0;

/// What a metric is computed from: one entry a day, in order, the days those of the returns.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The day at whose close wealth was 1.
    pub start: Date,
    /// The days of the returns.
    pub dates: &'a [Date],
    /// Returns before costs.
    pub gross: &'a [f64],
    /// Returns after costs.
    pub net: &'a [f64],
    /// ½ Σ|Δw| a day.
    pub turnover: &'a [f64],
    /// Net returns of the benchmark on the same days.
    pub benchmark: Option<&'a [f64]>,
}

/// What a metric came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// A finite number.
    Number(f64),
    /// A date.
    Day(Date),
    /// There is no value, for this reason.
    Undefined(&'static str),
}

/// How a value is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Ratio,
    /// A share, shown in percent.
    Percent,
    /// A date.
    Day,
}

/// A row of the table.
#[derive(Debug)]
pub struct Metric {
    /// Its name in `run.json`.
    pub name: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// How its value is meant.
    pub unit: Unit,
    /// Its definition.
    pub doc: &'static str,
    /// The function.
    pub compute: fn(&Inputs) -> MetricValue,
}

/// Every metric of the table.
pub fn evaluate(inputs: &Inputs) -> Vec<(&'static Metric, MetricValue)> {
    METRICS.iter().map(|metric| (metric, (metric.compute)(inputs))).collect()
}
