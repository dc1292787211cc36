//! Risk of an asset and of a cluster, by measure.

use walkforge_plugin::Error;

/// Share of the worst rows that [`Measure::Cvar`] is the mean of.
const TAIL: f64 = 0.05;

/// A measure of risk. r are the rows, m their mean, T their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// w'Σw.
    Variance,
    /// √(w'Σw).
    Std,
    /// Σ|r − m|/T.
    Mad,
    /// √(Σ min(r − m, 0)²/(T − 1)).
    SemiStd,
    /// The mean of the worst 5 % of rows, as a loss: the k-th worst row, k = ⌈0.05·T⌉, counts with what is left of 5 %
    /// (Rockafellar and Uryasev 2002, "Conditional value-at-risk for general loss distributions", Proposition 8).
    Cvar,
}

impl Measure {
    /// The word of the setting.
    pub fn word(self) -> &'static str {
        match self {
            Self::Variance => "variance",
            Self::Std => "std",
            Self::Mad => "mad",
            Self::SemiStd => "semi_std",
            Self::Cvar => "cvar",
        }
    }

    /// Whether it is a function of the covariance alone.
    pub fn is_of_covariance(self) -> bool {
        matches!(self, Self::Variance | Self::Std)
    }

    /// The risk of rows of returns, `[rows]`, which it may reorder.
    fn of_rows(self, rows: &mut [f64]) -> f64 {
        let count = rows.len() as f64;
        let mean = rows.iter().sum::<f64>() / count;
        match self {
            Self::Mad => rows.iter().map(|value| (value - mean).abs()).sum::<f64>() / count,
            Self::SemiStd => {
                let below = rows.iter().map(|value| (value - mean).min(0.0)).map(|value| value * value);
                (below.sum::<f64>() / (count - 1.0)).sqrt()
            }
            Self::Cvar => {
                let tail = TAIL * count;
                let worst = (tail.ceil() as usize).clamp(1, rows.len()) - 1;
                let (below, &mut at, _) = rows.select_nth_unstable_by(worst, f64::total_cmp);
                // Sorted, so that the sum does not depend on how the selection works.
                below.sort_unstable_by(f64::total_cmp);
                -at - below.iter().map(|value| value - at).sum::<f64>() / tail
            }
            // Of one series w'Σw is its variance.
            Self::Variance | Self::Std => {
                let variance = rows.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0);
                if self == Self::Std { variance.sqrt() } else { variance }
            }
        }
    }
}

/// What risks are taken from.
pub struct Risk<'a> {
    /// The measure.
    pub measure: Measure,
    /// `[assets, assets]`.
    pub covariance: &'a [f64],
    /// Returns, `[rows, assets]`, complete; empty where the measure is of the covariance.
    pub returns: &'a [f64],
    /// The assets' names.
    pub names: &'a [&'a str],
}

impl Risk<'_> {
    /// The inverse of every asset's risk, `[assets]`.
    ///
    /// # Errors
    /// Where a risk is not positive, so that it has no inverse to weigh by: the name of the asset.
    pub fn inverses(&self) -> Result<Vec<f64>, Error> {
        let assets = self.names.len();
        let mut rows = Vec::new();
        let mut out = Vec::with_capacity(assets);
        for (asset, name) in self.names.iter().enumerate() {
            let variance = self.covariance[asset * assets + asset];
            let risk = match self.measure {
                Measure::Variance => variance,
                Measure::Std => variance.sqrt(),
                measure => {
                    rows.clear();
                    rows.extend(self.returns.iter().skip(asset).step_by(assets));
                    measure.of_rows(&mut rows)
                }
            };
            if !(risk > 0.0 && risk.is_finite()) {
                return Err(Error::data(format!(
                    "the {} of {name} is {risk}; weights by inverse risk need one above 0",
                    self.measure.word()
                )));
            }
            out.push(1.0 / risk);
        }
        Ok(out)
    }

    /// The risk of a cluster held by inverse risk.
    ///
    /// # Errors
    /// Where it is negative or not finite: how many assets the cluster has and the name of its first.
    pub fn of_cluster(&self, cluster: &[usize], inverses: &[f64]) -> Result<f64, Error> {
        let assets = self.names.len();
        let total: f64 = cluster.iter().map(|&asset| inverses[asset]).sum();
        let risk = if self.measure.is_of_covariance() {
            let mut sum = 0.0;
            for (place, &i) in cluster.iter().enumerate() {
                let row = &self.covariance[i * assets..][..assets];
                let beside: f64 = cluster[..place].iter().map(|&j| row[j] * inverses[j]).sum();
                sum += inverses[i] * (row[i] * inverses[i] + 2.0 * beside);
            }
            // Positive semi-definite up to rounding: of a perfect hedge nothing is left.
            let variance = (sum / (total * total)).max(0.0);
            if self.measure == Measure::Std { variance.sqrt() } else { variance }
        } else {
            let mut rows: Vec<f64> = self
                .returns
                .chunks_exact(assets)
                .map(|row| cluster.iter().map(|&asset| row[asset] * (inverses[asset] / total)).sum())
                .collect();
            self.measure.of_rows(&mut rows)
        };
        if risk >= 0.0 && risk.is_finite() {
            return Ok(risk);
        }
        Err(Error::data(format!(
            "the {} of a cluster of {} assets from {} on is {risk}; weights by inverse risk need one above 0",
            self.measure.word(),
            cluster.len(),
            self.names[cluster[0]]
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::{Measure, Risk};

    #[test]
    fn measures_by_hand() {
        let rows = [-4.0, -1.0, 0.0, 1.0, 4.0];
        let of = |measure: Measure| measure.of_rows(&mut rows.clone());
        assert_eq!((of(Measure::Mad), of(Measure::Variance)), (2.0, 8.5));
        assert_eq!((of(Measure::Std), of(Measure::SemiStd)), (8.5_f64.sqrt(), (17.0_f64 / 4.0).sqrt()));
        // 5 % of five rows is a quarter of the worst one.
        assert_eq!(of(Measure::Cvar), 4.0);
        // 5 % of thirty rows is the worst one and half of the next: (29 + 28/2)/1.5.
        let mut many: Vec<f64> = (0..30).map(|k| -f64::from(k)).collect();
        assert!((Measure::Cvar.of_rows(&mut many) - 43.0 / 1.5).abs() < 1e-13);
    }

    #[test]
    fn a_cluster_is_held_by_inverse_risk_under_either_kind_of_measure() {
        // Returns of variance 1 and 4 and covariance 1 over three rows.
        let returns = [1.0, 0.0, -1.0, -2.0, 0.0, 2.0];
        let covariance = [1.0, 1.0, 1.0, 4.0];
        let names = ["A", "B"];
        for (measure, weights) in [(Measure::Variance, [0.8, 0.2]), (Measure::Std, [2.0 / 3.0, 1.0 / 3.0])] {
            let risk = Risk { measure, covariance: &covariance, returns: &returns, names: &names };
            let inverses = risk.inverses().unwrap();
            let mut rows: Vec<f64> =
                returns.chunks_exact(2).map(|row| row[0] * weights[0] + row[1] * weights[1]).collect();
            let ours = risk.of_cluster(&[1, 0], &inverses).unwrap();
            assert!((ours - measure.of_rows(&mut rows)).abs() < 1e-15, "{measure:?}");
        }
    }

    #[test]
    fn an_asset_without_risk_is_named() {
        let returns: Vec<f64> = (0..40).flat_map(|k| [f64::from(k % 7) - 3.0, 1.0 + f64::from(k)]).collect();
        let risk = Risk { measure: Measure::Cvar, covariance: &[1.0; 4], returns: &returns, names: &["DOWN", "UP"] };
        let message = risk.inverses().unwrap_err().message;
        assert_eq!(message, "the cvar of UP is -1.5; weights by inverse risk need one above 0");
    }
}
