//! The rules of the monitor on spans whose scores are known by hand.

use super::{Gap, MonitorInputs, SpanReturns, Verdict, WindowReturns, judge, overfitting};
use crate::evaluate::MetricValue;

/// Rows of a span whose returns are mean ± 1, so that the Sharpe ratio per row is mean/√(n/(n−1)).
fn returns(mean: f64, rows: usize) -> Vec<f64> {
    (0..rows).map(|row| if row % 2 == 0 { mean + 1.0 } else { mean - 1.0 }).collect()
}

/// The Sharpe ratio per row of [`returns`] with a mean of 1.
fn unit(rows: usize) -> f64 {
    ((rows - 1) as f64 / rows as f64).sqrt()
}

fn window(index: usize, [train, validation, test]: [f64; 3]) -> WindowReturns {
    let mut start = 100 * index;
    let mut span = |mean: f64, rows: usize| {
        let range = start..start + rows;
        start += rows;
        Ok(SpanReturns { rows: range, model: returns(mean, rows), benchmark: returns(0.0, rows) })
    };
    WindowReturns { train: span(train, 40), validation: span(validation, 20), test: span(test, 40) }
}

fn inputs(windows: &[WindowReturns]) -> MonitorInputs<'_> {
    MonitorInputs { windows, periods_per_year: 1.0, step_months: 12, test_months: 12, out_of_sample: None, epochs: &[] }
}

#[track_caller]
fn near(value: MetricValue, expected: f64) {
    let MetricValue::Number(ours) = value else { panic!("{value:?}") };
    assert!((ours - expected).abs() < 1e-12, "{ours}, expected {expected}");
}

/// Train 2, 3, 1, 2, 2 and test 1, 0, 1, 0, 0.5, the benchmark's mean being 0.
const MEANS: [[f64; 3]; 5] = [[2.0, 1.0, 1.0], [3.0, 2.0, 0.0], [1.0, 3.0, 1.0], [2.0, -1.0, 0.0], [2.0, 0.5, 0.5]];

fn monitored(means: &[[f64; 3]]) -> Vec<WindowReturns> {
    means.iter().enumerate().map(|(index, means)| window(index, *means)).collect()
}

#[test]
fn means_gaps_and_ranks_match_a_calculation_by_hand() {
    let windows = monitored(&MEANS);
    let found = overfitting(&inputs(&windows));
    near(found.train_excess, 2.0 * unit(40));
    near(found.test_excess, 0.5 * unit(40));
    near(found.gap, 1.5 * unit(40));
    near(found.windows[1].gap(), 3.0 * unit(40));
    near(found.validation_gap, 5.5 / 5.0 * unit(20) - 0.5 * unit(40));
    near(found.kept, 0.25);
    // Ranks of validation 3, 4, 5, 1, 2 and of test 4.5, 1.5, 4.5, 1.5, 3: the products of their deviations are 0,
    // −1.5, 3, 3 and 0, the sums of squares 10 and 9.
    let rho = 4.5 / 90.0_f64.sqrt();
    near(found.generalisation, rho);
    let half = 1.96 * 0.53_f64.sqrt();
    near(found.generalisation_interval[0], (rho.atanh() - half).tanh());
    near(found.generalisation_interval[1], (rho.atanh() + half).tanh());
    assert_eq!(found.verdict, Verdict::Overfit, "{}", found.reason);
}

/// With no lag (test spans of 9 rows) the squared error is the sum of squared influences. A day that is in the train span
/// of one window and in the test span of another has the difference of both.
#[test]
fn the_error_sums_the_influence_of_a_day_over_its_spans() {
    let model: Vec<f64> = (0..60).map(|row| f64::from(row * row % 7) - 2.0).collect();
    let benchmark: Vec<f64> = (0..60).map(|row| f64::from(row * 5 % 11) - 4.0).collect();
    let span = |rows: std::ops::Range<usize>| {
        Ok(SpanReturns { model: model[rows.clone()].to_vec(), benchmark: benchmark[rows.clone()].to_vec(), rows })
    };
    let none = || Err("there is no validation span");
    let windows = [
        WindowReturns { train: span(0..30), validation: none(), test: span(30..39) },
        WindowReturns { train: span(9..39), validation: none(), test: span(39..48) },
    ];
    let influence = |values: &[f64]| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let s = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let of_row = |value: &f64| {
            let z = (value - mean) / s;
            (z - mean / (2.0 * s) * (z * z - 1.0)) / n
        };
        values.iter().map(of_row).collect::<Vec<f64>>()
    };
    let mut by_day = [0.0; 60];
    for (rows, sign) in [(0..30, 0.5), (30..39, -0.5), (9..39, 0.5), (39..48, -0.5)] {
        let both = [influence(&model[rows.clone()]), influence(&benchmark[rows.clone()])];
        for (index, row) in rows.enumerate() {
            by_day[row] += sign * (both[0][index] - both[1][index]);
        }
    }
    let expected = by_day.iter().map(|value| value * value).sum::<f64>().sqrt();
    near(overfitting(&inputs(&windows)).gap_error, expected);
}

#[test]
fn each_rule_has_its_verdict() {
    let judged = |train: f64, test: f64, error: f64, effective: f64| {
        let gap = Gap {
            windows: 6,
            effective,
            first: Ok(train),
            of_first: Ok(0.1),
            second: Ok(test),
            mean: Ok(train - test),
            error: Ok(error),
        };
        judge::judge(&gap).0
    };
    assert_eq!(judged(1.0, 0.4, 0.2, 4.9), Verdict::Undefined);
    assert_eq!(judged(0.0, -1.0, 0.2, 5.0), Verdict::NothingLearned);
    assert_eq!(judged(1.0, 0.4, 0.2, 5.0), Verdict::Overfit);
    // Exactly half is not less than half, and exactly two errors are not above two.
    assert_eq!(judged(1.0, 0.5, 0.2, 5.0), Verdict::SomeOverfitting);
    assert_eq!(judged(1.0, 0.5, 0.25, 5.0), Verdict::NoEvidence);
    assert_eq!(judged(1.0, 0.9, 0.19, 5.0), Verdict::NoneFound);
    assert_eq!(judged(1.0, 0.9, 0.2, 5.0), Verdict::NoEvidence);
}

#[test]
fn overlapping_test_spans_count_as_fewer_windows_and_short_train_paths_as_none() {
    let windows = monitored(&MEANS);
    // Steps of 6 months with tests of 12: five windows are two and a half.
    let found = overfitting(&MonitorInputs { step_months: 6, ..inputs(&windows) });
    assert_eq!(found.verdict, Verdict::Undefined);
    assert_eq!(found.generalisation, MetricValue::Undefined(super::TOO_FEW));
    let mut windows = monitored(&MEANS);
    windows[0].train = Ok(SpanReturns { rows: 0..19, model: returns(1.0, 19), benchmark: returns(0.0, 19) });
    let found = overfitting(&inputs(&windows));
    assert_eq!(found.windows[0].train.model, MetricValue::Undefined("the train path has fewer than 20 rows"));
    assert_eq!(found.verdict, Verdict::Undefined);
    assert_eq!(overfitting(&inputs(&[])).gap, MetricValue::Undefined(super::NO_PAIR));
}

#[test]
fn findings_stand_beside_the_verdict() {
    let names = |epochs: &[(u32, u32)], out_of_sample: Option<(f64, f64)>, means: &[[f64; 3]]| {
        let windows = monitored(means);
        let found = overfitting(&MonitorInputs { out_of_sample, epochs, ..inputs(&windows) });
        found.findings.iter().map(|finding| finding.name).collect::<Vec<_>>()
    };
    let flat = [[1.0, 1.0, 1.0]; 5];
    let none: [&str; 0] = [];
    assert_eq!(names(&[(1, 9), (2, 9), (3, 9), (9, 9), (5, 9)], Some((3.5, 0.25)), &flat), none);
    assert_eq!(
        names(&[(1, 9), (1, 9), (3, 9), (9, 9), (9, 9)], Some((3.51, 0.25)), &flat),
        ["beyond_belief", "first_epoch_best", "last_epoch_best"]
    );
    assert_eq!(names(&[], None, &[[1.0, 4.0, 0.0]; 5]), ["validation_gap"]);
}
