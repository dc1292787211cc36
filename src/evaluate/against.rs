//! Alpha and beta against the benchmark.

use super::Inputs;
use super::metrics::NO_BENCHMARK;
use super::moments::{deviation, lags, long_run_variance, mean};

/// A least-squares line with the standard errors of Newey and West.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) alpha: f64,
    pub(super) alpha_error: f64,
    pub(super) beta: f64,
    pub(super) beta_error: f64,
}

/// Net returns on the benchmark's; alpha is per year.
pub(super) fn against_benchmark(inputs: &Inputs) -> Result<Line, &'static str> {
    let (net, benchmark) = (inputs.net, inputs.benchmark.ok_or(NO_BENCHMARK)?);
    let rows = net.len();
    if rows < 3 {
        return Err("there are fewer than three returns");
    }
    if deviation(benchmark)? == 0.0 {
        return Err("the benchmark does not vary");
    }
    let (mean_net, mean_other) = (mean(net)?, mean(benchmark)?);
    let centred: Vec<f64> = benchmark.iter().map(|value| value - mean_other).collect();
    let squares: f64 = centred.iter().map(|value| value * value).sum();
    let beta = centred.iter().zip(net).map(|(one, two)| one * (two - mean_net)).sum::<f64>() / squares;
    let alpha = mean_net - beta * mean_other;
    // The influence of each row on beta and on alpha; with HAC errors no correction for the degrees of freedom.
    let residual = |row: usize| net[row] - alpha - beta * benchmark[row];
    let on_beta: Vec<f64> = (0..rows).map(|row| centred[row] * residual(row) / squares).collect();
    let on_alpha: Vec<f64> = (0..rows).map(|row| residual(row) / rows as f64 - mean_other * on_beta[row]).collect();
    let error = |influence: &[f64]| long_run_variance(influence, lags(rows, rows)).max(0.0).sqrt();
    let periods = inputs.periods_per_year;
    Ok(Line { alpha: alpha * periods, alpha_error: error(&on_alpha) * periods, beta, beta_error: error(&on_beta) })
}
