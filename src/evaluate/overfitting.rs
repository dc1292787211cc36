//! The overfitting monitor: how much of its train score a model keeps on the test span, and whether validation ranks
//! the windows as test does. Its rules are simple and documented; they give a warning, not a test of significance.

use std::cmp::Ordering;

use super::MetricValue;
use super::metrics::{correlation, deviation, finite, mean};

/// Number of windows that a verdict and a rank correlation need at least.
pub(crate) const MIN_WINDOWS: usize = 5;
/// A mean gap above this many of its standard errors is clear.
pub(crate) const CLEAR_GAP: f64 = 2.0;
/// With a clear gap, a model is overfit if its test score is below this share of its train score.
pub(crate) const OVERFIT_BELOW: f64 = 0.5;

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
    /// The train score minus the test score.
    pub fn gap(&self) -> MetricValue {
        both(self.train, self.test, |train, test| MetricValue::Number(train - test))
    }

    /// The test score over the train score; undefined if the train score is not above 0.
    pub fn ratio(&self) -> MetricValue {
        both(self.train, self.test, share)
    }
}

/// The verdict of the monitor: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fewer than [`MIN_WINDOWS`] windows have both scores.
    Undefined,
    /// The mean train score is not above 0.
    NothingLearned,
    /// The mean gap is at most [`CLEAR_GAP`] of its standard errors.
    NoClearOverfitting,
    /// The gap is clear, and the test score is at least [`OVERFIT_BELOW`] of the train score.
    SomeOverfitting,
    /// The gap is clear, and the test score is less than [`OVERFIT_BELOW`] of the train score.
    Overfit,
}

impl Verdict {
    /// The name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::NothingLearned => "nothing_learned",
            Self::NoClearOverfitting => "no_clear_overfitting",
            Self::SomeOverfitting => "some_overfitting",
            Self::Overfit => "overfit",
        }
    }

    /// The name in the report.
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

/// The findings of the monitor over all windows of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Overfitting {
    /// The scores of each window.
    pub windows: Vec<SpanSharpes>,
    /// Mean train score. This and the next four values are over the windows that have both a train and a test score.
    pub mean_train: MetricValue,
    /// Mean test score.
    pub mean_test: MetricValue,
    /// Mean of the train score minus the test score.
    pub mean_gap: MetricValue,
    /// Standard error of the mean gap, with each test day counted once.
    pub gap_error: MetricValue,
    /// Mean test score over mean train score.
    pub kept: MetricValue,
    /// Spearman's rank correlation of validation and test scores over the windows.
    pub generalisation: MetricValue,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason of the verdict, as a sentence.
    pub reason: String,
}

/// Compares the scores of a model over its windows. `overlap` is the mean number of test spans that contain a test day,
/// 1 if the spans do not overlap. Overlapping windows repeat the same evidence, so `n` of them count as `n / overlap`.
pub(crate) fn overfitting(windows: Vec<SpanSharpes>, overlap: f64) -> Overfitting {
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
    let average = |scores: &[f64]| finite(mean(scores).map_err(|_| NO_PAIR));
    let (mean_train, mean_test, mean_gap) = (average(&train), average(&test), average(&gaps));
    let error = deviation(&gaps).map(|deviation| deviation / effective(gaps.len(), overlap).sqrt());
    let gap_error = finite(error.map_err(|_| "fewer than two windows have both scores"));
    let kept = both(mean_train, mean_test, share);
    let (validation, test_ranked) = pairs(|window| window.validation, |window| window.test);
    let generalisation = if enough(test_ranked.len(), overlap) {
        finite(correlation(&ranks(&validation), &ranks(&test_ranked)))
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

/// The number of windows without overlap that carry as much evidence.
fn effective(windows: usize, overlap: f64) -> f64 {
    windows as f64 / overlap.max(1.0)
}

fn enough(windows: usize, overlap: f64) -> bool {
    effective(windows, overlap) >= MIN_WINDOWS as f64
}

/// Applies `compare` to two scores; undefined if one of them is.
fn both(train: MetricValue, test: MetricValue, compare: fn(f64, f64) -> MetricValue) -> MetricValue {
    match (train, test) {
        (MetricValue::Number(train), MetricValue::Number(test)) => compare(train, test),
        (MetricValue::Undefined(reason), _) | (_, MetricValue::Undefined(reason)) => MetricValue::Undefined(reason),
        _ => MetricValue::Undefined("a score is not a number"),
    }
}

/// The share of the train score that the test score keeps.
fn share(train: f64, test: f64) -> MetricValue {
    if train > 0.0 { finite(Ok(test / train)) } else { MetricValue::Undefined(NOT_POSITIVE) }
}

/// Twice the rank of each value, where equal values share their mean rank; doubling makes the ranks integers.
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

    const UNDEFINED: MetricValue = MetricValue::Undefined("the denominator is zero");

    fn sharpes(windows: &[[f64; 3]]) -> Vec<SpanSharpes> {
        let value = |score: f64| if score.is_nan() { UNDEFINED } else { MetricValue::Number(score) };
        let window = |scores: &[f64; 3]| {
            let [train, validation, test] = scores.map(value);
            SpanSharpes { train, validation, test }
        };
        windows.iter().map(window).collect()
    }

    #[track_caller]
    fn near(value: MetricValue, expected: f64) {
        let MetricValue::Number(ours) = value else { panic!("{value:?}") };
        assert!((ours - expected).abs() < 1e-12, "{ours}, expected {expected}");
    }

    /// Train 2, 3, 1, 2, 2 and test 1, 0, 1, 0, 0.5: gaps 1, 3, 0, 2, 1.5, mean 1.5, deviation √1.25.
    const CLEAR: [[f64; 3]; 5] = [[2.0, 1.0, 1.0], [3.0, 2.0, 0.0], [1.0, 3.0, 1.0], [2.0, -1.0, 0.0], [2.0, 0.5, 0.5]];

    fn monitor(windows: &[[f64; 3]]) -> Overfitting {
        overfitting(sharpes(windows), 1.0)
    }

    #[test]
    fn every_value_matches_a_calculation_by_hand() {
        let found = monitor(&CLEAR);
        near(found.mean_train, 2.0);
        near(found.mean_test, 0.5);
        near(found.mean_gap, 1.5);
        near(found.gap_error, (1.25_f64 / 5.0).sqrt());
        near(found.kept, 0.25);
        // Ranks of validation 3, 4, 5, 1, 2 and of test 4.5, 1.5, 4.5, 1.5, 3: the products of their deviations are 0,
        // −1.5, 3, 3 and 0, the sums of squares 10 and 9.
        near(found.generalisation, 4.5 / 90.0_f64.sqrt());
        near(found.windows[1].gap(), 3.0);
        near(found.windows[4].ratio(), 0.25);
        assert_eq!(found.verdict, Verdict::Overfit);
        assert_eq!(
            found.reason,
            "over 5 windows the Sharpe ratio is 2.00 on train and 0.50 on test on average; the gap of 1.50 is above \
             two standard errors of 0.50, and test keeps less than half"
        );
    }

    #[test]
    fn each_rule_has_its_verdict() {
        // Every window loses 0.5, so the gap has no error.
        let some = monitor(&[[2.0, 1.0, 1.5]; 5]);
        assert_eq!(some.verdict, Verdict::SomeOverfitting);
        assert!(
            some.reason.ends_with("the gap of 0.50 is above two standard errors of 0.00, and test keeps half or more")
        );
        // Exactly half is not less than half.
        assert_eq!(monitor(&[[2.0, 1.0, 1.0]; 5]).verdict, Verdict::SomeOverfitting);
        // Gaps 3, −1, 3, −1, 1: mean 1, standard error 2/√5.
        let unclear = monitor(&[[2.0, 0.0, -1.0], [2.0, 0.0, 3.0], [2.0, 0.0, -1.0], [2.0, 0.0, 3.0], [2.0, 0.0, 1.0]]);
        assert_eq!(unclear.verdict, Verdict::NoClearOverfitting);
        near(unclear.gap_error, 2.0 / 5.0_f64.sqrt());
        assert_eq!(unclear.generalisation, MetricValue::Undefined("one of the two does not vary"));
        assert_eq!(monitor(&[[1.0, 0.0, 2.0]; 5]).verdict, Verdict::NoClearOverfitting);
        let nothing = monitor(&[[-1.0, 0.0, -3.0]; 5]);
        assert_eq!(nothing.verdict, Verdict::NothingLearned);
        assert_eq!(nothing.kept, MetricValue::Undefined("the train score is not above 0"));
        assert_eq!(nothing.windows[0].ratio(), MetricValue::Undefined("the train score is not above 0"));
    }

    #[test]
    fn too_few_windows_give_no_verdict_and_undefined_scores_are_left_out() {
        let few = monitor(&CLEAR[..4]);
        assert_eq!((few.verdict, few.generalisation), (Verdict::Undefined, MetricValue::Undefined(super::TOO_FEW)));
        assert_eq!(few.reason, super::TOO_FEW);
        near(few.mean_gap, 1.5);
        let none = monitor(&[]);
        assert_eq!((none.verdict, none.mean_gap), (Verdict::Undefined, MetricValue::Undefined(super::NO_PAIR)));
        // A window without a train score has no gap, but it is ranked.
        let with_undefined = [&CLEAR[..], &[[f64::NAN, 9.0, 9.0]]].concat();
        let found = monitor(&with_undefined);
        near(found.mean_gap, 1.5);
        assert_eq!((found.windows[5].gap(), found.windows[5].ratio()), (UNDEFINED, UNDEFINED));
        assert!(found.generalisation != monitor(&CLEAR).generalisation);
    }

    #[test]
    fn windows_that_share_test_days_count_as_fewer() {
        // Each day is in two test spans: ten windows count as five, nine as too few.
        let twice = [&CLEAR[..], &CLEAR[..]].concat();
        let found = overfitting(sharpes(&twice), 2.0);
        // Ten gaps, squares 2 × 5, ddof 1.
        near(found.gap_error, (10.0_f64 / 9.0 / 5.0).sqrt());
        assert_eq!(found.verdict, Verdict::Overfit);
        assert_eq!(overfitting(sharpes(&twice[..9]), 2.0).verdict, Verdict::Undefined);
    }

    #[test]
    fn equal_values_share_their_mean_rank() {
        assert_eq!(ranks(&[5.0, 2.0, 5.0, 7.0]), [5.0, 2.0, 5.0, 8.0]);
    }
}
