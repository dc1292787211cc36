//! The table of metrics, and the overfitting monitor, which compares a model's scores over the spans of its windows.
//! The run, the report and the bindings iterate the table, so a new metric is one function and one row.

mod against;
mod calendar;
mod drawdown;
#[cfg(test)]
mod golden;
mod metrics;
mod moments;
mod overfitting;
mod uncertainty;

use std::sync::Arc;

use jiff::civil::Date;

pub(crate) use calendar::{CalendarReturns, calendar_returns};
pub(crate) use drawdown::{Drawdown, worst_drawdowns};
pub use metrics::METRICS;
pub(crate) use metrics::sharpe;
pub(crate) use moments::rank_correlation;
pub(crate) use overfitting::{
    MonitorInputs, Overfitting, SpanReturns, SpanScore, WindowReturns, WindowScore, overfitting,
};
pub(crate) use uncertainty::{Difference, compare, holm};

/// What figures are computed with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conventions {
    /// Rows per year, for annualisation.
    pub periods_per_year: f64,
    /// The risk-free return of each row of the panel; empty where it is 0.
    pub risk_free: Arc<[f64]>,
    /// The first row that a path may hold.
    pub first_row: usize,
}

impl Conventions {
    /// Figures per row, not annualised.
    pub(crate) fn per_row() -> Self {
        Self { periods_per_year: 1.0, risk_free: Arc::default(), first_row: 1 }
    }

    /// Net returns of these rows of the panel, less the risk-free return.
    pub(crate) fn excess(&self, rows: &[usize], net: &[f64]) -> Vec<f64> {
        if self.risk_free.is_empty() {
            return net.to_vec();
        }
        rows.iter().zip(net).map(|(row, net)| net - self.risk_free[*row]).collect()
    }
}

/// The inputs of a metric. Each slice has one element per row of the panel, `[rows]`.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Rows per year.
    pub periods_per_year: f64,
    /// Spans without a gap between them: the index of the first return and the date of the row before it, at whose close
    /// everything is in cash. At the first one wealth is 1.
    pub spans: &'a [(usize, Date)],
    /// The dates of the returns, increasing.
    pub dates: &'a [Date],
    /// Returns before costs.
    pub gross: &'a [f64],
    /// Returns after costs.
    pub net: &'a [f64],
    /// Returns after costs, less the risk-free rate.
    pub excess: &'a [f64],
    /// Turnover, ½ Σ|Δw| per row.
    pub turnover: &'a [f64],
    /// Net returns of the benchmark on the same dates.
    pub benchmark: Option<&'a [f64]>,
    /// The target weights of each decision, `[decisions][assets]`.
    pub targets: &'a [&'a [f64]],
    /// Rank correlations of scores and later returns, one per decision with scores.
    pub coefficients: &'a [f64],
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
    /// As a whole number.
    Count,
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
