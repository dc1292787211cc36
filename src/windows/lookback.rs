//! The rows that a decision may see. This is the only formula that keeps later rows out.

use std::ops::Range;

/// The rows of the lookback at `row`: the last `lookback` rows up to and including `row`, none before `start`.
pub(crate) fn lookback_rows(lookback: usize, start: usize, row: usize) -> Range<usize> {
    (row + 1).saturating_sub(lookback).max(start)..row + 1
}

#[cfg(test)]
mod tests {
    use super::lookback_rows;

    #[test]
    fn a_lookback_ends_at_its_row_and_starts_no_earlier_than_allowed() {
        assert_eq!(lookback_rows(3, 0, 9), 7..10);
        assert_eq!(lookback_rows(3, 8, 9), 8..10);
        assert_eq!(lookback_rows(30, 0, 9), 0..10);
        assert_eq!(lookback_rows(1, 0, 0), 0..1);
    }
}
