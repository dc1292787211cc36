//! Standardisation of inputs and labels with mean and standard deviation of the train span, fitted once per window.

use std::ops::Range;

use crate::panel::Panel;

/// Turns values into z-scores: (value − mean) / deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZScore {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

impl ZScore {
    /// Leaves values as they are.
    pub const IDENTITY: Self = Self { mean: 0.0, deviation: 1.0 };

    /// Fits mean and standard deviation (divisor n) to the finite values. The deviation is 1 where they do not vary, or
    /// where there are none.
    pub fn fit(values: impl Iterator<Item = f64> + Clone) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let count = finite.clone().count().max(1) as f64;
        let mean = finite.clone().sum::<f64>() / count;
        let deviation = (finite.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        Self { mean, deviation: if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 } }
    }

    /// The z-score of a value; 0, that of the mean, where it is non-finite.
    pub fn standardise(&self, value: f64) -> f32 {
        let score = ((value - self.mean) / self.deviation) as f32;
        if score.is_finite() { score } else { 0.0 }
    }
}

/// The z-scores of inputs and labels, fitted on the train span of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
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
    pub fn fit_planes(panel: &Panel, train: &Range<usize>) -> Self {
        let columns = panel.assets().len();
        let features = panel
            .features()
            .iter()
            .map(|feature| {
                ZScore::fit(member_values(panel, train.clone(), move |row, column| {
                    feature.values[row * columns + column]
                }))
            })
            .collect();
        Self {
            returns: ZScore::fit(member_values(panel, train.clone(), move |row, column| panel.returns(row)[column])),
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
    use super::{Normalizer, ZScore};
    use crate::network::inputs::tests::panel;

    #[test]
    fn z_scores_are_fitted_to_the_finite_values() {
        let z_score = ZScore::fit([1.0, f64::NAN, 3.0, f64::INFINITY].into_iter());
        assert_eq!((z_score.mean, z_score.deviation), (2.0, 1.0));
        assert_eq!((z_score.standardise(4.0), z_score.standardise(f64::NAN)), (2.0, 0.0));
    }

    #[test]
    fn values_that_do_not_vary_are_only_centred() {
        let z_score = ZScore::fit([5.0; 3].into_iter());
        assert_eq!((z_score.standardise(5.0), z_score.standardise(6.0)), (0.0, 1.0));
        assert_eq!(ZScore::fit(std::iter::empty()), ZScore::IDENTITY);
    }

    #[test]
    fn planes_are_fitted_to_the_members_of_the_train_span() {
        let normalizer = Normalizer::fit_planes(&panel(), &(0..3));
        // 0.01, 0.03, −0.01 and 0.01: without the missing return, the non-member's and the last row's.
        assert!((normalizer.returns.mean - 0.01).abs() < 1e-15);
        assert!((normalizer.returns.deviation - (2.0_f64 * 0.02 * 0.02 / 4.0).sqrt()).abs() < 1e-15);
    }
}
