//! The decision rows of a span, and the test rows that each window contributes to the out-of-sample path.

use std::ops::Range;

use super::{Window, rows_between};
use crate::error::{Result, fail};
use jiff::civil::Date;

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
