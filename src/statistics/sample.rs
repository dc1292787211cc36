//! A sample: returns turned into one row an asset, with what is missing known.

use super::kernel::Rows;
use super::{Coefficient, kendall, moments, ranks};
use crate::error::{Result, fail};

/// What to do about missing returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Use the rows in which every asset has a return.
    Complete,
    /// Use, for every pair of assets, the rows in which both have one.
    Pairwise,
}

/// Returns by asset. A sample without missing returns has the same results either way, to the bit.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `[assets, rows]`; 0 where missing.
    pub(super) values: Rows,
    /// 1 where there is a return and 0 elsewhere, `[assets, rows]`; none where all are there.
    pub(super) observed: Option<Rows>,
}

impl Sample {
    /// Takes returns `[rows, assets]`, row-major; a return that is not finite is missing.
    ///
    /// # Errors
    /// `InvalidArgument` where `assets` is 0 or does not divide the length; `InvalidData` where fewer than two rows can
    /// be used.
    pub fn new(returns: &[f64], assets: usize, missing: Missing) -> Result<Self> {
        if assets == 0 || !returns.len().is_multiple_of(assets) {
            fail!(InvalidArgument, "{} returns are not rows of {assets} assets", returns.len());
        }
        let rows = returns.chunks_exact(assets);
        let given = rows.len();
        let complete = |row: &[f64]| row.iter().all(|value| value.is_finite());
        let kept: Vec<&[f64]> = match missing {
            Missing::Complete => rows.filter(|row| complete(row)).collect(),
            Missing::Pairwise => rows.collect(),
        };
        if kept.len() < 2 {
            fail!(
                InvalidData,
                "{} of {given} rows have a return for each of {assets} assets; at least 2 are needed",
                kept.len()
            );
        }
        let mut values = Rows::transposed(&kept, assets);
        let mut observed = None;
        if missing == Missing::Pairwise && !kept.iter().all(|row| complete(row)) {
            let mut mask = Rows::zeros(assets, kept.len());
            for asset in 0..assets {
                for (value, there) in values.row_mut(asset).iter_mut().zip(mask.row_mut(asset)) {
                    if value.is_finite() {
                        *there = 1.0;
                    } else {
                        *value = 0.0;
                    }
                }
            }
            observed = Some(mask);
        }
        Ok(Self { values, observed })
    }

    /// Number of assets.
    pub fn assets(&self) -> usize {
        self.values.count()
    }

    /// Number of rows that are used, of any pair at most.
    pub fn rows(&self) -> usize {
        self.values.length()
    }

    /// Sample covariance, divisor rows − 1. A pair's covariance is about its means over the rows it has in common, as in
    /// pandas. NaN where a pair has fewer than two such rows; exactly 0 for an asset of one repeated return.
    pub fn covariance(self) -> Vec<f64> {
        let mut out = vec![0.0; self.assets() * self.assets()];
        moments::covariance(self, &mut out);
        out
    }

    /// [`Self::covariance`] into memory that is there already, `[assets, assets]`.
    ///
    /// # Errors
    /// `InvalidArgument` where `out` is of another length.
    pub fn covariance_into(self, out: &mut [f64]) -> Result<()> {
        self.fits(out)?;
        moments::covariance(self, out);
        Ok(())
    }

    /// The covariance of divisor rows (not rows − 1), shrunk towards the identity times its mean variance (Ledoit and
    /// Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices", section 3, whose m, d² and
    /// b̄² these are), and the weight of the latter, b²/d² with b² = min(b̄², d²), from 0 to 1. The mean is removed and
    /// not counted as a parameter. This is the estimator of scikit-learn's `ledoit_wolf`, which PyPortfolioOpt and
    /// skfolio use.
    ///
    /// # Errors
    /// `InvalidData` where returns are missing: the estimator needs every row of every asset.
    pub fn ledoit_wolf(self) -> Result<(Vec<f64>, f64)> {
        let mut out = vec![0.0; self.assets() * self.assets()];
        let weight = self.ledoit_wolf_into(&mut out)?;
        Ok((out, weight))
    }

    /// [`Self::ledoit_wolf`] into memory that is there already, `[assets, assets]`; gives the weight.
    ///
    /// # Errors
    /// As there, and `InvalidArgument` where `out` is of another length; `out` is untouched then.
    pub fn ledoit_wolf_into(self, out: &mut [f64]) -> Result<f64> {
        self.fits(out)?;
        self.has_complete_rows()?;
        Ok(moments::ledoit_wolf(self.values, out))
    }

    /// Refuses a sample in which a return is missing.
    ///
    /// # Errors
    /// `InvalidData`.
    pub fn has_complete_rows(&self) -> Result<()> {
        if self.observed.is_some() {
            fail!(InvalidData, "Ledoit-Wolf shrinkage needs complete rows, and returns are missing");
        }
        Ok(())
    }

    fn fits(&self, out: &[f64]) -> Result<()> {
        let needed = self.assets() * self.assets();
        if out.len() != needed {
            fail!(InvalidArgument, "the output has room for {} numbers; {needed} are needed", out.len());
        }
        Ok(())
    }

    /// Correlation, from −1 to 1, with a diagonal of 1. NaN for a pair with fewer than two rows in common, or with a
    /// side that does not vary over them. Pairwise ranks are taken over the rows that the pair has in common, as in
    /// pandas.
    pub fn correlation(self, coefficient: Coefficient) -> Vec<f64> {
        match coefficient {
            Coefficient::Pearson => moments::pearson(self),
            Coefficient::Spearman => ranks::spearman(&self),
            Coefficient::Kendall => kendall::correlation(&self),
        }
    }

    /// Whether asset `asset` has a return in row `row`.
    pub(super) fn is_observed(&self, asset: usize, row: usize) -> bool {
        self.observed.as_ref().is_none_or(|mask| mask.row(asset)[row] != 0.0)
    }
}

/// Fills the upper triangle of a correlation matrix by pairs, the lower one by symmetry, and the diagonal with 1.
pub(super) fn by_pairs(assets: usize, mut pair: impl FnMut(usize, usize) -> f64) -> Vec<f64> {
    let mut out = vec![1.0; assets * assets];
    for i in 0..assets {
        for j in i + 1..assets {
            let value = pair(i, j).clamp(-1.0, 1.0);
            out[i * assets + j] = value;
            out[j * assets + i] = value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Missing, Sample};
    use crate::error::Code;
    use crate::statistics::Coefficient;

    const NAN: f64 = f64::NAN;

    #[test]
    fn covariance_of_complete_rows_by_hand() {
        let returns = [1.0, 2.0, NAN, 9.0, 3.0, 6.0, 2.0, 1.0];
        let sample = Sample::new(&returns, 2, Missing::Complete).unwrap();
        assert_eq!((sample.assets(), sample.rows()), (2, 3));
        assert_eq!(sample.covariance(), [1.0, 2.0, 2.0, 7.0]);
    }

    #[test]
    fn pairwise_covariance_uses_what_each_pair_has() {
        // Asset 0 alone: 1, 3, 2, 6. Asset 1 alone: 2, 9, 6, 1. In common: (1, 2), (3, 6), (2, 1).
        let returns = [1.0, 2.0, NAN, 9.0, 3.0, 6.0, 2.0, 1.0, 6.0, NAN];
        let out = Sample::new(&returns, 2, Missing::Pairwise).unwrap().covariance();
        let expected = [14.0 / 3.0, 2.0, 2.0, 41.0 / 3.0];
        assert!(out.iter().zip(expected).all(|(ours, hand)| (ours - hand).abs() < 1e-14), "{out:?}");
    }

    #[test]
    fn a_sample_without_gaps_is_the_same_either_way() {
        let returns: Vec<f64> = (0..60).map(|k| f64::from((k * 37) % 23) / 23.0).collect();
        for coefficient in [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall] {
            let [complete, pairwise] = [Missing::Complete, Missing::Pairwise]
                .map(|missing| Sample::new(&returns, 5, missing).unwrap().correlation(coefficient));
            assert_eq!(complete, pairwise);
        }
    }

    #[test]
    fn what_does_not_vary_has_variance_zero_and_no_correlation() {
        // 0.1 + 0.1 + 0.1 is not 0.3, so a mean by summing would leave a residue.
        let returns = [1.0, 0.1, 2.0, 0.1, 4.0, 0.1];
        let sample = Sample::new(&returns, 2, Missing::Complete).unwrap();
        let out = sample.clone().covariance();
        assert_eq!((out[1], out[2], out[3]), (0.0, 0.0, 0.0));
        for coefficient in [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall] {
            assert!(sample.clone().correlation(coefficient)[1].is_nan(), "{coefficient:?}");
        }
    }

    #[test]
    fn a_pair_that_never_meets_has_no_value() {
        let returns = [1.0, NAN, 2.0, NAN, 5.0, 3.0, NAN, 4.0, NAN, 6.0];
        let sample = Sample::new(&returns, 2, Missing::Pairwise).unwrap();
        let out = sample.clone().covariance();
        assert!(out[1].is_nan() && out[0] > 0.0 && out[3] > 0.0);
        for coefficient in [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall] {
            assert!(sample.clone().correlation(coefficient)[1].is_nan(), "{coefficient:?}");
        }
    }

    #[test]
    fn bad_shapes_and_short_samples_are_told() {
        assert_eq!(Sample::new(&[1.0, 2.0, 3.0], 2, Missing::Complete).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(Sample::new(&[], 0, Missing::Complete).unwrap_err().code(), Code::InvalidArgument);
        let error = Sample::new(&[1.0, NAN, 2.0, 3.0], 2, Missing::Complete).unwrap_err();
        assert_eq!(error.to_string(), "1 of 2 rows have a return for each of 2 assets; at least 2 are needed");
        let gap = Sample::new(&[1.0, NAN, 2.0, 3.0], 2, Missing::Pairwise).unwrap();
        assert_eq!(gap.ledoit_wolf().unwrap_err().code(), Code::InvalidData);
    }

    #[test]
    fn shrinkage_of_two_uncorrelated_assets_by_hand() {
        // Columns (1, 1, -1, -1) and (2, -2, 2, -2): S = diag(1, 4), m = 2.5, d2 = 2.25; every row has x0^2 = 1 and
        // x1^2 = 4, so b2 = ((1 + 4)^2 * 4 / 4 - (1 + 16)) / (2 * 4) = 1, and the shrinkage is 1 / 2.25.
        let returns = [1.0, 2.0, 1.0, -2.0, -1.0, 2.0, -1.0, -2.0];
        let (out, weight) = Sample::new(&returns, 2, Missing::Complete).unwrap().ledoit_wolf().unwrap();
        assert!((weight - 1.0 / 2.25).abs() < 1e-15, "{weight}");
        let expected = [1.0 + 1.5 * weight, 0.0, 0.0, 4.0 - 1.5 * weight];
        assert!(out.iter().zip(expected).all(|(ours, hand)| (ours - hand).abs() < 1e-15), "{out:?}");
    }
}
