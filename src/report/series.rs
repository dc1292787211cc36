//! The series that the charts show, computed from net returns and turnover.

/// The fewest rows that a rolling figure is taken over.
const FEWEST: usize = 12;

/// Length of the rolling window, in rows: a year, but not fewer than [`FEWEST`].
pub(super) fn rolling_rows(periods_per_year: f64) -> usize {
    (periods_per_year.round() as usize).max(FEWEST)
}

/// Wealth after each day, starting from 1.
pub(super) fn wealth(net: &[f64]) -> Vec<f64> {
    net.iter()
        .scan(1.0, |wealth, value| {
            *wealth *= 1.0 + value;
            Some(*wealth)
        })
        .collect()
}

/// Wealth relative to its running maximum, minus 1.
pub(super) fn drawdown(net: &[f64]) -> Vec<f64> {
    let mut peak = 1.0_f64;
    let below = |wealth: f64| {
        peak = peak.max(wealth);
        wealth / peak - 1.0
    };
    wealth(net).into_iter().map(below).collect()
}

/// A statistic over the last `rows` rows; NaN before there are that many.
fn rolling(values: &[f64], rows: usize, statistic: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    (1..=values.len()).map(|end| if end < rows { f64::NAN } else { statistic(&values[end - rows..end]) }).collect()
}

/// Rolling sum.
pub(super) fn rolling_sum(values: &[f64], rows: usize) -> Vec<f64> {
    rolling(values, rows, |span| span.iter().sum())
}

/// Rolling Sharpe ratio over a year, or [`FEWEST`] rows; NaN where returns do not vary.
pub(super) fn rolling_sharpe(net: &[f64], periods_per_year: f64) -> Vec<f64> {
    let rows = rolling_rows(periods_per_year);
    rolling(net, rows, |span| {
        let mean = span.iter().sum::<f64>() / rows as f64;
        let squares: f64 = span.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (rows - 1) as f64).sqrt();
        if deviation > 0.0 { mean / deviation * periods_per_year.sqrt() } else { f64::NAN }
    })
}

#[cfg(test)]
mod tests {
    use super::{drawdown, rolling_rows, rolling_sharpe, rolling_sum, wealth};

    const ROLLING: usize = 252;

    #[test]
    fn wealth_and_drawdown_start_from_a_wealth_of_one() {
        assert_eq!(wealth(&[-0.5, 1.0, 0.5]), [0.5, 1.0, 1.5]);
        assert_eq!(drawdown(&[-0.5, 1.0, 0.5, -0.5]), [-0.5, 0.0, 0.0, -0.5]);
    }

    #[test]
    fn rolling_figures_begin_after_a_whole_window() {
        let net: Vec<f64> = (0..=ROLLING).map(|day| if day % 2 == 0 { 0.01 } else { -0.005 }).collect();
        let sharpe = rolling_sharpe(&net, 252.0);
        assert!(sharpe[ROLLING - 2].is_nan() && sharpe[ROLLING - 1].is_finite());
        // Half of the days 0.01, half -0.005: mean 0.0025, standard deviation 0.0075 before the correction for ddof 1.
        let expected = 0.0025 / (0.0075_f64.powi(2) * 252.0 / 251.0).sqrt() * 252.0_f64.sqrt();
        assert!((sharpe[ROLLING - 1] - expected).abs() < 1e-12);
        assert!(rolling_sharpe(&[0.0; ROLLING], 252.0)[ROLLING - 1].is_nan());
        assert!((rolling_sum(&vec![0.5; ROLLING], ROLLING)[ROLLING - 1] - 126.0).abs() < 1e-12);
        assert_eq!([252.0, 52.0, 12.0, 4.0].map(rolling_rows), [252, 52, 12, 12]);
        // The same returns with twelve rows per year: over twelve rows, and annualised by √12.
        let monthly = rolling_sharpe(&net, 12.0);
        let expected = 0.0025 / (0.0075_f64.powi(2) * 12.0 / 11.0).sqrt() * 12.0_f64.sqrt();
        assert!(monthly[10].is_nan() && (monthly[11] - expected).abs() < 1e-12);
    }
}
