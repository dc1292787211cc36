//! Standardisation of inputs and labels with mean and standard deviation of the train span, fitted once per window.

use std::ops::Range;

use crate::panel::Panel;

/// Largest size of a z-score; half precision ends at 65504. A value beyond it is off the train span by a fault of the
/// data or by a change that no training could have shown.
pub(crate) const LARGEST_SCORE: f64 = 1e4;

/// When values count as constant: their deviation is then rounding, and dividing by it would make scores of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ZeroDispersion {
    /// Returns: none is further than this from the mean.
    Within(f64),
    /// Anything else: the deviation is at most 1e-10 of the largest value.
    Relative,
}

/// Turns values into z-scores: (value − mean) / deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ZScore {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    /// 1 / deviation. Every device multiplies, as only some divide fast.
    pub(crate) inverse: f64,
}

impl ZScore {
    /// Leaves values as they are.
    pub(crate) const IDENTITY: Self = Self { mean: 0.0, deviation: 1.0, inverse: 1.0 };

    /// Fits mean and standard deviation (divisor n) to the finite values. The deviation is 1 where they do not vary, or
    /// where there are none.
    pub(crate) fn fit(values: impl Iterator<Item = f64> + Clone, zero: ZeroDispersion) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let count = finite.clone().count().max(1) as f64;
        let first = finite.clone().sum::<f64>() / count;
        // The mean of what is left corrects the rounding of the first sum.
        let mean = first + finite.clone().map(|value| value - first).sum::<f64>() / count;
        let deviation = (finite.clone().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let largest = |size: &dyn Fn(f64) -> f64| finite.clone().map(size).fold(0.0, f64::max);
        let is_constant = match zero {
            ZeroDispersion::Within(limit) => largest(&|value| (value - mean).abs()) <= limit,
            ZeroDispersion::Relative => deviation <= 1e-10 * largest(&f64::abs),
        };
        let deviation = if is_constant || !deviation.is_finite() { 1.0 } else { deviation };
        Self { mean, deviation, inverse: 1.0 / deviation }
    }

    /// The z-score of a value, at most [`LARGEST_SCORE`] in size; 0, that of the mean, where the value is non-finite.
    pub(crate) fn standardise(&self, value: f64) -> f32 {
        let score = ((value - self.mean) * self.inverse).clamp(-LARGEST_SCORE, LARGEST_SCORE);
        if value.is_finite() { score as f32 } else { 0.0 }
    }
}

/// The z-scores of inputs and labels, fitted on the train span of one window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Normalizer {
    /// For returns.
    pub returns: ZScore,
    /// One per feature plane.
    pub features: Vec<ZScore>,
    /// For each computed input one per index of its last axis; empty where the input is not standardised.
    pub computed: Vec<Vec<ZScore>>,
    /// For labels.
    pub label: ZScore,
}

impl Normalizer {
    /// Fits returns and features to the rows `train`, members only. Computed inputs and labels are fitted later.
    pub(crate) fn fit_planes(panel: &Panel, train: &Range<usize>) -> Self {
        let columns = panel.assets().len();
        let features = panel
            .features()
            .iter()
            .map(|feature| {
                let values =
                    member_values(panel, train.clone(), move |row, column| feature.values[row * columns + column]);
                ZScore::fit(values, ZeroDispersion::Relative)
            })
            .collect();
        let returns = member_values(panel, train.clone(), move |row, column| panel.returns(row)[column]);
        Self {
            returns: ZScore::fit(returns, ZeroDispersion::Within(panel.constant_within())),
            features,
            computed: Vec::new(),
            label: ZScore::IDENTITY,
        }
    }
}

/// The values of a plane at the given rows, for the members of each row.
fn member_values<'a>(
    panel: &'a Panel,
    rows: Range<usize>,
    value: impl Fn(usize, usize) -> f64 + Clone + 'a,
) -> impl Iterator<Item = f64> + Clone + 'a {
    rows.flat_map(move |row| {
        let value = value.clone();
        panel.members(row).iter().enumerate().filter(|(_, member)| **member).map(move |(column, _)| value(row, column))
    })
}

#[cfg(test)]
mod tests {
    use super::{Normalizer, ZScore, ZeroDispersion};
    use crate::engine::gather::tests::panel;

    fn relative(values: &[f64]) -> ZScore {
        ZScore::fit(values.iter().copied(), ZeroDispersion::Relative)
    }

    #[test]
    fn z_scores_are_fitted_to_the_finite_values() {
        let z_score = relative(&[1.0, f64::NAN, 3.0, f64::INFINITY]);
        assert_eq!((z_score.mean, z_score.deviation), (2.0, 1.0));
        assert_eq!((z_score.standardise(4.0), z_score.standardise(f64::NAN)), (2.0, 0.0));
    }

    #[test]
    fn values_that_do_not_vary_are_only_centred() {
        let z_score = relative(&[5.0; 3]);
        assert_eq!((z_score.standardise(5.0), z_score.standardise(6.0)), (0.0, 1.0));
        assert_eq!(ZScore::fit(std::iter::empty(), ZeroDispersion::Within(1e-12)), ZScore::IDENTITY);
    }

    #[test]
    fn a_constant_that_binary_cannot_hold_is_constant() {
        // The sum of 15,640 times 0.1 is off, and so is a deviation about it: 2e-14, which is not dispersion.
        let z_score = relative(&vec![0.1; 15_640]);
        assert_eq!((z_score.deviation, z_score.standardise(0.1)), (1.0, 0.0));
        assert!((z_score.standardise(0.35) - 0.25).abs() < 1e-7);
        // A plane that does vary, however little, keeps its deviation.
        let small: Vec<f64> = (0..100).map(|index| 1.0 + 1e-9 * f64::from(index % 2)).collect();
        assert!((relative(&small).deviation - 5e-10).abs() < 1e-15);
        let single = ZScore::fit([0.01, 0.01 + 9e-7].into_iter(), ZeroDispersion::Within(5e-7));
        assert_eq!(single.deviation, 1.0);
        // Returns: 1e-12 is none, more is.
        let returns = |step: f64| ZScore::fit([0.01, 0.01 + step].into_iter(), ZeroDispersion::Within(1e-12)).deviation;
        assert_eq!(returns(1.9e-12), 1.0);
        assert!((returns(2.1e-12) - 1.05e-12).abs() < 1e-15);
    }

    #[test]
    fn scores_are_clamped_to_what_half_precision_holds() {
        let z_score = relative(&[-1e-6, 1e-6]);
        assert_eq!((z_score.standardise(1.0), z_score.standardise(-1e300)), (1e4, -1e4));
        assert_eq!(z_score.standardise(f64::INFINITY), 0.0);
    }

    #[test]
    fn planes_are_fitted_to_the_members_of_the_train_span() {
        let normalizer = Normalizer::fit_planes(&panel(), &(0..3));
        // 0.01, 0.03, −0.01 and 0.01: without the missing return, the non-member's and the last row's.
        assert!((normalizer.returns.mean - 0.01).abs() < 1e-15);
        assert!((normalizer.returns.deviation - (2.0_f64 * 0.02 * 0.02 / 4.0).sqrt()).abs() < 1e-15);
    }
}
