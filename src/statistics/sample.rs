//! A sample: returns transposed to one row per asset, with a mask of the missing ones.

use super::kernel::Rows;
use super::{Coefficient, kendall, moments, ranks};
use crate::error::{Result, fail};

/// How to handle missing returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Use the rows in which every asset has a return.
    Complete,
    /// For each pair of assets, use the rows in which both have a return.
    Pairwise,
}

/// Returns by asset. Without missing returns, both variants of [`Missing`] give the same bits.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `[assets, rows]`; 0 where missing.
    pub(super) values: Rows,
    /// 1 where there is a return, else 0, `[assets, rows]`; `None` if no return is missing.
    pub(super) observed: Option<Rows>,
}

impl Sample {
    /// Creates a sample from returns, `[rows, assets]`, row-major. A non-finite return is missing.
    ///
    /// # Errors
    /// `InvalidArgument` if `assets` is 0 or does not divide the length; `InvalidData` if fewer than two rows can be
    /// used.
    pub fn new(returns: &[f64], assets: usize, missing: Missing) -> Result<Self> {
        if assets == 0 || !returns.len().is_multiple_of(assets) {
            fail!(InvalidArgument, "{} returns are not rows of {assets} assets", returns.len());
        }
        let rows = returns.chunks_exact(assets);
        let total = rows.len();
        let complete = |row: &[f64]| row.iter().all(|value| value.is_finite());
        let kept: Vec<&[f64]> = match missing {
            Missing::Complete => rows.filter(|row| complete(row)).collect(),
            Missing::Pairwise => rows.collect(),
        };
        if kept.len() < 2 {
            fail!(
                InvalidData,
                "{} of {total} rows have a return for each of {assets} assets; at least 2 are needed",
                kept.len()
            );
        }
        let mut values = Rows::transposed(&kept, assets);
        let mut observed = None;
        if missing == Missing::Pairwise && !kept.iter().all(|row| complete(row)) {
            let mut mask = Rows::zeros(assets, kept.len());
            for asset in 0..assets {
                for (value, mask) in values.row_mut(asset).iter_mut().zip(mask.row_mut(asset)) {
                    if value.is_finite() {
                        *mask = 1.0;
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

    /// Number of rows; a pair of assets uses at most as many.
    pub fn rows(&self) -> usize {
        self.values.length()
    }

    /// Sample covariance with divisor rows − 1, `[assets, assets]`. The covariance of a pair uses its means over the
    /// rows that both have, as in pandas. It is NaN if a pair has fewer than two such rows, and exactly 0 for an asset
    /// whose returns are all equal.
    pub fn covariance(self) -> Vec<f64> {
        let mut out = vec![0.0; self.assets() * self.assets()];
        moments::covariance(self, &mut out);
        out
    }

    /// Writes [`Self::covariance`] into `out`, `[assets, assets]`.
    ///
    /// # Errors
    /// `InvalidArgument` if `out` has another length.
    pub fn covariance_into(self, out: &mut [f64]) -> Result<()> {
        self.check_length(out)?;
        moments::covariance(self, out);
        Ok(())
    }

    /// The Ledoit–Wolf estimate, `[assets, assets]`, and its shrinkage weight from 0 to 1. The covariance with divisor
    /// rows (not rows − 1) is shrunk toward the identity times the mean variance, with weight b²/d² where b² = min(b̄²,
    /// d²) (Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices", section 3,
    /// whose m, d² and b̄² are used). The subtracted mean is not counted as a parameter. This is scikit-learn's
    /// `ledoit_wolf`, which PyPortfolioOpt and skfolio use.
    ///
    /// # Errors
    /// `InvalidData` if a return is missing, as the estimator needs complete rows.
    pub fn ledoit_wolf(self) -> Result<(Vec<f64>, f64)> {
        let mut out = vec![0.0; self.assets() * self.assets()];
        let weight = self.ledoit_wolf_into(&mut out)?;
        Ok((out, weight))
    }

    /// Writes the matrix of [`Self::ledoit_wolf`] into `out`, `[assets, assets]`, and returns the weight. On failure
    /// `out` is unchanged.
    ///
    /// # Errors
    /// As [`Self::ledoit_wolf`], and `InvalidArgument` if `out` has another length.
    pub fn ledoit_wolf_into(self, out: &mut [f64]) -> Result<f64> {
        self.check_length(out)?;
        self.has_complete_rows()?;
        Ok(moments::ledoit_wolf(self.values, out))
    }

    /// Checks that no return is missing, as [`Self::ledoit_wolf`] requires.
    ///
    /// # Errors
    /// `InvalidData` if one is.
    pub fn has_complete_rows(&self) -> Result<()> {
        if self.observed.is_some() {
            fail!(InvalidData, "Ledoit-Wolf shrinkage needs complete rows, and returns are missing");
        }
        Ok(())
    }

    fn check_length(&self, out: &[f64]) -> Result<()> {
        let expected = self.assets() * self.assets();
        if out.len() != expected {
            fail!(InvalidArgument, "the output has {} elements; {expected} are needed", out.len());
        }
        Ok(())
    }

    /// Correlation from −1 to 1, `[assets, assets]`, with a diagonal of 1. It is NaN for a pair with fewer than two
    /// rows in common, or with an asset that does not vary over them. Ranks of a pair are over the rows in common, as
    /// in pandas.
    pub fn correlation(self, coefficient: Coefficient) -> Vec<f64> {
        match coefficient {
            Coefficient::Pearson => moments::pearson(self),
            Coefficient::Spearman => ranks::spearman(&self),
            Coefficient::Kendall => kendall::correlation(&self),
        }
    }

    /// Whether the asset has a return in the row.
    pub(super) fn is_observed(&self, asset: usize, row: usize) -> bool {
        self.observed.as_ref().is_none_or(|mask| mask.row(asset)[row] != 0.0)
    }
}

/// Builds a correlation matrix from the value of each pair, clamped to [−1, 1], with a diagonal of 1.
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
    fn covariance_of_complete_rows_matches_a_hand_calculation() {
        let returns = [1.0, 2.0, NAN, 9.0, 3.0, 6.0, 2.0, 1.0];
        let sample = Sample::new(&returns, 2, Missing::Complete).unwrap();
        assert_eq!((sample.assets(), sample.rows()), (2, 3));
        assert_eq!(sample.covariance(), [1.0, 2.0, 2.0, 7.0]);
    }

    #[test]
    fn pairwise_covariance_uses_the_common_rows_of_each_pair() {
        // Asset 0 has 1, 3, 2, 6; asset 1 has 2, 9, 6, 1; in common they have (1, 2), (3, 6), (2, 1).
        let returns = [1.0, 2.0, NAN, 9.0, 3.0, 6.0, 2.0, 1.0, 6.0, NAN];
        let out = Sample::new(&returns, 2, Missing::Pairwise).unwrap().covariance();
        let expected = [14.0 / 3.0, 2.0, 2.0, 41.0 / 3.0];
        assert!(out.iter().zip(expected).all(|(ours, hand)| (ours - hand).abs() < 1e-14), "{out:?}");
    }

    #[test]
    fn without_missing_returns_complete_and_pairwise_are_equal() {
        let returns: Vec<f64> = (0..60).map(|k| f64::from((k * 37) % 23) / 23.0).collect();
        for coefficient in [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall] {
            let [complete, pairwise] = [Missing::Complete, Missing::Pairwise]
                .map(|missing| Sample::new(&returns, 5, missing).unwrap().correlation(coefficient));
            assert_eq!(complete, pairwise);
        }
    }

    #[test]
    fn an_asset_that_does_not_vary_has_variance_zero_and_no_correlation() {
        // 0.1 + 0.1 + 0.1 is not 0.3, so a summed mean would leave a residue.
        let returns = [1.0, 0.1, 2.0, 0.1, 4.0, 0.1];
        let sample = Sample::new(&returns, 2, Missing::Complete).unwrap();
        let out = sample.clone().covariance();
        assert_eq!((out[1], out[2], out[3]), (0.0, 0.0, 0.0));
        for coefficient in [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall] {
            assert!(sample.clone().correlation(coefficient)[1].is_nan(), "{coefficient:?}");
        }
    }

    #[test]
    fn a_pair_without_common_rows_is_nan() {
        let returns = [1.0, NAN, 2.0, NAN, 5.0, 3.0, NAN, 4.0, NAN, 6.0];
        let sample = Sample::new(&returns, 2, Missing::Pairwise).unwrap();
        let out = sample.clone().covariance();
        assert!(out[1].is_nan() && out[0] > 0.0 && out[3] > 0.0);
        for coefficient in [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall] {
            assert!(sample.clone().correlation(coefficient)[1].is_nan(), "{coefficient:?}");
        }
    }

    #[test]
    fn invalid_shapes_and_short_samples_are_refused() {
        assert_eq!(Sample::new(&[1.0, 2.0, 3.0], 2, Missing::Complete).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(Sample::new(&[], 0, Missing::Complete).unwrap_err().code(), Code::InvalidArgument);
        let error = Sample::new(&[1.0, NAN, 2.0, 3.0], 2, Missing::Complete).unwrap_err();
        assert_eq!(error.to_string(), "1 of 2 rows have a return for each of 2 assets; at least 2 are needed");
        let gap = Sample::new(&[1.0, NAN, 2.0, 3.0], 2, Missing::Pairwise).unwrap();
        assert_eq!(gap.ledoit_wolf().unwrap_err().code(), Code::InvalidData);
    }

    #[test]
    fn shrinkage_of_two_uncorrelated_assets_matches_a_hand_calculation() {
        // Columns (1, 1, -1, -1) and (2, -2, 2, -2): S = diag(1, 4), m = 2.5, d2 = 2.25; every row has x0^2 = 1 and
        // x1^2 = 4, so b2 = ((1 + 4)^2 * 4 / 4 - (1 + 16)) / (2 * 4) = 1, and the shrinkage is 1 / 2.25.
        let returns = [1.0, 2.0, 1.0, -2.0, -1.0, 2.0, -1.0, -2.0];
        let (out, weight) = Sample::new(&returns, 2, Missing::Complete).unwrap().ledoit_wolf().unwrap();
        assert!((weight - 1.0 / 2.25).abs() < 1e-15, "{weight}");
        let expected = [1.0 + 1.5 * weight, 0.0, 0.0, 4.0 - 1.5 * weight];
        assert!(out.iter().zip(expected).all(|(ours, hand)| (ours - hand).abs() < 1e-15), "{out:?}");
    }
}
