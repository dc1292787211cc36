//! Means, deviations, correlations and the other building blocks of the figures. What is undefined says why.

use std::cmp::Ordering;

use super::MetricValue;

/// A figure, or the reason why it is undefined.
pub(crate) type MetricResult = Result<f64, &'static str>;

/// Returns none of which is further than this from their mean do not vary: the rest is rounding.
const NO_DISPERSION: f64 = 1e-12;

/// A number, undefined if it is not finite.
pub(super) fn finite(outcome: MetricResult) -> MetricValue {
    match outcome {
        Ok(value) if value.is_finite() => MetricValue::Number(value),
        Ok(_) => MetricValue::Undefined("the value is not finite"),
        Err(reason) => MetricValue::Undefined(reason),
    }
}

pub(super) fn mean(values: &[f64]) -> MetricResult {
    if values.is_empty() {
        return Err("there are no returns");
    }
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation, ddof 1; exactly 0 if no value is further than 1e-12 from the mean.
pub(super) fn deviation(values: &[f64]) -> MetricResult {
    if values.len() < 2 {
        return Err("there are fewer than two returns");
    }
    let mean = mean(values)?;
    if values.iter().all(|value| (value - mean).abs() <= NO_DISPERSION) {
        return Ok(0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Ok((squares / (values.len() - 1) as f64).sqrt())
}

/// The third and the fourth standardised moment (ddof 0); the fourth is 3 for a normal distribution.
pub(super) fn skew_and_kurtosis(values: &[f64]) -> Result<(f64, f64), &'static str> {
    if deviation(values)? == 0.0 {
        return Err("the returns do not vary");
    }
    let mean = mean(values)?;
    let moment = |power: i32| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / values.len() as f64;
    let variance = moment(2);
    Ok((moment(3) / variance.powf(1.5), moment(4) / variance.powi(2)))
}

pub(super) fn difference(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(left, right)| left - right).collect()
}

pub(super) fn correlation(left: &[f64], right: &[f64]) -> MetricResult {
    let (spread_left, spread_right) = (deviation(left)?, deviation(right)?);
    if spread_left == 0.0 || spread_right == 0.0 {
        return Err("one of the two does not vary");
    }
    let (mean_left, mean_right) = (mean(left)?, mean(right)?);
    let sum: f64 = left.iter().zip(right).map(|(left, right)| (left - mean_left) * (right - mean_right)).sum();
    Ok((sum / ((left.len() - 1) as f64 * spread_left * spread_right)).clamp(-1.0, 1.0))
}

/// Spearman's rank correlation; equal values share their mean rank.
pub(crate) fn rank_correlation(left: &[f64], right: &[f64]) -> MetricResult {
    correlation(&ranks(left), &ranks(right))
}

/// Twice the rank of each value, where equal values share their mean rank; doubling makes the ranks integers.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
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

/// Lags of a long-run variance (Newey and West 1994): `min(⌊4 (rows/100)^(2/9)⌋, ⌊shortest/10⌋)`.
pub(super) fn lags(rows: usize, shortest: usize) -> usize {
    ((4.0 * (rows as f64 / 100.0).powf(2.0 / 9.0)).floor() as usize).min(shortest / 10)
}

/// The variance of the sum of a series with autocorrelation, with the weights of Bartlett over this many lags.
pub(super) fn long_run_variance(values: &[f64], lags: usize) -> f64 {
    let mut sum: f64 = values.iter().map(|value| value * value).sum();
    for lag in 1..=lags.min(values.len().saturating_sub(1)) {
        let weight = 1.0 - lag as f64 / (lags + 1) as f64;
        sum += 2.0 * weight * values.iter().zip(&values[lag..]).map(|(one, two)| one * two).sum::<f64>();
    }
    sum
}

/// The distribution function of the normal distribution, to about 1e-15.
pub(super) fn normal_cdf(x: f64) -> f64 {
    let size = x.abs();
    let density = (-0.5 * size * size).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let upper = if size < 4.0 {
        // x + x³/3 + x⁵/(3·5) + …: all terms are positive, so nothing cancels.
        let (mut term, mut sum, mut odd) = (size, size, 1.0);
        while term > 1e-17 * sum {
            odd += 2.0;
            term *= size * size / odd;
            sum += term;
        }
        0.5 - density * sum
    } else {
        // The continued fraction of the tail, from far inside.
        let fraction = (1..=60).rev().fold(0.0, |rest, level| f64::from(level) / (size + rest));
        density / (size + fraction)
    };
    if x > 0.0 { 1.0 - upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::{deviation, lags, long_run_variance, normal_cdf, ranks, skew_and_kurtosis};

    #[track_caller]
    fn near(ours: f64, expected: f64) {
        assert!((ours / expected - 1.0).abs() < 1e-13, "{ours}, expected {expected}");
    }

    #[test]
    fn returns_that_differ_by_rounding_do_not_vary() {
        // Prices of 100 · 1.0001ᵗ give returns that differ in the last digits.
        let prices: Vec<f64> = (0..1000).map(|row| 100.0 * 1.0001_f64.powi(row)).collect();
        let returns: Vec<f64> = prices.windows(2).map(|pair| pair[1] / pair[0] - 1.0).collect();
        assert!(returns.iter().any(|value| *value != returns[0]));
        assert_eq!(deviation(&returns).unwrap(), 0.0);
        assert!(skew_and_kurtosis(&returns).is_err());
        assert!(deviation(&[0.0, 4e-12]).unwrap() > 0.0);
    }

    #[test]
    fn moments_match_a_calculation_by_hand() {
        // Mean 2, deviations −2, −1, 0, 3: m₂ = 3.5, m₃ = 4.5, m₄ = 24.5.
        let (skew, kurtosis) = skew_and_kurtosis(&[0.0, 1.0, 2.0, 5.0]).unwrap();
        near(skew, 4.5 / 3.5_f64.powf(1.5));
        near(kurtosis, 2.0);
    }

    /// Values of `scipy.stats.norm.cdf`.
    #[test]
    fn the_normal_distribution_is_exact_in_the_middle_and_in_the_tails() {
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.96, 0.024_997_895_148_220_435),
            (3.9, 0.999_951_903_655_982_4),
            (-5.0, 2.866_515_718_791_939e-7),
            (-10.0, 7.619_853_024_160_527e-24),
        ] {
            near(normal_cdf(x), expected);
        }
        // Both forms agree where they meet: d ln Φ(x)/dx is 4.2256 at −4.
        let step = normal_cdf(-3.999_999_999) / normal_cdf(-4.000_000_001) - 1.0;
        assert!((step - 2e-9 * 4.2256).abs() < 1e-11, "{step}");
    }

    #[test]
    fn a_long_run_variance_weighs_lags_as_bartlett() {
        // 1 + 4 + 1 = 6; lag 1: 2 − 2 = 0; lag 2: −1 with a weight of 1/3.
        near(long_run_variance(&[1.0, 2.0, -1.0], 2), 6.0 - 2.0 / 3.0);
        assert_eq!((lags(100, 252), lags(8000, 252), lags(8000, 21), lags(8000, 9)), (4, 10, 2, 0));
    }

    #[test]
    fn equal_scores_share_their_mean_rank() {
        assert_eq!(ranks(&[0.5, 2.0, 0.5, 1.0, 0.5]), [4.0, 10.0, 4.0, 8.0, 4.0]);
        assert_eq!(ranks(&[]), [] as [f64; 0]);
    }
}
