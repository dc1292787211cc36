//! The scheduled rows of an experiment, the decision rows of a span, and the out-of-sample path: the test rows that each
//! window contributes to it, and where it begins in cash.

use std::ops::Range;
use std::sync::Arc;

use super::{Rebalance, Window, rows_between};
use crate::error::{Result, fail};
use jiff::civil::Date;

/// The rows on which portfolios are rebalanced: one set of rows for the whole experiment, from its calendar and settings
/// alone.
#[derive(Clone, Debug)]
pub struct RebalanceSchedule {
    /// Per row of the panel, whether it is in the schedule.
    scheduled: Arc<[bool]>,
    /// The row of the experiment's first decision, which is made whether it is in the schedule or not.
    first: usize,
}

impl RebalanceSchedule {
    /// The schedule over `dates`, of an experiment whose first decision is at the row `first`. The last row is not in
    /// it, as no next trading date is known.
    pub fn new(rebalance: Rebalance, dates: &[Date], first: usize) -> Self {
        let is_scheduled =
            |row: usize| rebalance.is_decision(row.abs_diff(first), dates[row], dates.get(row + 1).copied());
        Self { scheduled: (0..dates.len()).map(is_scheduled).collect(), first }
    }

    /// The row of the experiment's first decision.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Whether `row` is in the schedule.
    pub fn contains(&self, row: usize) -> bool {
        self.scheduled[row]
    }
}

/// The row of an experiment's first decision: the one that is first held over the first test span. `None` without
/// windows.
pub(crate) fn first_decision(windows: &[Window], lag: usize) -> Option<usize> {
    windows.first().map(|window| window.test.rows.start.saturating_sub(1 + lag))
}

/// How the test spans make one out-of-sample path, known before anything is computed.
#[derive(Clone, Debug)]
pub struct StitchedPath {
    /// The test rows that each window contributes.
    pub rows: Vec<Range<usize>>,
    schedule: RebalanceSchedule,
    lag: usize,
}

impl StitchedPath {
    /// The path of these windows, with decisions that are executed `lag` rows later.
    pub fn new(dates: &[Date], windows: &[Window], schedule: RebalanceSchedule, lag: usize) -> Self {
        Self { rows: stitch(dates, windows), schedule, lag }
    }

    /// Whether the path decides at `row`, a decision row of this window's test span: on the schedule, at the first
    /// decision of all, and at the first after a gap.
    pub fn decides(&self, window: usize, row: usize) -> bool {
        let starts = row + 1 + self.lag == self.rows[window].start && self.follows_gap(window);
        starts || row == self.schedule.first || self.schedule.contains(row)
    }

    /// Whether rows without a portfolio lie between the rows of the window before and those of this one.
    pub fn follows_gap(&self, window: usize) -> bool {
        window > 0 && self.rows[window - 1].end < self.rows[window].start
    }

    /// The windows whose model is never held, as the path decides on none of their rows.
    pub fn never_held(&self) -> Vec<usize> {
        let decides = |window: &usize| {
            let rows = &self.rows[*window];
            let first = rows.start.saturating_sub(1 + self.lag);
            (first..rows.end.saturating_sub(1 + self.lag)).any(|row| self.decides(*window, row))
        };
        (0..self.rows.len()).filter(|window| !decides(window)).collect()
    }
}

/// The decision rows of a portfolio that is held over the rows `held = [s, e)` with execution lag `lag`: the rows of
/// `[s−1−lag, e−2−lag]` for which `is_decision` is true, and always the first, so that every row of `held` has a
/// portfolio.
///
/// # Errors
/// `InvalidData` if the first decision would be before the first row.
pub fn decisions(held: Range<usize>, lag: usize, is_decision: impl Fn(usize) -> bool) -> Result<Vec<usize>> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let Some(first) = held.start.checked_sub(1 + lag) else {
        fail!(
            InvalidData,
            "a portfolio held from row {} with an execution lag of {lag} must be decided {} rows earlier, \
             before the data begin",
            held.start,
            1 + lag
        );
    };
    Ok((first..held.end - 1 - lag).filter(|&row| row == first || is_decision(row)).collect())
}

/// The rows of a train or validation span that fits, labels and scores may use: the span less its last `lag` rows.
pub(crate) fn fit_rows(span: &Range<usize>, lag: usize) -> Range<usize> {
    span.start..span.end.saturating_sub(lag).max(span.start)
}

/// The test rows that each window contributes to the out-of-sample path: those before the next window's test span
/// begins, and all of the last window. Each test date occurs once, with the newest model.
pub fn stitch(dates: &[Date], windows: &[Window]) -> Vec<Range<usize>> {
    windows
        .iter()
        .enumerate()
        .map(|(index, window)| {
            let end = windows.get(index + 1).map_or(window.test.end, |next| next.test.start.min(window.test.end));
            rows_between(dates, window.test.start, end)
        })
        .collect()
}
