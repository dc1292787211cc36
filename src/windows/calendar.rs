//! Calendar arithmetic: adding months, rows of a date interval, and which rows are rebalance decisions.

use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::Date;

use crate::error::{Code, Error, Result, fail};

/// `start` plus whole months. The day is clamped to the length of the month: 31 January + 1 month is the end of
/// February.
///
/// # Errors
/// `InvalidSetting` if the result is beyond the calendar (year 9999).
pub(crate) fn add_months(start: Date, months: u32) -> Result<Date> {
    start
        .checked_add(i64::from(months).months())
        .map_err(|_| Error::new(Code::InvalidSetting, format!("{months} months after {start} lie beyond the calendar")))
}

/// The rows whose dates are in `[start, end)`.
pub(crate) fn rows_between(dates: &[Date], start: Date, end: Date) -> Range<usize> {
    let first = dates.partition_point(|date| *date < start);
    first..dates.partition_point(|date| *date < end).max(first)
}

/// When a portfolio is rebalanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// Every row.
    Daily,
    /// The last row of a week (Monday to Sunday).
    Weekly,
    /// The last row of a month.
    Monthly,
    /// The last row of a quarter.
    Quarterly,
    /// Every this many rows, counted from the experiment's first decision, in both directions.
    EveryRows(usize),
}

impl Rebalance {
    /// Parses `daily`, `weekly`, `monthly`, `quarterly` or a number of rows.
    ///
    /// # Errors
    /// `InvalidSetting` for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "daily" => Self::Daily,
            "weekly" => Self::Weekly,
            "monthly" => Self::Monthly,
            "quarterly" => Self::Quarterly,
            _ => match text.parse() {
                Ok(rows) if rows > 0 => Self::EveryRows(rows),
                _ => fail!(
                    InvalidSetting,
                    "setting 'portfolio.rebalance': found \"{text}\", allowed is daily, weekly, monthly, quarterly or \
                     a number of rows of at least 1"
                ),
            },
        })
    }

    /// Whether a row dated `date` is a decision row; `offset` rows lie between it and the experiment's first decision.
    /// `next` is the next trading date, which is known in advance from the exchange's calendar; without a next date, no
    /// row is a decision row.
    pub fn is_decision(self, offset: usize, date: Date, next: Option<Date>) -> bool {
        let Some(next) = next else { return false };
        let month = |date: Date| (date.year(), date.month());
        match self {
            Self::Daily => true,
            Self::Weekly => {
                date.iso_week_date().week() != next.iso_week_date().week()
                    || date.duration_until(next).as_hours() >= 7 * 24
            }
            Self::Monthly => month(date) != month(next),
            Self::Quarterly => (date.year(), (date.month() - 1) / 3) != (next.year(), (next.month() - 1) / 3),
            Self::EveryRows(rows) => offset.is_multiple_of(rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rebalance, add_months};
    use jiff::civil::date;

    #[test]
    fn adding_months_clamps_the_day_and_does_not_drift() {
        let start = date(2020, 1, 31);
        assert_eq!(add_months(start, 1).unwrap(), date(2020, 2, 29));
        assert_eq!(add_months(start, 2).unwrap(), date(2020, 3, 31));
        assert_eq!(add_months(start, 13).unwrap(), date(2021, 2, 28));
        assert!(add_months(start, 120_000).is_err());
    }

    #[test]
    fn a_decision_row_is_the_last_of_its_period() {
        let (thursday, friday, monday) = (date(2020, 12, 31), date(2021, 1, 1), date(2021, 1, 4));
        assert!(Rebalance::Monthly.is_decision(5, thursday, Some(friday)));
        assert!(Rebalance::Quarterly.is_decision(5, thursday, Some(friday)));
        assert!(!Rebalance::Weekly.is_decision(5, thursday, Some(friday)));
        assert!(Rebalance::Weekly.is_decision(6, friday, Some(monday)));
        assert!(Rebalance::Weekly.is_decision(6, friday, Some(date(2021, 12, 31))));
        assert!(!Rebalance::Monthly.is_decision(6, friday, Some(monday)));
        assert!(!Rebalance::Daily.is_decision(6, friday, None));
        assert!(Rebalance::EveryRows(3).is_decision(6, friday, Some(monday)));
        assert!(Rebalance::parse("fortnightly").is_err() && Rebalance::parse("0").is_err());
    }
}
