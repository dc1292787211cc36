//! The error of a Sharpe ratio and of the difference of two, the probabilistic Sharpe ratio and the shortest track
//! record, and Holm's correction for several comparisons.

use super::moments::{MetricResult, deviation, lags, long_run_variance, mean, normal_cdf, skew_and_kurtosis};
use crate::random::Random;

/// The fewest rows that a Sharpe ratio has an error on.
pub(crate) const FEWEST_ROWS: usize = 20;
/// The fewest rows that two Sharpe ratios are compared on.
const FEWEST_COMPARED: usize = 60;
/// Resamples of the bootstrap.
const RESAMPLES: u32 = 999;
/// Half of the width of a 95 % interval, in standard errors.
pub(super) const HALF_WIDTH: f64 = 1.96;

const CONSTANT: &str = "the returns do not vary";

/// The influence of each row on the annualised Sharpe ratio: √P/n · [z − (m/2s)(z² − 1)].
pub(super) fn influence(excess: &[f64], periods_per_year: f64) -> Result<Vec<f64>, &'static str> {
    let (mean, deviation) = (mean(excess)?, deviation(excess)?);
    if deviation == 0.0 {
        return Err(CONSTANT);
    }
    let scale = periods_per_year.sqrt() / excess.len() as f64;
    let of_row = |value: &f64| {
        let z = (value - mean) / deviation;
        scale * (z - mean / (2.0 * deviation) * (z * z - 1.0))
    };
    Ok(excess.iter().map(of_row).collect())
}

/// The standard error of the annualised Sharpe ratio, with autocorrelation (Mertens 2002 without).
pub(super) fn sharpe_error(excess: &[f64], periods_per_year: f64) -> MetricResult {
    if excess.len() < FEWEST_ROWS {
        return Err("there are fewer than 20 returns");
    }
    let rows = excess.len();
    Ok(long_run_variance(&influence(excess, periods_per_year)?, lags(rows, rows)).sqrt())
}

/// The Sharpe ratio per row with its skew and kurtosis.
fn moments(excess: &[f64]) -> Result<[f64; 3], &'static str> {
    let (skew, kurtosis) = skew_and_kurtosis(excess)?;
    Ok([mean(excess)? / deviation(excess)?, skew, kurtosis])
}

/// The probability that the true Sharpe ratio per row is above `benchmark` (Bailey and López de Prado 2012).
pub(super) fn probability([sharpe, skew, kurtosis]: [f64; 3], rows: f64, benchmark: f64) -> MetricResult {
    let variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe;
    if variance <= 0.0 {
        return Err("the moments give no positive variance");
    }
    Ok(normal_cdf((sharpe - benchmark) * (rows - 1.0).sqrt() / variance.sqrt()))
}

/// The probability that the true Sharpe ratio is above 0.
pub(super) fn probabilistic_sharpe(excess: &[f64]) -> MetricResult {
    probability(moments(excess)?, excess.len() as f64, 0.0)
}

/// The fewest rows with which a Sharpe ratio of these moments would be above 0 with a probability of 95 %.
pub(super) fn minimum_track_record(excess: &[f64]) -> MetricResult {
    shortest_track(moments(excess)?)
}

pub(super) fn shortest_track(moments @ [sharpe, skew, kurtosis]: [f64; 3]) -> MetricResult {
    /// Φ⁻¹(0.95).
    const QUANTILE: f64 = 1.644_853_626_951_472_2;
    if sharpe <= 0.0 {
        return Err("the Sharpe ratio is not above 0");
    }
    let variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe;
    let mut rows = (1.0 + variance * (QUANTILE / sharpe).powi(2)).ceil();
    // Rounding may put the least whole number one too high or too low.
    if rows > 2.0 && probability(moments, rows - 1.0, 0.0)? >= 0.95 {
        rows -= 1.0;
    }
    Ok(rows)
}

/// A difference of two annualised Sharpe ratios on the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The first minus the second.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// The 95 % interval.
    pub interval: [f64; 2],
    /// The p-value of no difference.
    pub p: f64,
}

/// Compares two Sharpe ratios by the studentised circular block bootstrap (Ledoit and Wolf 2008). `key` keys the random
/// numbers.
///
/// # Errors
/// The reason why there is no comparison.
pub(crate) fn compare(
    first: &[f64],
    second: &[f64],
    periods_per_year: f64,
    key: u64,
) -> Result<Difference, &'static str> {
    let rows = first.len();
    if first.iter().zip(second).all(|(first, second)| first == second) {
        return Err("the two have the same returns");
    }
    if rows < FEWEST_COMPARED {
        return Err("there are fewer than 60 returns");
    }
    let (difference, influence) = difference_and_influence(first, second, periods_per_year)?;
    let error = long_run_variance(&influence, lags(rows, rows)).sqrt();
    if error <= 1e-12 {
        return Err("the difference has no error");
    }
    let block = ((rows as f64).cbrt().round() as usize).max(1);
    let (mut one, mut two) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut sizes = Vec::with_capacity(RESAMPLES as usize);
    for resample in 0..RESAMPLES {
        let random = Random::new(key, 0, resample);
        one.clear();
        two.clear();
        for draw in 0..rows.div_ceil(block) {
            let start = (random.uniform_f64(draw as u64) * rows as f64) as usize;
            for row in (start..start + block).take(rows - one.len()) {
                one.push(first[row % rows]);
                two.push(second[row % rows]);
            }
        }
        // A resample without variation says nothing about the size of the difference: it counts as extreme.
        sizes.push(match difference_and_influence(&one, &two, periods_per_year) {
            Ok((resampled, influence)) => {
                let sums = influence.chunks(block).map(|block| block.iter().sum::<f64>().powi(2)).sum::<f64>();
                (resampled - difference).abs() / sums.sqrt()
            }
            Err(_) => f64::INFINITY,
        });
    }
    let observed = difference.abs() / error;
    let above = sizes.iter().filter(|size| **size >= observed).count();
    sizes.sort_by(f64::total_cmp);
    let half = sizes[(sizes.len() + 1) * 95 / 100 - 1] * error;
    Ok(Difference {
        value: difference,
        error,
        interval: [difference - half, difference + half],
        p: (1 + above) as f64 / f64::from(RESAMPLES + 1),
    })
}

/// The difference of two Sharpe ratios, and the influence of each row on it.
fn difference_and_influence(
    first: &[f64],
    second: &[f64],
    periods_per_year: f64,
) -> Result<(f64, Vec<f64>), &'static str> {
    let (mut influence_of, other) = (influence(first, periods_per_year)?, influence(second, periods_per_year)?);
    for (value, other) in influence_of.iter_mut().zip(other) {
        *value -= other;
    }
    let ratio = |values: &[f64]| Ok::<f64, &'static str>(mean(values)? / deviation(values)? * periods_per_year.sqrt());
    Ok((ratio(first)? - ratio(second)?, influence_of))
}

/// Holm's adjusted p-values, in the order of `p`.
pub(crate) fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|one, two| p[*one].total_cmp(&p[*two]));
    let (mut out, mut largest) = (vec![0.0; p.len()], 0.0_f64);
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max((p[index] * (p.len() - rank) as f64).min(1.0));
        out[index] = largest;
    }
    out
}
