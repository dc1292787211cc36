//! The table of metrics, and the overfitting monitor, which compares a model's scores over the spans of its windows.
//! The run, the report and the bindings iterate the table, so a new metric is one function and one row.

mod metrics;
mod overfitting;

use jiff::civil::Date;

pub use metrics::METRICS;
pub(crate) use metrics::sharpe;
pub(crate) use overfitting::{Overfitting, SpanSharpes, overfitting};

/// What figures are computed with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conventions {
    /// Rows per year, for annualisation.
    pub periods_per_year: f64,
}

impl Conventions {
    /// Figures per row, not annualised.
    pub(crate) fn per_row() -> Self {
        Self { periods_per_year: 1.0 }
    }
}

/// The inputs of a metric. Each slice has one element per row of the panel, `[rows]`.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Rows per year.
    pub periods_per_year: f64,
    /// The day at whose close wealth is 1.
    pub start: Date,
    /// The dates of the returns, increasing.
    pub dates: &'a [Date],
    /// Returns before costs.
    pub gross: &'a [f64],
    /// Returns after costs.
    pub net: &'a [f64],
    /// Turnover, ½ Σ|Δw| per row.
    pub turnover: &'a [f64],
    /// Net returns of the benchmark on the same dates.
    pub benchmark: Option<&'a [f64]>,
}

/// The value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// A finite number.
    Number(f64),
    /// A date.
    Day(Date),
    /// No value, for this reason.
    Undefined(&'static str),
}

/// How a metric is displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As a plain number.
    Ratio,
    /// As a percentage.
    Percent,
    /// As a date.
    Day,
}

/// A row of the table of metrics.
#[derive(Debug)]
pub struct Metric {
    /// The name in `run.json`.
    pub name: &'static str,
    /// The name in the report.
    pub label: &'static str,
    /// How the value is displayed.
    pub unit: Unit,
    /// The definition.
    pub doc: &'static str,
    /// Computes the value.
    pub compute: fn(&Inputs) -> MetricValue,
}

/// Computes every metric of the table.
pub(crate) fn evaluate(inputs: &Inputs) -> Vec<(&'static Metric, MetricValue)> {
    METRICS.iter().map(|metric| (metric, (metric.compute)(inputs))).collect()
}
