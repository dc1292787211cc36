//! Windows on random calendars: spans are in order, no label crosses a boundary, every test date comes once; and the
//! example prices give the documented number of windows.

use jiff::ToSpan;
use jiff::civil::{Date, Weekday, date};
use proptest::prelude::*;
use walkforge::internals::windows::{FitRows, SampleRule, decisions, stitch, train_samples};
use walkforge::{Rebalance, Scheme, WindowSettings, skipped_tests, windows};

use crate::common::panels::{stocks, weekdays};

fn settings(train: u32, validation: u32, test: u32, step: u32) -> WindowSettings {
    WindowSettings {
        scheme: Scheme::Rolling,
        train_months: train,
        validation_months: validation,
        test_months: test,
        step_months: step,
        start: None,
        partial_test: false,
        embargo_days: 0,
    }
}

/// Weekdays, with random holidays and one long gap removed.
fn calendar() -> impl Strategy<Value = Vec<Date>> {
    let holidays = proptest::collection::vec(0.0..1.0_f64, 2200);
    (0..4000_i64, holidays, 0..2200_usize, 0..12_usize).prop_map(|(offset, draws, gap_at, gap)| {
        let start = date(1995, 1, 1).checked_add(offset.days()).unwrap();
        draws
            .iter()
            .enumerate()
            .map(|(day, draw)| (start.checked_add((day as i64).days()).unwrap(), day, draw))
            .filter(|(day, index, draw)| {
                !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
                    && **draw > 0.05
                    && !(gap_at..gap_at + gap).contains(index)
            })
            .map(|(day, _, _)| day)
            .collect()
    })
}

/// A calendar and window settings over it; half of the starts are a date of the calendar's first year.
fn cut() -> impl Strategy<Value = (Vec<Date>, WindowSettings)> {
    (calendar(), 1..20_u32, 0..8_u32, 1..8_u32, 1..14_u32, any::<bool>(), any::<bool>(), 0..40_u32, 0..500_usize)
        .prop_map(|(dates, train, validation, test, step, expanding, partial, embargo, first)| {
            let start = (first < 250).then(|| dates[first]);
            (
                dates,
                WindowSettings {
                    scheme: if expanding { Scheme::Expanding } else { Scheme::Rolling },
                    partial_test: partial,
                    embargo_days: embargo,
                    start,
                    ..settings(train, validation, test, step)
                },
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn spans_are_in_order_and_every_stitched_test_date_comes_once((dates, cut) in cut()) {
        let Ok(windows) = windows(&dates, &cut) else { return Ok(()) };
        for window in &windows {
            prop_assert!(window.train.start < window.train.end);
            prop_assert_eq!(window.train.end, window.validation.start);
            prop_assert_eq!(window.validation.end, window.test.start);
            prop_assert_eq!(window.train.rows.end, window.validation.rows.start);
            prop_assert_eq!(window.validation.rows.end, window.test.rows.start);
            for span in [&window.train, &window.validation, &window.test] {
                prop_assert!(dates[span.rows.clone()].iter().all(|day| (span.start..span.end).contains(day)));
                let inside = dates.iter().filter(|day| (span.start..span.end).contains(*day)).count();
                prop_assert_eq!(inside, span.rows.len());
            }
        }
        let stitched: Vec<usize> = stitch(&dates, &windows).into_iter().flatten().collect();
        prop_assert!(stitched.windows(2).all(|pair| pair[0] < pair[1]));
        let mut tested: Vec<usize> = windows.iter().flat_map(|window| window.test.rows.clone()).collect();
        tested.sort_unstable();
        tested.dedup();
        prop_assert_eq!(stitched, tested);
    }

    #[test]
    fn no_label_crosses_a_boundary_and_no_sample_is_lost(
        (dates, cut) in cut(), lookback in 1..40_usize, horizon in 1..8_usize, lag in 0..3_usize,
    ) {
        let Ok(windows) = windows(&dates, &cut) else { return Ok(()) };
        let rule = SampleRule { lookback, horizon, lag };
        for window in &windows {
            let span = window.train.rows.clone();
            let open = window.train.end.checked_sub(i64::from(cut.embargo_days).days()).unwrap();
            let usable = FitRows::new(&dates, window, cut.embargo_days, lag).train;
            let expected: Vec<usize> = (0..dates.len())
                .filter(|&t| {
                    let (from, to) = (t + 1 + lag, t + horizon + lag);
                    let label = from >= span.start && to + lag < span.end && dates[to] < open;
                    label && t + 1 >= span.start + lookback
                })
                .collect();
            prop_assert_eq!(train_samples(&usable, &rule).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_rows_before_the_next_span_are_used_for_nothing((dates, cut) in cut(), lag in 0..3_usize) {
        let Ok(windows) = windows(&dates, &cut) else { return Ok(()) };
        for window in &windows {
            let found = FitRows::new(&dates, window, cut.embargo_days, lag);
            for (span, found) in [(&window.train, found.train), (&window.validation, found.validation)] {
                let near = |row: usize| (span.end - dates[row]).get_days() <= cut.embargo_days as i32;
                let expected: Vec<usize> =
                    span.rows.clone().filter(|&row| row + lag < span.rows.end && !near(row)).collect();
                prop_assert_eq!(found.collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn every_held_row_has_a_decision_before_it((dates, cut) in cut(), lag in 0..3_usize) {
        let Ok(windows) = windows(&dates, &cut) else { return Ok(()) };
        for window in &windows {
            let held = window.test.rows.clone();
            if held.start < 1 + lag {
                continue;
            }
            let due = |row: usize| Rebalance::Monthly.is_decision(row, dates[row], dates.get(row + 1).copied());
            let rows = decisions(held.clone(), lag, due).unwrap();
            prop_assert_eq!(rows[0], held.start - 1 - lag);
            for row in held.start - lag..held.end - 1 - lag {
                prop_assert_eq!(rows.contains(&row), due(row));
            }
            prop_assert!(rows.iter().all(|row| row + 2 + lag <= held.end));
        }
    }
}

#[test]
fn the_example_prices_give_29_windows_and_337_monthly_ones() {
    let panel = stocks();
    let yearly = windows(panel.dates(), &settings(36, 12, 12, 12)).unwrap();
    assert_eq!(yearly.len(), 29);
    assert_eq!(yearly[0].train.start, date(1990, 1, 1));
    assert_eq!(yearly[28].test.end, date(2023, 1, 1));
    assert_eq!(windows(panel.dates(), &settings(36, 12, 12, 1)).unwrap().len(), 337);
}

#[test]
fn a_short_calendar_is_refused_with_what_it_lacks() {
    let dates = [date(2020, 1, 1), date(2021, 12, 31)];
    let message = windows(&dates, &settings(36, 12, 12, 12)).unwrap_err().to_string();
    assert!(message.contains("the data run from 2020-01-01 to 2021-12-31"), "{message}");
    // Windows without a date to test are skipped; the last one has nothing to fit.
    let message = windows(&dates, &settings(3, 3, 3, 3)).unwrap_err().to_string();
    assert!(
        message.contains("window 0: its train span, from 2021-04-01 to before 2021-07-01, has no date"),
        "{message}"
    );
    assert!(windows(&[], &settings(3, 3, 3, 3)).is_err());
    assert!(decisions(0..5, 0, |_| true).is_err());
}

#[test]
fn a_test_span_without_a_date_is_skipped_and_the_windows_after_it_stay() {
    // Athens in July 2015.
    let closed = |day: &Date| (day.year(), day.month()) == (2015, 7);
    let dates: Vec<Date> =
        weekdays(date(2010, 1, 4)).take_while(|day| *day < date(2016, 1, 1)).filter(|day| !closed(day)).collect();
    let monthly = settings(36, 12, 1, 1);
    let found = windows(&dates, &monthly).unwrap();
    assert_eq!(found.len(), 23);
    assert!(found.iter().enumerate().all(|(index, window)| window.index == index && !window.test.rows.is_empty()));
    let skipped = skipped_tests(&dates, &monthly).unwrap();
    let spans: Vec<(Date, Date)> = skipped.iter().map(|span| (span.start, span.end)).collect();
    assert_eq!(spans, [(date(2015, 7, 1), date(2015, 8, 1))]);
    // There is no row between June and August, so the path has no gap.
    assert!(stitch(&dates, &found).windows(2).all(|pair| pair[0].end == pair[1].start));
    // A validation span without a date leaves nothing to choose by.
    let message = windows(&dates, &settings(36, 1, 1, 1)).unwrap_err().to_string();
    assert!(message.contains("its validation span, from 2015-07-01 to before 2015-08-01, has no date"), "{message}");
}

#[test]
fn a_window_is_there_once_its_last_month_has_a_date_and_complete_once_a_later_month_has() {
    let until = |last: Date| weekdays(date(2010, 1, 1)).take_while(move |day| *day <= last).collect::<Vec<_>>();
    let yearly = settings(36, 12, 12, 12);
    for (last, count, complete) in [
        (date(2015, 11, 30), 1, true),
        (date(2015, 12, 1), 2, false),
        (date(2015, 12, 31), 2, false),
        (date(2016, 1, 1), 2, true),
    ] {
        let dates = until(last);
        let found = windows(&dates, &yearly).unwrap();
        assert_eq!((found.len(), found[count - 1].is_complete(&dates)), (count, complete), "{last}");
    }
    let partial = WindowSettings { partial_test: true, ..yearly.clone() };
    let dates = until(date(2015, 2, 27));
    let found = windows(&dates, &partial).unwrap();
    assert_eq!((found.len(), found[1].test.end, windows(&dates, &yearly).unwrap().len()), (2, date(2016, 1, 1), 1));
    assert!(!found[1].is_complete(&dates));
}

#[test]
fn the_start_is_clamped_by_months_and_lies_not_before_the_data() {
    let dates: Vec<Date> = weekdays(date(2010, 1, 20)).take_while(|day| day.year() < 2018).collect();
    let start = |day: Date| WindowSettings { start: Some(day), ..settings(1, 1, 12, 12) };
    let found = windows(&dates, &start(date(2010, 1, 31))).unwrap();
    assert_eq!((found[0].train.end, found[0].test.start), (date(2010, 2, 28), date(2010, 3, 31)));
    assert!(windows(&dates, &start(date(2010, 1, 1))).is_ok());
    let message = windows(&dates, &start(date(2008, 1, 1))).unwrap_err().to_string();
    assert!(
        message.contains("'windows.start': found 2008-01-01, but the data begin on 2010-01-20")
            && message.contains("the first possible date is 2010-01-01"),
        "{message}"
    );
}
