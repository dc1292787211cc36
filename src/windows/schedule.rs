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
    /// The usual number of rows from one decision to the next.
    holding: usize,
}

impl RebalanceSchedule {
    /// The schedule over `dates`, of an experiment whose first decision is at the row `first`, and whose first window
    /// trains on the rows `train`. The last row is not in it, as no next trading date is known.
    pub fn new(rebalance: Rebalance, dates: &[Date], first: usize, train: Range<usize>) -> Self {
        let is_scheduled =
            |row: usize| rebalance.is_decision(row.abs_diff(first), dates[row], dates.get(row + 1).copied());
        let scheduled: Arc<[bool]> = (0..dates.len()).map(is_scheduled).collect();
        let decides: Vec<usize> = train.filter(|&row| scheduled[row]).collect();
        let mut rows: Vec<usize> = decides.windows(2).map(|pair| pair[1] - pair[0]).collect();
        rows.sort_unstable();
        // Of an even number the lower one of the two in the middle. Later rows cannot move it.
        let holding = rows.get(rows.len().saturating_sub(1) / 2).copied().unwrap_or(1);
        Self { scheduled, first, holding }
    }

    /// The row of the experiment's first decision.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The median number of rows from one scheduled decision to the next over the train rows of the first window, 21
    /// for monthly decisions on daily dates; 1 where fewer than two are scheduled there.
    pub fn holding(&self) -> usize {
        self.holding
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
    fn follows_gap(&self, window: usize) -> bool {
        window > 0 && self.rows[window - 1].end < self.rows[window].start
    }

    /// Whether rows without a portfolio follow those of a window, so that everything is sold at its end.
    pub fn precedes_gap(&self, window: usize) -> bool {
        window + 1 < self.rows.len() && self.follows_gap(window + 1)
    }

    /// The rows between test spans over which no model holds anything.
    pub fn gaps(&self) -> Vec<Range<usize>> {
        let follows = (1..self.rows.len()).filter(|window| self.follows_gap(*window));
        follows.map(|window| self.rows[window - 1].end..self.rows[window].start).collect()
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

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, date};

    use super::{Rebalance, RebalanceSchedule};

    #[test]
    fn the_holding_is_the_median_number_of_rows_between_decisions_of_the_first_train_rows() {
        // Weekdays of 2018 to 2020.
        let all = (0..3 * 365).map(|day| date(2018, 1, 1).checked_add(day.days()).unwrap());
        let dates: Vec<Date> = all.filter(|day| day.weekday().to_monday_zero_offset() < 5).collect();
        let holding = |rebalance, rows| RebalanceSchedule::new(rebalance, &dates, 500, rows).holding();
        // Months of 2018 have 20 to 23 weekdays, sorted 20 20 21 21 21 22 22 22 23 23 23 after the first one.
        assert_eq!(holding(Rebalance::Monthly, 0..261), 22);
        assert_eq!(holding(Rebalance::Daily, 0..261), 1);
        assert_eq!(holding(Rebalance::Weekly, 3..261), 5);
        // Quarters of 63, 65, 65 and 66 weekdays, of which the last three lie between two decisions.
        assert_eq!(holding(Rebalance::Quarterly, 0..261), 65);
        assert_eq!(holding(Rebalance::EveryRows(7), 0..261), 7);
        // Of two distances, 20 (February) and 22 (March), the lower one.
        assert_eq!(holding(Rebalance::Monthly, 20..70), 20);
        // One decision has no distance.
        assert_eq!((holding(Rebalance::Monthly, 0..30), holding(Rebalance::Quarterly, 0..0)), (1, 1));
    }
}
