//! Which rows a span's portfolio is decided at, and which test rows each window contributes to the out-of-sample path.

use std::ops::Range;

use super::{Window, rows_between};
use crate::error::{Result, fail};
use jiff::civil::Date;

/// Decision rows for the rows `held = [s, e)` with execution lag `lag`: all of `[s−1−lag, e−2−lag]` that
/// `is_decision` names, and always the first, so that every held row has a portfolio.
///
/// # Errors
/// `InvalidData` where there is no row before the span to decide at.
pub fn decisions(held: Range<usize>, lag: usize, is_decision: impl Fn(usize) -> bool) -> Result<Vec<usize>> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let Some(first) = held.start.checked_sub(1 + lag) else {
        fail!(
            InvalidData,
            "a portfolio held from row {} with an execution lag of {lag} must be decided {} rows earlier, before the data begin",
            held.start,
            1 + lag
        );
    };
    Ok((first..held.end - 1 - lag).filter(|&row| row == first || is_decision(row)).collect())
}

/// The rows of a train or validation span that fitting, labels and scores may use: the span less its last `lag` rows.
pub fn fit_rows(span: &Range<usize>, lag: usize) -> Range<usize> {
    span.start..span.end.saturating_sub(lag).max(span.start)
}

/// For each window, the test rows that it contributes to the out-of-sample path: its first step where windows overlap,
/// all of the last window's; each test date once, by the newest model.
pub fn stitch(dates: &[Date], windows: &[Window]) -> Vec<Range<usize>> {
    windows
        .iter()
        .enumerate()
        .map(|(place, window)| {
            let end = windows.get(place + 1).map_or(window.test.end, |next| next.test.start.min(window.test.end));
            rows_between(dates, window.test.start, end)
        })
        .collect()
}
