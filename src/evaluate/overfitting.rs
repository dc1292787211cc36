//! The overfitting monitor: how much of what a model scores on the span that it learned from is left on the test span, and
//! whether validation tells good windows from bad ones as test does. Its rules are simple and stated; they are a warning,
//! not a test of significance.

use std::cmp::Ordering;

use super::MetricValue;
use super::metrics::{correlation, deviation, mean, number};

/// Windows that a verdict and a rank correlation want at least.
pub const MIN_WINDOWS: usize = 5;
/// Standard errors of the mean gap above which it is clear.
pub const CLEAR_GAP: f64 = 2.0;
/// Share of the train score below which a test score that is clearly lower makes a model overfit.
pub const OVERFIT_BELOW: f64 = 0.5;

const TOO_FEW: &str = "fewer than 5 windows whose test spans share no day have both scores";
const NO_PAIR: &str = "no window has both scores";
const NOT_POSITIVE: &str = "the train score is not above 0";

/// The net Sharpe ratios of a model in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpanSharpes {
    /// Over the train span.
    pub train: MetricValue,
    /// Over the validation span.
    pub validation: MetricValue,
    /// Over the test span.
    pub test: MetricValue,
}

impl SpanSharpes {
    /// Train less test.
    pub fn gap(&self) -> MetricValue {
        both(self.train, self.test, |train, test| MetricValue::Number(train - test))
    }

    /// Test over train; undefined where train is not above 0, as the ratio would mean nothing.
    pub fn ratio(&self) -> MetricValue {
        both(self.train, self.test, share)
    }
}

/// What the monitor says, by rules in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There are fewer than [`MIN_WINDOWS`] windows to go by.
    Undefined,
    /// The mean train score is not above 0.
    NothingLearned,
    /// The mean gap is at most [`CLEAR_GAP`] of its standard errors.
    NoClearOverfitting,
    /// The gap is clear, and test keeps [`OVERFIT_BELOW`] of the train score or more.
    SomeOverfitting,
    /// The gap is clear, and test keeps less than [`OVERFIT_BELOW`] of the train score.
    Overfit,
}

impl Verdict {
    /// Its name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::NothingLearned => "nothing_learned",
            Self::NoClearOverfitting => "no_clear_overfitting",
            Self::SomeOverfitting => "some_overfitting",
            Self::Overfit => "overfit",
        }
    }

    /// Its name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Undefined => "No verdict",
            Self::NothingLearned => "Nothing learned",
            Self::NoClearOverfitting => "No clear overfitting",
            Self::SomeOverfitting => "Some overfitting",
            Self::Overfit => "Overfit",
        }
    }
}

/// What the monitor finds over all windows of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Overfitting {
    /// The scores, by window.
    pub windows: Vec<SpanSharpes>,
    /// Mean train score of the windows that have a train and a test score; so are the next four.
    pub mean_train: MetricValue,
    /// Mean test score.
    pub mean_test: MetricValue,
    /// Mean of train less test.
    pub mean_gap: MetricValue,
    /// Standard error of that mean, each test day counted once.
    pub gap_error: MetricValue,
    /// Mean test score over mean train score.
    pub kept: MetricValue,
    /// Spearman's rank correlation of validation and test scores over the windows.
    pub generalisation: MetricValue,
    /// The verdict.
    pub verdict: Verdict,
    /// Its reason in words.
    pub reason: String,
}

/// The monitor over the windows of a model. `overlap` says in how many windows' test spans a test day lies on average, 1
/// where they share none: windows that share days say the same several times, and count as fewer.
pub fn overfitting(windows: Vec<SpanSharpes>, overlap: f64) -> Overfitting {
    let pairs =
        |left: fn(&SpanSharpes) -> MetricValue, right: fn(&SpanSharpes) -> MetricValue| -> (Vec<f64>, Vec<f64>) {
            let pair = |window: &SpanSharpes| match (left(window), right(window)) {
                (MetricValue::Number(left), MetricValue::Number(right)) => Some((left, right)),
                _ => None,
            };
            windows.iter().filter_map(pair).unzip()
        };
    let (train, test) = pairs(|window| window.train, |window| window.test);
    let gaps: Vec<f64> = train.iter().zip(&test).map(|(train, test)| train - test).collect();
    let average = |scores: &[f64]| number(mean(scores).map_err(|_| NO_PAIR));
    let (mean_train, mean_test, mean_gap) = (average(&train), average(&test), average(&gaps));
    let error = deviation(&gaps).map(|spread| spread / distinct(gaps.len(), overlap).sqrt());
    let gap_error = number(error.map_err(|_| "fewer than two windows have both scores"));
    let kept = both(mean_train, mean_test, share);
    let (validation, scored) = pairs(|window| window.validation, |window| window.test);
    let generalisation = if enough(scored.len(), overlap) {
        number(correlation(&ranks(&validation), &ranks(&scored)))
    } else {
        MetricValue::Undefined(TOO_FEW)
    };
    let (verdict, reason) = match (mean_train, mean_test, mean_gap, gap_error) {
        (
            MetricValue::Number(train),
            MetricValue::Number(test),
            MetricValue::Number(gap),
            MetricValue::Number(error),
        ) if enough(gaps.len(), overlap) => judge(train, test, gap, error, gaps.len()),
        _ => (Verdict::Undefined, TOO_FEW.to_owned()),
    };
    Overfitting { windows, mean_train, mean_test, mean_gap, gap_error, kept, generalisation, verdict, reason }
}

fn judge(train: f64, test: f64, gap: f64, error: f64, windows: usize) -> (Verdict, String) {
    let means =
        format!("over {windows} windows the Sharpe ratio is {train:.2} on train and {test:.2} on test on average");
    if train <= 0.0 {
        return (Verdict::NothingLearned, format!("{means}; train is not above 0, so there is nothing to lose"));
    }
    if gap <= CLEAR_GAP * error {
        return (
            Verdict::NoClearOverfitting,
            format!("{means}; the gap of {gap:.2} is not above two standard errors of {error:.2}"),
        );
    }
    let (verdict, half) = if test < OVERFIT_BELOW * train {
        (Verdict::Overfit, "less than half")
    } else {
        (Verdict::SomeOverfitting, "half or more")
    };
    (verdict, format!("{means}; the gap of {gap:.2} is above two standard errors of {error:.2}, and test keeps {half}"))
}

/// How many windows so many are worth.
fn distinct(windows: usize, overlap: f64) -> f64 {
    windows as f64 / overlap.max(1.0)
}

fn enough(windows: usize, overlap: f64) -> bool {
    distinct(windows, overlap) >= MIN_WINDOWS as f64
}

fn both(train: MetricValue, test: MetricValue, of: fn(f64, f64) -> MetricValue) -> MetricValue {
    match (train, test) {
        (MetricValue::Number(train), MetricValue::Number(test)) => of(train, test),
        (MetricValue::Undefined(reason), _) | (_, MetricValue::Undefined(reason)) => MetricValue::Undefined(reason),
        _ => MetricValue::Undefined("a score is not a number"),
    }
}

fn share(train: f64, test: f64) -> MetricValue {
    if train > 0.0 { number(Ok(test / train)) } else { MetricValue::Undefined(NOT_POSITIVE) }
}

/// Twice the mean rank of each value, equal values sharing theirs; twice, so that ranks are whole numbers.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let order = |other: &f64| match other.total_cmp(value) {
            Ordering::Less => 2.0,
            Ordering::Equal => 1.0,
            Ordering::Greater => 0.0,
        };
        values.iter().map(order).sum::<f64>() + 1.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::{Overfitting, SpanSharpes, Verdict, overfitting, ranks};
    use crate::evaluate::MetricValue;

    const NONE: MetricValue = MetricValue::Undefined("the denominator is zero");

    fn sharpes(windows: &[[f64; 3]]) -> Vec<SpanSharpes> {
        let value = |number: f64| if number.is_nan() { NONE } else { MetricValue::Number(number) };
        let window = |of: &[f64; 3]| SpanSharpes { train: value(of[0]), validation: value(of[1]), test: value(of[2]) };
        windows.iter().map(window).collect()
    }

    #[track_caller]
    fn near(value: MetricValue, expected: f64) {
        let MetricValue::Number(number) = value else { panic!("{value:?}") };
        assert!((number - expected).abs() < 1e-12, "{number}, expected {expected}");
    }

    /// Train 2, 3, 1, 2, 2 and test 1, 0, 1, 0, 0.5: gaps 1, 3, 0, 2, 1.5, mean 1.5, deviation √1.25.
    const CLEAR: [[f64; 3]; 5] = [[2.0, 1.0, 1.0], [3.0, 2.0, 0.0], [1.0, 3.0, 1.0], [2.0, -1.0, 0.0], [2.0, 0.5, 0.5]];

    fn seen(windows: &[[f64; 3]]) -> Overfitting {
        overfitting(sharpes(windows), 1.0)
    }

    #[test]
    fn every_figure_is_the_one_worked_out_by_hand() {
        let found = seen(&CLEAR);
        near(found.mean_train, 2.0);
        near(found.mean_test, 0.5);
        near(found.mean_gap, 1.5);
        near(found.gap_error, (1.25_f64 / 5.0).sqrt());
        near(found.kept, 0.25);
        // Ranks of validation 3, 4, 5, 1, 2 and of test 4.5, 1.5, 4.5, 1.5, 3: products of deviations 0 − 1.5 + 3 + 3 + 0,
        // squares 10 and 9.
        near(found.generalisation, 4.5 / 90.0_f64.sqrt());
        near(found.windows[1].gap(), 3.0);
        near(found.windows[4].ratio(), 0.25);
        assert_eq!(found.verdict, Verdict::Overfit);
        assert_eq!(
            found.reason,
            "over 5 windows the Sharpe ratio is 2.00 on train and 0.50 on test on average; the gap of 1.50 is above two \
             standard errors of 0.50, and test keeps less than half"
        );
    }

    #[test]
    fn each_rule_has_its_verdict() {
        // Half a point is lost in every window: as clear as can be.
        let some = seen(&[[2.0, 1.0, 1.5]; 5]);
        assert_eq!(some.verdict, Verdict::SomeOverfitting);
        assert!(
            some.reason.ends_with("the gap of 0.50 is above two standard errors of 0.00, and test keeps half or more")
        );
        // Exactly half is kept, which is not less.
        assert_eq!(seen(&[[2.0, 1.0, 1.0]; 5]).verdict, Verdict::SomeOverfitting);
        // Gaps 3, −1, 3, −1, 1: mean 1, standard error 2/√5.
        let unclear = seen(&[[2.0, 0.0, -1.0], [2.0, 0.0, 3.0], [2.0, 0.0, -1.0], [2.0, 0.0, 3.0], [2.0, 0.0, 1.0]]);
        assert_eq!(unclear.verdict, Verdict::NoClearOverfitting);
        near(unclear.gap_error, 2.0 / 5.0_f64.sqrt());
        assert_eq!(unclear.generalisation, MetricValue::Undefined("one of the two does not vary"));
        assert_eq!(seen(&[[1.0, 0.0, 2.0]; 5]).verdict, Verdict::NoClearOverfitting);
        let nothing = seen(&[[-1.0, 0.0, -3.0]; 5]);
        assert_eq!(nothing.verdict, Verdict::NothingLearned);
        assert_eq!(nothing.kept, MetricValue::Undefined("the train score is not above 0"));
        assert_eq!(nothing.windows[0].ratio(), MetricValue::Undefined("the train score is not above 0"));
    }

    #[test]
    fn too_few_windows_have_no_verdict_and_missing_scores_are_left_out() {
        let few = seen(&CLEAR[..4]);
        assert_eq!((few.verdict, few.generalisation), (Verdict::Undefined, MetricValue::Undefined(super::TOO_FEW)));
        assert_eq!(few.reason, super::TOO_FEW);
        near(few.mean_gap, 1.5);
        let none = seen(&[]);
        assert_eq!((none.verdict, none.mean_gap), (Verdict::Undefined, MetricValue::Undefined(super::NO_PAIR)));
        // A window without a train score has no gap, but ranks.
        let with_hole = [&CLEAR[..], &[[f64::NAN, 9.0, 9.0]]].concat();
        let found = seen(&with_hole);
        near(found.mean_gap, 1.5);
        assert_eq!((found.windows[5].gap(), found.windows[5].ratio()), (NONE, NONE));
        assert!(found.generalisation != seen(&CLEAR).generalisation);
    }

    #[test]
    fn windows_that_share_test_days_count_as_fewer() {
        // Each day lies in two test spans: ten windows are worth five, and nine too few.
        let twice = [&CLEAR[..], &CLEAR[..]].concat();
        let found = overfitting(sharpes(&twice), 2.0);
        // Ten gaps, squares 2 × 5, ddof 1.
        near(found.gap_error, (10.0_f64 / 9.0 / 5.0).sqrt());
        assert_eq!(found.verdict, Verdict::Overfit);
        assert_eq!(overfitting(sharpes(&twice[..9]), 2.0).verdict, Verdict::Undefined);
    }

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(ranks(&[5.0, 2.0, 5.0, 7.0]), [5.0, 2.0, 5.0, 8.0]);
    }
}
