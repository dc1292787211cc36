//! The assets that are eligible at a decision row, and the past of them that a model gets.

use jiff::civil::Date;

use super::Requirements;
use crate::error::{Code, Error, Result};
use crate::panel::{Panel, Past};
use crate::windows::lookback_rows;

/// The columns that are eligible at `row`: members with enough finite returns in the lookback, which starts no earlier
/// than `start`.
pub(crate) fn eligible(panel: &Panel, needs: Requirements, start: usize, row: usize) -> Vec<usize> {
    panel.eligible(lookback_rows(needs.lookback, start, row), needs.min_history)
}

/// The past that a model gets at `row`: the lookback of the eligible assets.
///
/// # Errors
/// `InvalidData` if no asset is eligible.
pub(crate) fn past_at(panel: &Panel, needs: Requirements, start: usize, row: usize) -> Result<Past> {
    let assets = eligible(panel, needs, start, row);
    let rows = lookback_rows(needs.lookback, start, row);
    if assets.is_empty() {
        return Err(none_eligible(panel.dates()[row], needs, rows.len()));
    }
    panel.past(rows, &assets)
}

/// The error for a decision without an eligible asset; `rows` is the length of its lookback.
pub(crate) fn none_eligible(date: Date, needs: Requirements, rows: usize) -> Error {
    Error::new(
        Code::InvalidData,
        format!(
            "no asset can be held on {date}: none is a member with {} finite returns in the {rows} rows up to it; lower \
             model.lookback or model.min_history, if it is they that ask for more than there is",
            needs.min_history
        ),
    )
}
