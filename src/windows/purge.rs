//! Purging and embargo: the rows of a window that fits, labels and scores may use, and the train samples in them.

use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::Date;

use super::{Span, Window};
use crate::error::{Result, fail};

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

/// The rows of a window that fits, labels and scores may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitRows {
    /// Of the train span.
    pub train: Range<usize>,
    /// Of the validation span.
    pub validation: Range<usize>,
}

impl FitRows {
    /// Leaves out the last rows of each span: those within `embargo_days` calendar days of the next one, and those
    /// after the `lag`-th row before it, so that nothing after a decision chose its model.
    pub fn new(dates: &[Date], window: &Window, embargo_days: u32, lag: usize) -> Self {
        let usable = |span: &Span, next: &Span| {
            let embargo = span.end.saturating_sub(i64::from(embargo_days).days());
            let open = dates.partition_point(|date| *date < embargo);
            let end = span.rows.end.min(open).min(next.rows.start.saturating_sub(lag));
            span.rows.start..end.max(span.rows.start)
        };
        Self { train: usable(&window.train, &window.validation), validation: usable(&window.validation, &window.test) }
    }

    /// The rows of each span, at least one in each that has dates.
    ///
    /// # Errors
    /// `InvalidSetting` with the window and the span if embargo and lag leave nothing of it.
    pub fn checked(dates: &[Date], window: &Window, embargo_days: u32, lag: usize) -> Result<Self> {
        let out = Self::new(dates, window, embargo_days, lag);
        for (name, span, rows) in
            [("train", &window.train, &out.train), ("validation", &window.validation, &out.validation)]
        {
            if rows.is_empty() && !span.rows.is_empty() {
                fail!(
                    InvalidSetting,
                    "window {}: windows.embargo_days = {embargo_days} and portfolio.execution_lag = {lag} leave none of \
                     the {} rows of its {name} span, from {} to before {}; make the span longer or the embargo shorter",
                    window.index,
                    span.rows.len(),
                    span.start,
                    span.end
                );
            }
        }
        Ok(out)
    }
}

/// The as-of rows t of the train samples, of the usable `rows` of the train span. The inputs of a sample cover the rows
/// t−lookback+1 … t and its label the rows t+1+lag … t+horizon+lag; both lie in `rows`.
pub fn train_samples(rows: &Range<usize>, rule: &SampleRule) -> Range<usize> {
    let first = rows.start + rule.lookback.saturating_sub(1);
    // The last row of a label is t + horizon + lag, which must be below rows.end.
    let end = rows.end.saturating_sub(rule.horizon + rule.lag);
    first..end.max(first)
}
