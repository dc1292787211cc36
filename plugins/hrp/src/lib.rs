//! Hierarchical risk parity (López de Prado 2016, "Building Diversified Portfolios that Outperform Out of Sample",
//! Journal of Portfolio Management 42(4), stages 1 to 3: tree clustering, quasi-diagonalization, recursive bisection).
//!
//! From the returns of the lookback: correlation ρ, distance d = √((1 − ρ)/2), clusters, the order of their leaves, and
//! weight split between the halves of that order against their risk.
//!
//! # Variants
//! `variant` sets the options that are left out, so that a peer's result comes out; an option that is given wins.
//!
//! | variant | `distance` | `linkage` | `optimal_leaf_order` | reproduces |
//! |---|---|---|---|---|
//! | `lopez_de_prado` | `lopez_de_prado` | `single` | false | the paper: clusters of d̃, the Euclidean distance between columns of d |
//! | `pyportfolioopt` | `correlation` | `single` | false | PyPortfolioOpt 1.6.0, `HRPOpt(returns).optimize()` |
//! | `skfolio` | `correlation` | `ward` | true | skfolio 1.12.2, `HierarchicalRiskParity().fit(returns)` |
//! | `riskfolio` | `correlation` | `single` | true | Riskfolio-Lib 7.4.0, `HCPortfolio(returns).optimization(model="HRP")` |
//!
//! All use Pearson's correlation, the sample covariance (divisor rows − 1) and the variance unless told otherwise, cut a
//! cluster of n after its first n/2 leaves, and give its left half 1 − left/(left + right) of its weight, where left and
//! right are the risks of the halves, each held by the inverse of its members' risks. They differ, and agree, as follows.
//! - The paper clusters d̃; the three peers cluster d.
//! - PyPortfolioOpt leaves `optimal_leaf_order` out, skfolio and Riskfolio-Lib turn leaves by SciPy's
//!   `optimal_leaf_ordering` (see [`leaf_order::turned`] for what that does and does not find).
//! - `HRPOpt(cov_matrix=…)` rounds correlations to six digits and is not reproduced; `HRPOpt(returns)` does not round.
//!   PyPortfolioOpt's `CovarianceShrinkage` is yearly, a factor that leaves weights as they are.
//! - skfolio's distance is made from returns, not from its prior's covariance, so `covariance = ledoit_wolf` changes the
//!   risks and not the tree, as here. Where its sample covariance has no Cholesky factor (more assets than returns) it
//!   moves it to a nearby matrix that has one; here it is used as it is, which moves weights by some 1e-17 at a thousand.
//! - `risk` is skfolio's `risk_measure` VARIANCE, `STANDARD_DEVIATION`, `MEAN_ABSOLUTE_DEVIATION`, `SEMI_DEVIATION` and `CVAR`,
//!   and Riskfolio-Lib's `rm` "MV", "vol", "MAD", "MSV" and "CVaR": the latter's "MV" is the variance, of which it takes
//!   the root and squares it again. Both peers' semi-deviation has the divisor rows − 1.
//! - Neither bounds on weights (all peers but PyPortfolioOpt have them, from 0 to 1 by default, where they do nothing) nor
//!   rounding of weights are part of HRP here: constraints are the host's.
//!
//! # Missing returns
//! `missing = "complete"` uses the rows in which every asset that is shown has a return. `missing = "pairwise"` uses, for
//! every pair, those in which both have one (as pandas does), then makes correlation and covariance positive
//! semi-definite by cutting negative eigenvalues and restoring the diagonal.
//!
//! `zero_variance = "exclude"` gives no weight to assets whose returns do not vary over the rows that are used, and
//! weighs the others over those same rows.

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

/// The HRP model: it has nothing to fit, and weighs from its lookback alone.
pub struct Hrp {
    options: Options,
    statistics: Statistics,
    /// Memory of earlier decisions, one for every thread that has been in [`Self::weigh`] at once: fresh memory costs a
    /// page fault for every 4 kilobytes, a fifth of the time of a decision over a thousand assets.
    spare: Mutex<Vec<Matrices>>,
}

/// The matrices of one decision, each `[assets, assets]`.
#[derive(Default)]
struct Matrices {
    covariance: Vec<f64>,
    distance: Vec<f64>,
    of_columns: Vec<f64>,
}

impl Estimator for Hrp {
    const DESCRIPTION: &'static str = options::DESCRIPTION;

    const FITS: bool = false;

    fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
        Ok(Self { options: Options::read(settings)?, statistics: Statistics::of_host()?, spare: Mutex::default() })
    }

    fn requirements(&self) -> Requirements {
        self.options.requirements
    }

    fn weights(&self, past: &Past, out: &mut [f64]) -> Result<(), Error> {
        let assets = past.names.len();
        if assets == 1 {
            out[0] = 1.0;
            return Ok(());
        }
        let used = self.used_rows(past.returns, assets)?;
        let flat = flat(&used, assets);
        let Some(first) = flat.iter().position(|flat| *flat) else {
            out.copy_from_slice(&self.weigh(past.returns, past.names)?);
            return Ok(());
        };
        if !self.options.exclude_flat {
            return Err(does_not_vary(past.names[first], used.len()));
        }
        let kept: Vec<usize> = (0..assets).filter(|asset| !flat[*asset]).collect();
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
                self.weigh(&returns, &names)?
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
    /// The rows of `returns` (`[rows, assets]`) that `missing` lets be used.
    fn used_rows<'a>(&self, returns: &'a [f64], assets: usize) -> Result<Vec<&'a [f64]>, Error> {
        let rows = returns.chunks_exact(assets);
        let given = rows.len();
        let used: Vec<&[f64]> = match self.options.missing {
            Missing::Complete => rows.filter(|row| row.iter().all(|value| value.is_finite())).collect(),
            Missing::Pairwise => rows.collect(),
        };
        if used.len() < 2 {
            return Err(Error::data(format!(
                "{} of {given} rows have a return for each of {assets} assets; at least 2 are needed",
                used.len()
            )));
        }
        Ok(used)
    }

    /// Weights of at least two assets, each of which varies.
    fn weigh(&self, returns: &[f64], names: &[&str]) -> Result<Vec<f64>, Error> {
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut matrices = spare().pop().unwrap_or_default();
        let weights = self.weigh_in(&mut matrices, returns, names);
        spare().push(matrices);
        weights
    }

    fn weigh_in(&self, matrices: &mut Matrices, returns: &[f64], names: &[&str]) -> Result<Vec<f64>, Error> {
        let Options { correlation, measure, .. } = self.options;
        let Matrices { covariance, distance, of_columns } = matrices;
        let assets = names.len();
        // Where nothing is missing both ways are one, and there is nothing to repair.
        let missing =
            if returns.iter().all(|value| value.is_finite()) { Missing::Complete } else { self.options.missing };
        self.statistics.covariance(returns, assets, self.options.covariance, missing, covariance)?;
        if correlation == Coefficient::Pearson
            && self.options.covariance == Covariance::Sample
            && missing == Missing::Complete
        {
            // Of the same sums, which need not be taken twice.
            correlation_of(covariance, names, distance)?;
        } else {
            self.statistics.correlation(returns, assets, correlation, missing, distance)?;
        }
        if missing == Missing::Pairwise {
            for matrix in [&mut *covariance, distance] {
                known(matrix, names)?;
                self.statistics.repair(matrix, assets)?;
            }
        }
        for value in &mut *distance {
            // Rounding can carry a correlation a little beyond 1.
            *value = ((1.0 - *value) / 2.0).clamp(0.0, 1.0).sqrt();
        }
        if let Some(place) = distance.iter().position(|value| !value.is_finite()) {
            return Err(Error::data(format!(
                "the correlation of {} and {} is no number; their returns may be too large",
                names[place / assets],
                names[place % assets]
            )));
        }
        let clustered = match self.options.distance {
            Distance::Correlation => distance,
            Distance::LopezDePrado => {
                self.statistics.distances(distance, assets, of_columns)?;
                of_columns
            }
        };
        let mut merges = linkage::merges(clustered, assets, self.options.linkage);
        if self.options.optimal_leaf_order {
            merges = leaf_order::turned(&merges, clustered, assets);
        }
        let complete: Vec<f64>;
        let rows = if measure.is_of_covariance() {
            &[]
        } else {
            complete = self.used_rows(returns, assets)?.concat();
            complete.as_slice()
        };
        let risk = Risk { measure, covariance, returns: rows, names };
        bisection::weights(&risk, &linkage::leaf_order(&merges, assets))
    }
}

/// Which assets have one repeated return in all rows in which they have any.
fn flat(rows: &[&[f64]], assets: usize) -> Vec<bool> {
    let mut first = vec![f64::NAN; assets];
    let mut flat = vec![true; assets];
    for row in rows {
        for ((value, first), flat) in row.iter().zip(&mut first).zip(&mut flat) {
            if first.is_nan() && value.is_finite() {
                *first = *value;
            }
            *flat &= !value.is_finite() || value == first;
        }
        if !flat.contains(&true) {
            break;
        }
    }
    flat
}

fn does_not_vary(name: &str, rows: usize) -> Error {
    Error::data(format!("the returns of {name} do not vary over {rows} rows"))
}

/// Correlation of a covariance, both `[assets, assets]`.
fn correlation_of(covariance: &[f64], names: &[&str], out: &mut Vec<f64>) -> Result<(), Error> {
    let assets = names.len();
    let deviation: Vec<f64> = (0..assets).map(|asset| covariance[asset * assets + asset].sqrt()).collect();
    if let Some(asset) = deviation.iter().position(|value| *value <= 0.0) {
        return Err(Error::data(format!("the returns of {} vary by less than a number can hold", names[asset])));
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

/// Refuses a matrix with a pair that has no value.
fn known(matrix: &[f64], names: &[&str]) -> Result<(), Error> {
    match matrix.iter().position(|value| value.is_nan()) {
        None => Ok(()),
        Some(place) => Err(Error::data(format!(
            "{} and {} have fewer than 2 returns in common, or one of them does not vary over those",
            names[place / names.len()],
            names[place % names.len()]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{correlation_of, flat, known};

    #[test]
    fn an_asset_is_flat_if_all_its_own_returns_are_one() {
        let nan = f64::NAN;
        let rows: [&[f64]; 3] = [&[nan, 1.0, 0.5, nan], &[0.0, 1.0, 0.5, nan], &[0.0, 2.0, nan, nan]];
        assert_eq!(flat(&rows, 4), [true, false, true, true]);
    }

    #[test]
    fn a_correlation_by_hand_and_a_pair_without_value() {
        let mut out = vec![7.0; 9];
        correlation_of(&[4.0, 3.0, 3.0, 9.0], &["A", "B"], &mut out).unwrap();
        assert_eq!(out, [1.0, 0.5, 0.5, 1.0]);
        let message = correlation_of(&[4.0, 0.0, 0.0, 0.0], &["A", "B"], &mut out).unwrap_err().message;
        assert!(message.contains("returns of B"), "{message}");
        let message = known(&[1.0, f64::NAN, f64::NAN, 1.0], &["A", "B"]).unwrap_err().message;
        assert!(message.starts_with("A and B have"), "{message}");
    }
}
