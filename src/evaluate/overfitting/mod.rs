//! The overfitting monitor: how much better than the benchmark a model is on the span that it was fitted on than on the
//! span that it never saw, with the error of that gap. Scores are annual net Sharpe ratios; the excess is the model's
//! minus the benchmark's over the same rows, so that the market of a span is in neither.

mod judge;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::MetricValue;
use super::moments::{deviation, finite, lags, long_run_variance, mean, rank_correlation};
use super::uncertainty::{FEWEST_ROWS, HALF_WIDTH, influence};
pub(crate) use judge::MIN_WINDOWS;
pub(crate) use judge::{Finding, Verdict};

/// Influences of this size are rounding: the model holds what the benchmark holds.
const NO_INFLUENCE: f64 = 1e-12;

const NO_PAIR: &str = "no window has both scores";
const TOO_FEW: &str = "fewer than 5 windows whose spans share no day have both scores";
const SAME: &str = "the model holds what the benchmark holds";
const NO_ERROR: &str = "the train excess is not above two of its standard errors";

/// Net returns of a model and of the benchmark over the rows of one span, less the risk-free rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SpanReturns {
    /// The rows of the panel.
    pub rows: Range<usize>,
    /// The model's returns.
    pub model: Vec<f64>,
    /// The benchmark's returns.
    pub benchmark: Vec<f64>,
}

/// The returns over the spans of one window, or why a span has none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowReturns {
    /// Over the train span.
    pub train: Result<SpanReturns, &'static str>,
    /// Over the validation span.
    pub validation: Result<SpanReturns, &'static str>,
    /// Over the test span.
    pub test: Result<SpanReturns, &'static str>,
}

/// What the monitor reads.
#[derive(Clone, Debug)]
pub(crate) struct MonitorInputs<'a> {
    /// The windows.
    pub windows: &'a [WindowReturns],
    /// Rows per year.
    pub periods_per_year: f64,
    /// Months from one window to the next.
    pub step_months: u32,
    /// Months of a test span.
    pub test_months: u32,
    /// The Sharpe ratio of the out-of-sample path and its standard error.
    pub out_of_sample: Option<(f64, f64)>,
    /// The best epoch and the last allowed one, of each window in which a network was trained.
    pub epochs: &'a [(u32, u32)],
}

/// The Sharpe ratios of model and benchmark over one span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SpanScore {
    /// The model's.
    pub model: MetricValue,
    /// The benchmark's.
    pub benchmark: MetricValue,
}

impl SpanScore {
    /// The model's minus the benchmark's.
    pub(crate) fn excess(&self) -> MetricValue {
        both(self.model, self.benchmark, |model, benchmark| model - benchmark)
    }
}

/// The scores of a model in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WindowScore {
    /// Over the train span.
    pub train: SpanScore,
    /// Over the validation span.
    pub validation: SpanScore,
    /// Over the test span.
    pub test: SpanScore,
}

impl WindowScore {
    /// The train excess minus the test excess.
    pub(crate) fn gap(&self) -> MetricValue {
        both(self.train.excess(), self.test.excess(), |train, test| train - test)
    }
}

/// What the monitor found over all windows of a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Overfitting {
    /// The scores of each window.
    pub windows: Vec<WindowScore>,
    /// Mean train excess over the windows that have both a train and a test score, as the next four values.
    pub train_excess: MetricValue,
    /// Its standard error.
    pub train_error: MetricValue,
    /// Mean test excess.
    pub test_excess: MetricValue,
    /// Mean of train excess minus test excess.
    pub gap: MetricValue,
    /// Its standard error.
    pub gap_error: MetricValue,
    /// Mean of validation excess minus test excess over the windows that have both.
    pub validation_gap: MetricValue,
    /// Its standard error.
    pub validation_gap_error: MetricValue,
    /// Mean test excess over mean train excess.
    pub kept: MetricValue,
    /// Spearman's rank correlation of validation and test excess over the windows.
    pub generalisation: MetricValue,
    /// Its 95 % interval.
    pub generalisation_interval: [MetricValue; 2],
    /// The verdict.
    pub verdict: Verdict,
    /// The reason of the verdict, as a sentence.
    pub reason: String,
    /// What else stands out.
    pub findings: Vec<Finding>,
}

/// Compares the spans of a model's windows with each other.
pub(crate) fn overfitting(inputs: &MonitorInputs) -> Overfitting {
    let periods = inputs.periods_per_year;
    let scores: Vec<WindowScore> = inputs.windows.iter().map(|window| score(window, periods)).collect();
    let train = Gap::new(inputs, &scores, |window| &window.train, |score| score.train);
    let validation = Gap::new(inputs, &scores, |window| &window.validation, |score| score.validation);
    let train_error = train.of_first;
    let kept = match (train.first, train_error, train.second) {
        (Ok(first), Ok(error), Ok(second)) if first > 2.0 * error => Ok(second / first),
        (Err(reason), ..) | (_, Err(reason), _) => Err(reason),
        _ => Err(NO_ERROR),
    };
    let (generalisation, interval) = generalisation(inputs, &scores);
    let (verdict, reason) = judge::judge(&train);
    let findings = judge::findings(inputs, &validation);
    Overfitting {
        windows: scores,
        train_excess: finite(train.first),
        train_error: finite(train_error),
        test_excess: finite(train.second),
        gap: finite(train.mean),
        gap_error: finite(train.error),
        validation_gap: finite(validation.mean),
        validation_gap_error: finite(validation.error),
        kept: finite(kept),
        generalisation: finite(generalisation),
        generalisation_interval: interval.map(finite),
        verdict,
        reason,
        findings,
    }
}

/// The Sharpe ratios of the spans of one window.
fn score(window: &WindowReturns, periods_per_year: f64) -> WindowScore {
    let ratio = |values: &[f64]| match (mean(values), deviation(values)) {
        (Ok(_), Ok(0.0)) => Err("the returns do not vary"),
        (Ok(mean), Ok(deviation)) => Ok(mean / deviation * periods_per_year.sqrt()),
        (Err(reason), _) | (_, Err(reason)) => Err(reason),
    };
    let span = |span: &Result<SpanReturns, &'static str>| match span {
        Ok(span) => SpanScore { model: finite(ratio(&span.model)), benchmark: finite(ratio(&span.benchmark)) },
        Err(reason) => SpanScore { model: MetricValue::Undefined(reason), benchmark: MetricValue::Undefined(reason) },
    };
    let train = match &window.train {
        Ok(train) if train.rows.len() < FEWEST_ROWS => span(&Err("the train path has fewer than 20 rows")),
        train => span(train),
    };
    WindowScore { train, validation: span(&window.validation), test: span(&window.test) }
}

/// The mean over windows of a span's excess minus that of the test span, with its error.
struct Gap {
    /// Windows that have both scores.
    windows: usize,
    /// How many windows without overlap they are.
    effective: f64,
    /// The mean excess on the first span.
    first: Result<f64, &'static str>,
    /// Its standard error.
    of_first: Result<f64, &'static str>,
    /// The mean excess on the test span.
    second: Result<f64, &'static str>,
    /// The mean gap.
    mean: Result<f64, &'static str>,
    /// Its standard error.
    error: Result<f64, &'static str>,
}

impl Gap {
    fn new(
        inputs: &MonitorInputs,
        scores: &[WindowScore],
        returns: fn(&WindowReturns) -> &Result<SpanReturns, &'static str>,
        of: fn(&WindowScore) -> SpanScore,
    ) -> Self {
        let mut used: Vec<(&SpanReturns, &SpanReturns)> = Vec::new();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (window, score) in inputs.windows.iter().zip(scores) {
            if let (Ok(one), Ok(test), MetricValue::Number(excess), MetricValue::Number(of_test)) =
                (returns(window), &window.test, of(score).excess(), score.test.excess())
            {
                used.push((one, test));
                first.push(excess);
                second.push(of_test);
            }
        }
        let average = |values: &[f64]| mean(values).map_err(|_| NO_PAIR);
        let (first, second) = (average(&first), average(&second));
        let step = f64::from(inputs.step_months);
        Self {
            windows: used.len(),
            effective: used.len() as f64 * step / step.max(f64::from(inputs.test_months)),
            mean: first.and_then(|first| Ok(first - second?)),
            error: error(&used, inputs.periods_per_year, true),
            of_first: error(&used, inputs.periods_per_year, false),
            first,
            second,
        }
    }
}

/// The standard error of a mean gap, or of the mean of its first span alone. The influence of a day is summed over all
/// spans that hold it: days that windows share then cancel, or add, as they do in the mean.
fn error(used: &[(&SpanReturns, &SpanReturns)], periods_per_year: f64, with_test: bool) -> Result<f64, &'static str> {
    let rows = || used.iter().flat_map(|(one, test)| [&one.rows, &test.rows]);
    let start = rows().map(|rows| rows.start).min().ok_or(NO_PAIR)?;
    let end = rows().map(|rows| rows.end).max().ok_or(NO_PAIR)?;
    let shortest = used.iter().map(|(_, test)| test.rows.len()).min().ok_or(NO_PAIR)?;
    let mut by_day = vec![0.0; end - start];
    let mut add = |span: &SpanReturns, sign: f64| -> Result<(), &'static str> {
        let (model, benchmark) =
            (influence(&span.model, periods_per_year)?, influence(&span.benchmark, periods_per_year)?);
        let days = &mut by_day[span.rows.start - start..span.rows.end - start];
        for ((day, model), benchmark) in days.iter_mut().zip(model).zip(benchmark) {
            *day += sign * (model - benchmark) / used.len() as f64;
        }
        Ok(())
    };
    for (one, test) in used {
        add(one, 1.0)?;
        if with_test {
            add(test, -1.0)?;
        }
    }
    if by_day.iter().all(|influence| influence.abs() <= NO_INFLUENCE) {
        return Err(SAME);
    }
    Ok(long_run_variance(&by_day, lags(by_day.len(), shortest)).max(0.0).sqrt())
}

/// Spearman's rank correlation of validation and test excess, and its 95 % interval.
fn generalisation(
    inputs: &MonitorInputs,
    scores: &[WindowScore],
) -> (Result<f64, &'static str>, [Result<f64, &'static str>; 2]) {
    let pair = |score: &WindowScore| match (score.validation.excess(), score.test.excess()) {
        (MetricValue::Number(validation), MetricValue::Number(test)) => Some((validation, test)),
        _ => None,
    };
    let (validation, test): (Vec<f64>, Vec<f64>) = scores.iter().filter_map(pair).unzip();
    let step = f64::from(inputs.step_months);
    let effective = test.len() as f64 * step / step.max(f64::from(inputs.test_months));
    if effective < MIN_WINDOWS {
        return (Err(TOO_FEW), [Err(TOO_FEW); 2]);
    }
    if validation.iter().chain(&test).all(|excess| excess.abs() <= NO_INFLUENCE) {
        return (Err(SAME), [Err(SAME); 2]);
    }
    let correlation = rank_correlation(&validation, &test);
    let half = HALF_WIDTH * (1.06 / (effective - 3.0)).sqrt();
    // Of a perfect correlation Fisher's transform is infinite, and so the interval is one point.
    let interval = |sign: f64| correlation.map(|value| (value.atanh() + sign * half).tanh());
    (correlation, [interval(-1.0), interval(1.0)])
}

/// Applies `compare` to two scores; undefined if one of them is.
fn both(left: MetricValue, right: MetricValue, compare: fn(f64, f64) -> f64) -> MetricValue {
    match (left, right) {
        (MetricValue::Number(left), MetricValue::Number(right)) => finite(Ok(compare(left, right))),
        (MetricValue::Undefined(reason), _) | (_, MetricValue::Undefined(reason)) => MetricValue::Undefined(reason),
        _ => MetricValue::Undefined("a score is not a number"),
    }
}
