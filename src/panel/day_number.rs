//! Dates as whole days since 1970-01-01, as the C ABI and files store them.

use jiff::Span;
use jiff::civil::{Date, date};

const EPOCH: Date = date(1970, 1, 1);

/// Days since 1970-01-01.
pub fn days_of(day: Date) -> i32 {
    // Between two civil dates lies a whole number of days, and it fits 32 bits.
    (EPOCH.duration_until(day).as_hours() / 24) as i32
}

/// The date this many days after 1970-01-01; `None` outside the calendar (years -9999 to 9999).
pub fn date_of(days: i32) -> Option<Date> {
    EPOCH.checked_add(Span::new().try_days(i64::from(days)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::{date_of, days_of};
    use jiff::civil::date;

    #[test]
    fn days_and_dates_round_trip() {
        assert_eq!(
            (days_of(date(1970, 1, 1)), days_of(date(1969, 12, 31)), days_of(date(2000, 3, 1))),
            (0, -1, 11_017)
        );
        for days in [-4_000_000, -1, 0, 59, 11_016, 2_900_000] {
            assert_eq!(date_of(days).map(days_of), Some(days));
        }
        assert_eq!((date_of(i32::MAX), date_of(i32::MIN)), (None, None));
    }
}
