//! The risk of an asset and of a cluster under each measure.

use walkforge_plugin::Error;

/// The share of rows in the tail of [`Measure::Cvar`].
const TAIL: f64 = 0.05;

/// A risk measure. w are weights, Σ the covariance, r the returns of T rows, m their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// w'Σw.
    Variance,
    /// √(w'Σw).
    Std,
    /// Σ|r − m|/T.
    Mad,
    /// √(Σ min(r − m, 0)²/(T − 1)).
    SemiStd,
    /// Conditional value at risk at 95 %: the mean loss over the worst 5 % of rows. The k-th worst row, k = ⌈0.05·T⌉,
    /// counts with the remaining fraction of 5 % (Rockafellar and Uryasev 2002, "Conditional value-at-risk for general
    /// loss distributions", Proposition 8).
    Cvar,
}

impl Measure {
    /// The name of the measure in the setting `risk`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Variance => "variance",
            Self::Std => "std",
            Self::Mad => "mad",
            Self::SemiStd => "semi_std",
            Self::Cvar => "cvar",
        }
    }

    /// Whether the measure depends on the covariance alone.
    pub(crate) fn uses_covariance(self) -> bool {
        matches!(self, Self::Variance | Self::Std)
    }

    /// Computes the risk of a series of returns, `[rows]`, which it may reorder.
    fn of_returns(self, returns: &mut [f64]) -> f64 {
        let count = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / count;
        match self {
            Self::Mad => returns.iter().map(|value| (value - mean).abs()).sum::<f64>() / count,
            Self::SemiStd => {
                let below = returns.iter().map(|value| (value - mean).min(0.0)).map(|value| value * value);
                (below.sum::<f64>() / (count - 1.0)).sqrt()
            }
            Self::Cvar => {
                let tail = TAIL * count;
                let last = (tail.ceil() as usize).clamp(1, returns.len()) - 1;
                let (worse, &mut quantile, _) = returns.select_nth_unstable_by(last, f64::total_cmp);
                // Sorted, so that the sum does not depend on the order in which the selection leaves them.
                worse.sort_unstable_by(f64::total_cmp);
                -quantile - worse.iter().map(|value| value - quantile).sum::<f64>() / tail
            }
            // For one series w'Σw is the variance.
            Self::Variance | Self::Std => {
                let variance = returns.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0);
                if self == Self::Std { variance.sqrt() } else { variance }
            }
        }
    }
}

/// A measure and the data it is computed from.
pub(crate) struct Risk<'a> {
    /// The measure.
    pub measure: Measure,
    /// Covariance, `[assets, assets]`.
    pub covariance: &'a [f64],
    /// Returns without missing values, `[rows, assets]`; empty if the measure uses the covariance.
    pub returns: &'a [f64],
    /// Asset names, `[assets]`.
    pub names: &'a [&'a str],
}

impl Risk<'_> {
    /// Computes the inverse risk of each asset, `[assets]`.
    ///
    /// # Errors
    /// If the risk of an asset is not positive and finite. The message names the asset.
    pub(crate) fn inverses(&self) -> Result<Vec<f64>, Error> {
        let assets = self.names.len();
        let mut series = Vec::new();
        let mut out = Vec::with_capacity(assets);
        for (asset, name) in self.names.iter().enumerate() {
            let variance = self.covariance[asset * assets + asset];
            let risk = match self.measure {
                Measure::Variance => variance,
                Measure::Std => variance.sqrt(),
                measure => {
                    series.clear();
                    series.extend(self.returns.iter().skip(asset).step_by(assets));
                    measure.of_returns(&mut series)
                }
            };
            if !(risk > 0.0 && risk.is_finite()) {
                return Err(Error::data(format!(
                    "the {} of {name} is {risk}; inverse risk weights need one above 0",
                    self.measure.name()
                )));
            }
            out.push(1.0 / risk);
        }
        Ok(out)
    }

    /// Computes the risk of a cluster under inverse-risk weights.
    ///
    /// # Errors
    /// If it is negative or non-finite. The message has the size of the cluster and the name of its first asset.
    pub(crate) fn cluster(&self, cluster: &[usize], inverses: &[f64]) -> Result<f64, Error> {
        let assets = self.names.len();
        let total: f64 = cluster.iter().map(|&asset| inverses[asset]).sum();
        let risk = if self.measure.uses_covariance() {
            let mut sum = 0.0;
            for (index, &i) in cluster.iter().enumerate() {
                let row = &self.covariance[i * assets..][..assets];
                let earlier: f64 = cluster[..index].iter().map(|&j| row[j] * inverses[j]).sum();
                sum += inverses[i] * (row[i] * inverses[i] + 2.0 * earlier);
            }
            // Rounding can make the variance of a perfect hedge negative.
            let variance = (sum / (total * total)).max(0.0);
            if self.measure == Measure::Std { variance.sqrt() } else { variance }
        } else {
            let mut series: Vec<f64> = self
                .returns
                .chunks_exact(assets)
                .map(|row| cluster.iter().map(|&asset| row[asset] * (inverses[asset] / total)).sum())
                .collect();
            self.measure.of_returns(&mut series)
        };
        if risk >= 0.0 && risk.is_finite() {
            return Ok(risk);
        }
        Err(Error::data(format!(
            "the {} of a cluster of {} assets from {} on is {risk}; it must be finite and at least 0",
            self.measure.name(),
            cluster.len(),
            self.names[cluster[0]]
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::{Measure, Risk};

    #[test]
    fn each_measure_matches_a_hand_computation() {
        let returns = [-4.0, -1.0, 0.0, 1.0, 4.0];
        let risk = |measure: Measure| measure.of_returns(&mut returns.clone());
        assert_eq!((risk(Measure::Mad), risk(Measure::Variance)), (2.0, 8.5));
        assert_eq!((risk(Measure::Std), risk(Measure::SemiStd)), (8.5_f64.sqrt(), (17.0_f64 / 4.0).sqrt()));
        // 5 % of five rows is a quarter of the worst one.
        assert_eq!(risk(Measure::Cvar), 4.0);
        // 5 % of thirty rows is the worst one and half of the next: (29 + 28/2)/1.5.
        let mut many: Vec<f64> = (0..30).map(|k| -f64::from(k)).collect();
        assert!((Measure::Cvar.of_returns(&mut many) - 43.0 / 1.5).abs() < 1e-13);
    }

    #[test]
    fn cluster_risk_is_that_of_the_inverse_risk_portfolio() {
        // Over three rows these returns have variances 1 and 4 and covariance 1.
        let returns = [1.0, 0.0, -1.0, -2.0, 0.0, 2.0];
        let covariance = [1.0, 1.0, 1.0, 4.0];
        let names = ["A", "B"];
        for (measure, weights) in [(Measure::Variance, [0.8, 0.2]), (Measure::Std, [2.0 / 3.0, 1.0 / 3.0])] {
            let risk = Risk { measure, covariance: &covariance, returns: &returns, names: &names };
            let inverses = risk.inverses().unwrap();
            let mut rows: Vec<f64> =
                returns.chunks_exact(2).map(|row| row[0] * weights[0] + row[1] * weights[1]).collect();
            let found = risk.cluster(&[1, 0], &inverses).unwrap();
            assert!((found - measure.of_returns(&mut rows)).abs() < 1e-15, "{measure:?}");
        }
    }

    #[test]
    fn an_asset_whose_risk_is_not_positive_is_named() {
        let returns: Vec<f64> = (0..40).flat_map(|k| [f64::from(k % 7) - 3.0, 1.0 + f64::from(k)]).collect();
        let risk = Risk { measure: Measure::Cvar, covariance: &[1.0; 4], returns: &returns, names: &["DOWN", "UP"] };
        let message = risk.inverses().unwrap_err().message;
        assert_eq!(message, "the cvar of UP is -1.5; inverse risk weights need one above 0");
    }
}
