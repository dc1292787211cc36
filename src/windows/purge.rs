//! Purging and embargo: train samples whose labels stay inside the train span, and the rows that score epochs.

use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::Date;

use super::{Window, schedule::fit_rows};

/// The rows that one sample covers, relative to its as-of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRule {
    /// Rows of input up to and including the as-of row.
    pub lookback: usize,
    /// Rows over which the label's return is compounded.
    pub horizon: usize,
    /// Execution lag in rows.
    pub lag: usize,
}

/// The as-of rows t of the train samples. The inputs of a sample cover the rows t−lookback+1 … t and its label the rows
/// t+1+lag … t+horizon+lag; both lie in the train span less its last `lag` rows.
pub fn train_samples(window: &Window, rule: &SampleRule) -> Range<usize> {
    let rows = fit_rows(&window.train.rows, rule.lag);
    let first = rows.start + rule.lookback.saturating_sub(1);
    // The last row of a label is t + horizon + lag, which must be below rows.end.
    let end = rows.end.saturating_sub(rule.horizon + rule.lag);
    first..end.max(first)
}

/// The rows of the validation path that scores epochs: the validation span after the embargo, less its last `lag` rows.
/// Empty if the embargo covers the span.
pub fn validation_rows(dates: &[Date], window: &Window, embargo_days: u32, lag: usize) -> Range<usize> {
    let rows = fit_rows(&window.validation.rows, lag);
    let embargo_end = window.validation.start.saturating_add(i64::from(embargo_days).days());
    rows.start.max(dates.partition_point(|date| *date < embargo_end)).min(rows.end)..rows.end
}
