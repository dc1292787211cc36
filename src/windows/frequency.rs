//! The number of rows per year, read from the spacing of the dates.

use jiff::civil::Date;

use super::Window;
use crate::error::{Result, fail};

/// Spacing is measured over this many rows, so that weekends and single holidays do not move it.
const STRIDE: usize = 5;

/// Rows per year, and the range of measured values that is read as such.
const FREQUENCIES: [(f64, f64, f64); 6] = [
    (252.0, 240.0, 266.0),
    (365.0, 340.0, 372.0),
    (52.0, 48.0, 54.0),
    (12.0, 11.4, 12.6),
    (4.0, 3.8, 4.2),
    (1.0, 0.95, 1.05),
];

/// What the dates of a span say about the number of rows per year.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
    /// This many.
    Known(f64),
    /// This many were measured, which is no usual frequency.
    Unusual(f64),
    /// There are too few rows to measure.
    TooFew(usize),
}

impl Reading {
    fn of(dates: &[Date]) -> Self {
        let mut days: Vec<i64> = dates
            .windows(STRIDE + 1)
            .map(|dates| i64::from(dates[0].until(dates[STRIDE]).map_or(0, |span| span.get_days())))
            .collect();
        if days.is_empty() {
            return Self::TooFew(dates.len());
        }
        days.sort_unstable();
        let middle = days.len() / 2;
        let median =
            if days.len() % 2 == 1 { days[middle] as f64 } else { 0.5 * (days[middle - 1] + days[middle]) as f64 };
        let measured = STRIDE as f64 * 365.25 / median;
        match FREQUENCIES.iter().find(|(_, low, high)| (*low..=*high).contains(&measured)) {
            Some((periods, ..)) => Self::Known(*periods),
            None => Self::Unusual(measured),
        }
    }
}

/// The number of rows per year, read from the train rows of the first window, or from all rows where there is no window,
/// so that later rows cannot move it. Also returns a warning if the train rows of another window read otherwise.
///
/// # Errors
/// `InvalidSetting` that asks for `data.periods_per_year` where the dates have no usual spacing or are too few.
pub(crate) fn periods_per_year(dates: &[Date], windows: &[Window]) -> Result<(f64, Option<String>)> {
    let rows = windows.first().map_or(0..dates.len(), |window| window.train.rows.clone());
    let span = match &dates[rows.clone()] {
        [first, .., last] => format!("{first} to {last}"),
        rows => format!("{} row", rows.len()),
    };
    let periods = match Reading::of(&dates[rows]) {
        Reading::Known(periods) => periods,
        Reading::Unusual(measured) => fail!(
            InvalidSetting,
            "setting 'data.periods_per_year' is needed: the dates ({span}) have {measured:.4} rows per year, which is \
             none of 252, 365, 52, 12, 4 and 1; set the number of rows per year"
        ),
        Reading::TooFew(found) => fail!(
            InvalidSetting,
            "setting 'data.periods_per_year' is needed: the first train span ({span}) has {found} rows, and at least \
             {} are needed to read it from the dates; set the number of rows per year",
            STRIDE + 1
        ),
    };
    let otherwise = windows.iter().skip(1).find_map(|window| match Reading::of(&dates[window.train.rows.clone()]) {
        Reading::Known(other) if other != periods => Some((window, other)),
        Reading::Unusual(other) => Some((window, other)),
        _ => None,
    });
    let warning = otherwise.map(|(window, other)| {
        format!(
            "figures are annualised with {periods} rows per year, as read from {span}, but the train span of window {} \
             (from {}) reads as {other:.4}; set data.periods_per_year",
            window.index, window.train.start
        )
    });
    Ok((periods, warning))
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, Weekday, date};

    use super::{Reading, periods_per_year};
    use crate::windows::{WindowSettings, windows};

    fn every(days: usize, count: usize) -> Vec<Date> {
        (0..count).map(|row| date(2015, 1, 1).checked_add(((days * row) as i64).days()).unwrap()).collect()
    }

    fn months(step: usize, count: usize) -> Vec<Date> {
        (0..count).map(|row| date(2000, 1, 31).checked_add(((step * row) as i64).months()).unwrap()).collect()
    }

    fn weekdays(count: usize) -> Vec<Date> {
        let weekend = |day: &Date| matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        every(1, 2 * count).into_iter().filter(|day| !weekend(day)).take(count).collect()
    }

    #[test]
    fn usual_spacings_are_read_from_the_dates() {
        for (dates, expected) in [
            (weekdays(500), 252.0),
            (weekdays(6), 252.0),
            (every(1, 500), 365.0),
            (every(7, 100), 52.0),
            (months(1, 60), 12.0),
            (months(3, 40), 4.0),
            (months(12, 20), 1.0),
        ] {
            assert_eq!(periods_per_year(&dates, &[]).unwrap(), (expected, None));
        }
        // Days with a gap of a month in each half year are still days.
        let gaps: Vec<Date> = weekdays(600).into_iter().filter(|day| day.month() % 6 != 1).collect();
        assert_eq!(Reading::of(&gaps), Reading::Known(252.0));
    }

    #[test]
    fn an_unusual_spacing_and_too_few_rows_ask_for_the_number() {
        let message = |dates: &[Date]| periods_per_year(dates, &[]).unwrap_err().to_string();
        let found = message(&every(3, 50));
        assert!(
            found.contains("'data.periods_per_year' is needed") && found.contains("121.7500 rows per year"),
            "{found}"
        );
        let found = message(&weekdays(5));
        assert!(found.contains("has 5 rows, and at least 6"), "{found}");
    }

    #[test]
    fn only_the_first_train_span_counts_and_another_spacing_is_a_warning() {
        // Four years of months, then days.
        let mut dates = months(1, 48);
        dates.extend((1..1500).map(|day| dates[47].checked_add(day.days()).unwrap()).collect::<Vec<_>>());
        let settings = WindowSettings { train_months: 24, validation_months: 6, ..settings() };
        let windows = windows(&dates, &settings).unwrap();
        let (periods, warning) = periods_per_year(&dates, &windows).unwrap();
        assert_eq!(periods, 12.0);
        let warning = warning.unwrap();
        assert!(warning.contains("12 rows per year") && warning.contains("reads as 365.0000"), "{warning}");
        let first = windows[..1].to_vec();
        assert_eq!(periods_per_year(&dates, &first).unwrap(), (12.0, None));
    }

    fn settings() -> WindowSettings {
        WindowSettings {
            scheme: crate::windows::Scheme::Rolling,
            train_months: 36,
            validation_months: 12,
            test_months: 12,
            step_months: 12,
            start: None,
            partial_test: false,
            embargo_days: 0,
        }
    }
}
