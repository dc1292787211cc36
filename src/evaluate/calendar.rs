//! Returns of calendar months and years.

use super::Inputs;
use super::moments::MetricResult;

/// Net returns of calendar years and months, in order, each compounded over the rows held in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalendarReturns {
    /// The year and its return.
    pub years: Vec<(i16, f64)>,
    /// The year, the month and its return.
    pub months: Vec<(i16, i8, f64)>,
}

/// The returns of the calendar years and months that have a row.
pub(crate) fn calendar_returns(inputs: &Inputs) -> CalendarReturns {
    let years = compounded(inputs, |date| date.year());
    let months = compounded(inputs, |date| (date.year(), date.month()));
    CalendarReturns { years, months: months.into_iter().map(|((year, month), earned)| (year, month, earned)).collect() }
}

/// The compounded net return of each calendar month with a row.
pub(super) fn months(inputs: &Inputs) -> Vec<f64> {
    compounded(inputs, |date| (date.year(), date.month())).into_iter().map(|(_, earned)| earned).collect()
}

/// The compounded net return of each calendar year with a row.
pub(super) fn years(inputs: &Inputs) -> Vec<f64> {
    compounded(inputs, |date| date.year()).into_iter().map(|(_, earned)| earned).collect()
}

fn compounded<K: PartialEq + Copy>(inputs: &Inputs, period: fn(&jiff::civil::Date) -> K) -> Vec<(K, f64)> {
    let rows: Vec<_> = inputs.dates.iter().map(period).zip(inputs.net).collect();
    rows.chunk_by(|one, two| one.0 == two.0)
        .map(|rows| (rows[0].0, rows.iter().fold(1.0, |wealth, (_, value)| wealth * (1.0 + *value)) - 1.0))
        .collect()
}

/// The value that `better` prefers.
pub(super) fn extreme(values: &[f64], better: fn(f64, f64) -> f64) -> MetricResult {
    values.iter().copied().reduce(better).ok_or("there are no returns")
}
