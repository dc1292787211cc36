//! Hierarchical risk parity (López de Prado 2016, "Building Diversified Portfolios that Outperform Out of Sample",
//! Journal of Portfolio Management 42(4)): tree clustering, quasi-diagonalisation and recursive bisection.
//!
//! From the returns of the lookback the model computes the correlation ρ and the distance d = √((1 − ρ)/2), clusters
//! the assets, orders them as the leaves of the tree, and splits weight between the halves of that order in inverse
//! proportion to their risk.
//!
//! # Variants
//! `variant` is a preset for the options that are not set, chosen to reproduce the result of another library.
//!
//! | variant | `distance` | `linkage` | `optimal_leaf_order` | reproduces |
//! |---|---|---|---|---|
//! | `lopez_de_prado` | `lopez_de_prado` | `single` | false | the paper |
//! | `pyportfolioopt` | `correlation` | `single` | false | PyPortfolioOpt 1.6.0 |
//! | `skfolio` | `correlation` | `ward` | true | skfolio 1.12.2 |
//! | `riskfolio` | `correlation` | `single` | true | Riskfolio-Lib 7.4.0 |
//!
//! The calls are `HRPOpt(returns).optimize()`, `HierarchicalRiskParity().fit(returns)` and
//! `HCPortfolio(returns).optimization(model="HRP")`.
//!
//! By default all four use Pearson's correlation, the sample covariance (divisor rows − 1) and the variance as risk.
//! All cut a cluster of n leaves after the first n/2 and give the left half the share 1 − left/(left + right) of its
//! weight, where left and right are the risks of the two halves under inverse-risk weights. They differ as follows.
//! - The paper clusters d̃, the Euclidean distance between columns of d; the three libraries cluster d.
//! - PyPortfolioOpt does not optimise the leaf order; skfolio and Riskfolio-Lib use SciPy's `optimal_leaf_ordering`
//!   (see [`leaf_order::optimal_leaf_order`] for what that does and does not find).
//! - `HRPOpt(cov_matrix=…)` rounds correlations to six digits and is not reproduced; `HRPOpt(returns)` does not round.
//!   PyPortfolioOpt's `CovarianceShrinkage` annualises, which is a factor that does not change weights.
//! - skfolio computes distances from returns, not from the covariance of its prior, so `covariance = ledoit_wolf`
//!   changes the risks but not the tree; so it does here. If its sample covariance has no Cholesky factor (more assets
//!   than returns), skfolio replaces it by a near matrix that has one; here it is used unchanged, which moves weights
//!   by about 1e-17 for a thousand assets.
//! - `risk` corresponds to skfolio's `risk_measure` `VARIANCE`, `STANDARD_DEVIATION`, `MEAN_ABSOLUTE_DEVIATION`,
//!   `SEMI_DEVIATION` and `CVAR`, and to Riskfolio-Lib's `rm` `MV`, `vol`, `MAD`, `MSV` and `CVaR`. Riskfolio-Lib's
//!   `MV` is the variance: it takes the root and squares it again. Both use the divisor rows − 1 in the semi-deviation.
//! - Bounds on weights and rounding of weights are not part of this model: constraints are the host's. skfolio and
//!   Riskfolio-Lib have bounds, by default 0 to 1, which have no effect.
//!
//! # Missing returns
//! `missing = "complete"` uses the rows in which every asset that the model sees has a return. `missing = "pairwise"`
//! uses, for each pair, the rows in which both have one (as pandas does), and then makes correlation and covariance
//! positive semi-definite: negative eigenvalues become 0 and the diagonal is restored.
//!
//! `zero_variance = "exclude"` gives no weight to assets whose returns are constant over the rows that are used, and
//! computes the weights of the other assets from the same rows.

mod bisection;
pub mod leaf_order;
pub mod linkage;
mod options;
mod risk;

use std::sync::{Mutex, PoisonError};

use options::{Distance, Options};
use risk::Risk;
use walkforge_plugin::{
    Coefficient, Context, Covariance, Error, Estimator, Missing, Past, Requirements, Settings, Statistics,
    export_estimator,
};

/// The HRP model. It has nothing to fit: weights depend on the lookback alone.
pub struct Hrp {
    options: Options,
    statistics: Statistics,
    /// Memory of earlier decisions for reuse, one entry per thread that was in [`Self::hrp_weights`] at once: new
    /// memory costs a page fault per 4 kilobytes, a fifth of the time of a decision over a thousand assets.
    pool: Mutex<Vec<Matrices>>,
}

/// The matrices of one decision, each `[assets, assets]`.
#[derive(Default)]
struct Matrices {
    covariance: Vec<f64>,
    /// First the correlation, then d.
    distance: Vec<f64>,
    /// d̃, the distance between columns of d.
    column_distance: Vec<f64>,
}

impl Estimator for Hrp {
    const DESCRIPTION: &'static str = options::DESCRIPTION;

    const FITS: bool = false;

    fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
        Ok(Self { options: Options::read(settings)?, statistics: Statistics::from_host()?, pool: Mutex::default() })
    }

    fn requirements(&self) -> Requirements {
        self.options.requirements
    }

    fn common_rows(&self) -> usize {
        match self.options.missing {
            Missing::Complete => self.options.requirements.min_history,
            Missing::Pairwise => 0,
        }
    }

    fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error> {
        let assets = past.names.len();
        if assets == 1 {
            out[0] = 1.0;
            return Ok(());
        }
        let used = self.used_rows(past.returns, assets)?;
        let constant = are_constant(&used, assets, past.constant_within);
        let Some(first) = constant.iter().position(|constant| *constant) else {
            out.copy_from_slice(&self.hrp_weights(past.returns, past.names)?);
            return Ok(());
        };
        if !self.options.exclude_constant {
            return Err(Error::data(format!(
                "the returns of {} do not vary over {} rows",
                past.names[first],
                used.len()
            )));
        }
        let kept: Vec<usize> = (0..assets).filter(|asset| !constant[*asset]).collect();
        let weights = match kept[..] {
            [] => {
                return Err(Error::data(format!(
                    "the returns of none of {assets} assets vary over {} rows, so zero_variance = exclude leaves none",
                    used.len()
                )));
            }
            [_] => vec![1.0],
            _ => {
                let returns: Vec<f64> = used.iter().flat_map(|row| kept.iter().map(move |&asset| row[asset])).collect();
                let names: Vec<&str> = kept.iter().map(|&asset| past.names[asset]).collect();
                self.hrp_weights(&returns, &names)?
            }
        };
        out.fill(0.0);
        for (asset, weight) in kept.into_iter().zip(weights) {
            out[asset] = weight;
        }
        Ok(())
    }
}

export_estimator!(wf_plugin_init_hrp, Hrp);

impl Hrp {
    /// Returns the rows of `returns`, `[rows, assets]`, that the setting `missing` selects. `complete` ones are no fewer than
    /// the returns that each asset must have by itself.
    fn used_rows<'a>(&self, returns: &'a [f64], assets: usize) -> Result<Vec<&'a [f64]>, Error> {
        let rows = returns.chunks_exact(assets);
        if self.options.missing == Missing::Pairwise {
            return Ok(rows.collect());
        }
        let (total, fewest) = (rows.len(), self.options.requirements.min_history);
        let used: Vec<&[f64]> = rows.filter(|row| row.iter().all(|value| value.is_finite())).collect();
        if used.len() < fewest {
            return Err(Error::data(format!(
                "{} of {total} rows have a return for each of {assets} assets; at least min_history = {fewest} are needed, \
                 or missing = \"pairwise\", which uses the rows that each pair has in common",
                used.len()
            )));
        }
        Ok(used)
    }

    /// Computes the weights of at least two assets, each with returns that vary. `returns` is `[rows, assets]`.
    fn hrp_weights(&self, returns: &[f64], names: &[&str]) -> Result<Vec<f64>, Error> {
        let pool = || self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let mut matrices = pool().pop().unwrap_or_default();
        let weights = self.hrp_weights_in(&mut matrices, returns, names);
        pool().push(matrices);
        weights
    }

    fn hrp_weights_in(&self, matrices: &mut Matrices, returns: &[f64], names: &[&str]) -> Result<Vec<f64>, Error> {
        let Options { correlation, measure, .. } = self.options;
        let Matrices { covariance, distance, column_distance } = matrices;
        let assets = names.len();
        // If nothing is missing, both settings give the same matrices and there is nothing to repair.
        let missing =
            if returns.iter().all(|value| value.is_finite()) { Missing::Complete } else { self.options.missing };
        self.statistics.covariance(returns, assets, self.options.covariance, missing, covariance)?;
        if correlation == Coefficient::Pearson
            && self.options.covariance == Covariance::Sample
            && missing == Missing::Complete
        {
            // Both come from the same sums.
            correlation_from(covariance, names, distance)?;
        } else {
            self.statistics.correlation(returns, assets, correlation, missing, distance)?;
        }
        if missing == Missing::Pairwise {
            for matrix in [&mut *covariance, distance] {
                check_pairs(matrix, names)?;
                self.statistics.repair(matrix, assets)?;
            }
        }
        for value in &mut *distance {
            // Rounding can make a correlation slightly larger than 1.
            *value = ((1.0 - *value) / 2.0).clamp(0.0, 1.0).sqrt();
        }
        if let Some(index) = distance.iter().position(|value| !value.is_finite()) {
            return Err(Error::data(format!(
                "the correlation of {} and {} is not finite; their returns may be too large",
                names[index / assets],
                names[index % assets]
            )));
        }
        let clustered = match self.options.distance {
            Distance::Correlation => distance,
            Distance::LopezDePrado => {
                self.statistics.distances(distance, assets, column_distance)?;
                column_distance
            }
        };
        let mut merges = linkage::cluster(clustered, assets, self.options.linkage);
        if self.options.optimal_leaf_order {
            merges = leaf_order::optimal_leaf_order(&merges, clustered, assets);
        }
        let complete: Vec<f64>;
        let returns = if measure.uses_covariance() {
            &[]
        } else {
            complete = self.used_rows(returns, assets)?.concat();
            complete.as_slice()
        };
        let risk = Risk { measure, covariance, returns, names };
        bisection::weights(&risk, &linkage::leaf_order(&merges, assets))
    }
}

/// Returns no further than this from their mean do not vary, where the host names no limit: the rest is rounding.
const NO_DISPERSION: f64 = 1e-12;

/// Returns, for each asset, whether none of its finite returns is further than its limit from their mean.
fn are_constant(rows: &[&[f64]], assets: usize, limits: &[f64]) -> Vec<bool> {
    let is_constant = |asset: usize| {
        let finite = || rows.iter().map(|row| row[asset]).filter(|value| value.is_finite());
        let mean = finite().sum::<f64>() / finite().count().max(1) as f64;
        let limit = limits.get(asset).copied().unwrap_or(NO_DISPERSION);
        finite().all(|value| (value - mean).abs() <= limit)
    };
    (0..assets).map(is_constant).collect()
}

/// Computes the correlation matrix from a covariance matrix, both `[assets, assets]`.
fn correlation_from(covariance: &[f64], names: &[&str], out: &mut Vec<f64>) -> Result<(), Error> {
    let assets = names.len();
    let deviation: Vec<f64> = (0..assets).map(|asset| covariance[asset * assets + asset].sqrt()).collect();
    if let Some(asset) = deviation.iter().position(|value| *value <= 0.0) {
        return Err(Error::data(format!("the variance of {} is too small for a floating-point number", names[asset])));
    }
    out.resize(covariance.len(), 0.0);
    let rows = out.chunks_exact_mut(assets).zip(covariance.chunks_exact(assets)).zip(&deviation);
    for (i, ((row, covariance), left)) in rows.enumerate() {
        for ((value, covariance), right) in row.iter_mut().zip(covariance).zip(&deviation) {
            *value = covariance / (left * right);
        }
        row[i] = 1.0;
    }
    Ok(())
}

/// Refuses a matrix that is undefined (NaN) for a pair of assets.
fn check_pairs(matrix: &[f64], names: &[&str]) -> Result<(), Error> {
    match matrix.iter().position(|value| value.is_nan()) {
        None => Ok(()),
        Some(index) => Err(Error::data(format!(
            "{} and {} have fewer than 2 returns in common, or one of them does not vary over those",
            names[index / names.len()],
            names[index % names.len()]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{are_constant, check_pairs, correlation_from};

    #[test]
    fn an_asset_is_constant_if_all_its_finite_returns_are_equal() {
        let nan = f64::NAN;
        let rows: [&[f64]; 3] = [&[nan, 1.0, 0.5, nan], &[0.0, 1.0, 0.5, nan], &[0.0, 2.0, nan, nan]];
        assert_eq!(are_constant(&rows, 4, &[]), [true, false, true, true]);
        // Prices of 100 · 1.0001ᵗ: returns differ by rounding alone. One step of 1e-11 is more than that.
        let price = |row: i32| 100.0 * 1.0001_f64.powi(row);
        let cash: Vec<[f64; 2]> =
            (0..756).map(|row| [price(row + 1) / price(row) - 1.0, if row == 9 { 1e-11 } else { 0.0 }]).collect();
        assert!(cash.iter().any(|row| row[0] != cash[0][0]));
        let rows: Vec<&[f64]> = cash.iter().map(<[f64; 2]>::as_slice).collect();
        assert_eq!(are_constant(&rows, 2, &[]), [true, false]);
        assert_eq!(are_constant(&rows, 2, &[1e-12, 2e-11]), [true, true]);
        assert_eq!(are_constant(&rows, 2, &[0.0, 1e-12]), [false, false]);
    }

    #[test]
    fn correlation_matches_a_hand_computation_and_undefined_pairs_are_errors() {
        let mut out = vec![7.0; 9];
        correlation_from(&[4.0, 3.0, 3.0, 9.0], &["A", "B"], &mut out).unwrap();
        assert_eq!(out, [1.0, 0.5, 0.5, 1.0]);
        let message = correlation_from(&[4.0, 0.0, 0.0, 0.0], &["A", "B"], &mut out).unwrap_err().message;
        assert!(message.contains("variance of B"), "{message}");
        let message = check_pairs(&[1.0, f64::NAN, f64::NAN, 1.0], &["A", "B"]).unwrap_err().message;
        assert!(message.starts_with("A and B have"), "{message}");
    }
}
