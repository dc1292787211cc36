//! Samples whose labels lie wholly inside their span, so that no label crosses a boundary; and the embargo.

use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::Date;

use super::{Window, schedule::fit_rows};

/// Rows that one sample reaches over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRule {
    /// Rows of input up to and including the as-of row.
    pub lookback: usize,
    /// Rows of the label.
    pub horizon: usize,
    /// Execution lag in rows.
    pub lag: usize,
}

/// The as-of rows t of the train samples: labels over rows t+1+lag … t+horizon+lag and inputs from rows t−lookback+1 … t,
/// both inside the train span less its last `lag` rows.
pub fn train_samples(window: &Window, rule: &SampleRule) -> Range<usize> {
    let rows = fit_rows(&window.train.rows, rule.lag);
    let first = rows.start + rule.lookback.saturating_sub(1);
    // The last label row is t + horizon + lag; it must be below the end.
    let end = rows.end.saturating_sub(rule.horizon + rule.lag);
    first..end.max(first)
}

/// The rows of the validation path that scores epochs: the validation span less its last `lag` rows, from the end of the
/// embargo on. Empty where the embargo covers it.
pub fn validation_rows(dates: &[Date], window: &Window, embargo_days: u32, lag: usize) -> Range<usize> {
    let rows = fit_rows(&window.validation.rows, lag);
    let open = window.validation.start.saturating_add(i64::from(embargo_days).days());
    rows.start.max(dates.partition_point(|date| *date < open)).min(rows.end)..rows.end
}
