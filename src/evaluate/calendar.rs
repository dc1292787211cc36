//! Returns of calendar months and years.

use super::Inputs;
use super::moments::MetricResult;

/// The compounded net return of each calendar month with a row.
pub(super) fn months(inputs: &Inputs) -> Vec<f64> {
    compounded(inputs, |date| (date.year(), date.month()))
}

/// The compounded net return of each calendar year with a row.
pub(super) fn years(inputs: &Inputs) -> Vec<f64> {
    compounded(inputs, |date| (date.year(), 1))
}

fn compounded(inputs: &Inputs, period: fn(&jiff::civil::Date) -> (i16, i8)) -> Vec<f64> {
    let rows: Vec<_> = inputs.dates.iter().map(period).zip(inputs.net).collect();
    rows.chunk_by(|one, two| one.0 == two.0)
        .map(|rows| rows.iter().fold(1.0, |wealth, (_, value)| wealth * (1.0 + *value)) - 1.0)
        .collect()
}

/// The value that `better` prefers.
pub(super) fn extreme(values: &[f64], better: fn(f64, f64) -> f64) -> MetricResult {
    values.iter().copied().reduce(better).ok_or("there are no returns")
}
