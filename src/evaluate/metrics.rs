//! The metrics of returns per row, annualised by the number of rows per year. A value that is undefined gives its reason; it is
//! never shown as 0 or infinite.

use jiff::civil::Date;

use super::{Conventions, Inputs, Metric, MetricValue, Unit};

/// The table of metrics.
pub static METRICS: &[Metric] = &[
    Metric {
        name: "sharpe",
        label: "Sharpe ratio",
        unit: Unit::Ratio,
        doc: "mean(net) / std(net, ddof 1) x sqrt(P)",
        compute: |inputs| annualised(inputs, mean(inputs.net), deviation(inputs.net)),
    },
    Metric {
        name: "sortino",
        label: "Sortino ratio",
        unit: Unit::Ratio,
        doc: "mean(net) / sqrt(mean(min(net, 0)^2)) x sqrt(P)",
        compute: |inputs| {
            let squares: Vec<f64> = inputs.net.iter().map(|value| value.min(0.0).powi(2)).collect();
            annualised(inputs, mean(inputs.net), mean(&squares).map(f64::sqrt))
        },
    },
    Metric {
        name: "total_return",
        label: "Total return",
        unit: Unit::Percent,
        doc: "last wealth - 1, net",
        compute: |inputs| finite(Ok(wealth(inputs.net) - 1.0)),
    },
    Metric {
        name: "cagr",
        label: "Annual growth (CAGR)",
        unit: Unit::Percent,
        doc: "wealth^(365.25 / calendar days) - 1, net",
        compute: |inputs| finite(growth(inputs)),
    },
    Metric {
        name: "volatility",
        label: "Volatility",
        unit: Unit::Percent,
        doc: "std(net, ddof 1) x sqrt(P)",
        compute: |inputs| finite(deviation(inputs.net).map(|value| value * inputs.periods_per_year.sqrt())),
    },
    Metric {
        name: "calmar",
        label: "Calmar ratio",
        unit: Unit::Ratio,
        doc: "CAGR / |maximum drawdown|",
        compute: |inputs| ratio(growth(inputs), max_drawdown(inputs).map(|worst| -worst.depth), 1.0),
    },
    Metric {
        name: "max_drawdown",
        label: "Maximum drawdown",
        unit: Unit::Percent,
        doc: "lowest wealth / highest wealth before it - 1, net; wealth starts at 1",
        compute: |inputs| finite(max_drawdown(inputs).map(|worst| worst.depth)),
    },
    Metric {
        name: "max_drawdown_peak",
        label: "Drawdown began",
        unit: Unit::Day,
        doc: "the day of the highest wealth before the maximum drawdown",
        compute: |inputs| day(max_drawdown(inputs).and_then(|worst| worst.peak.ok_or("wealth never fell"))),
    },
    Metric {
        name: "max_drawdown_trough",
        label: "Drawdown's lowest day",
        unit: Unit::Day,
        doc: "the day of the maximum drawdown",
        compute: |inputs| day(max_drawdown(inputs).and_then(|worst| worst.trough.ok_or("wealth never fell"))),
    },
    Metric {
        name: "max_drawdown_recovery",
        label: "Drawdown recovered",
        unit: Unit::Day,
        doc: "the first day after the trough with wealth as high as at the peak",
        compute: |inputs| day(max_drawdown(inputs).and_then(|worst| worst.recovery.ok_or("not recovered"))),
    },
    Metric {
        name: "var_95",
        label: "Value at risk, 95 %",
        unit: Unit::Percent,
        doc: "5 % lower quantile of net returns (the value at index floor(0.05 (n - 1)) in order); losses are negative",
        compute: |inputs| finite(tail(inputs.net).map(|tail| tail[tail.len() - 1])),
    },
    Metric {
        name: "cvar_95",
        label: "Expected shortfall, 95 %",
        unit: Unit::Percent,
        doc: "mean of the net returns up to the value at risk; losses are negative",
        compute: |inputs| finite(tail(inputs.net).and_then(|tail| mean(&tail))),
    },
    Metric {
        name: "hit_rate",
        label: "Periods with a gain",
        unit: Unit::Percent,
        doc: "share of rows with net > 0",
        compute: |inputs| {
            let gains: Vec<f64> = inputs.net.iter().map(|value| f64::from(u8::from(*value > 0.0))).collect();
            finite(mean(&gains))
        },
    },
    Metric {
        name: "turnover",
        label: "Annual turnover",
        unit: Unit::Percent,
        doc: "mean turnover per row (half of the sum of |w - w before|) x P",
        compute: |inputs| finite(mean(inputs.turnover).map(|value| value * inputs.periods_per_year)),
    },
    Metric {
        name: "cost_drag",
        label: "Annual costs",
        unit: Unit::Percent,
        doc: "mean(gross - net) x P",
        compute: |inputs| {
            finite(mean(&difference(inputs.gross, inputs.net)).map(|value| value * inputs.periods_per_year))
        },
    },
    Metric {
        name: "information_ratio",
        label: "Information ratio",
        unit: Unit::Ratio,
        doc: "mean(net - benchmark) / std(net - benchmark, ddof 1) x sqrt(P)",
        compute: |inputs| match inputs.benchmark {
            None => MetricValue::Undefined(NO_BENCHMARK),
            Some(benchmark) => {
                let active = difference(inputs.net, benchmark);
                annualised(inputs, mean(&active), deviation(&active))
            }
        },
    },
    Metric {
        name: "return_correlation",
        label: "Correlation with the benchmark",
        unit: Unit::Ratio,
        doc: "Pearson correlation of net returns with the benchmark's",
        compute: |inputs| finite(inputs.benchmark.ok_or(NO_BENCHMARK).and_then(|other| correlation(inputs.net, other))),
    },
];

/// The annualised Sharpe ratio of net returns, the score of early stopping and tuning; undefined as in the table.
pub(crate) fn sharpe(net: &[f64], conventions: &Conventions) -> MetricValue {
    ratio(mean(net), deviation(net), conventions.periods_per_year.sqrt())
}

/// A ratio of a mean per row to a deviation per row, annualised.
fn annualised(inputs: &Inputs, mean: MetricResult, deviation: MetricResult) -> MetricValue {
    ratio(mean, deviation, inputs.periods_per_year.sqrt())
}

const NO_BENCHMARK: &str = "there is no benchmark";

pub(super) type MetricResult = Result<f64, &'static str>;

/// A number, undefined if it is not finite.
pub(super) fn finite(outcome: MetricResult) -> MetricValue {
    match outcome {
        Ok(value) if value.is_finite() => MetricValue::Number(value),
        Ok(_) => MetricValue::Undefined("the value is not finite"),
        Err(reason) => MetricValue::Undefined(reason),
    }
}

fn day(outcome: Result<Date, &'static str>) -> MetricValue {
    outcome.map_or_else(MetricValue::Undefined, MetricValue::Day)
}

fn ratio(numerator: MetricResult, denominator: MetricResult, scale: f64) -> MetricValue {
    match (numerator, denominator) {
        (Ok(_), Ok(0.0)) => MetricValue::Undefined("the denominator is zero"),
        (Ok(numerator), Ok(denominator)) => finite(Ok(numerator / denominator * scale)),
        (Err(reason), _) | (_, Err(reason)) => MetricValue::Undefined(reason),
    }
}

pub(super) fn mean(values: &[f64]) -> MetricResult {
    if values.is_empty() {
        return Err("there are no returns");
    }
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation, ddof 1; exactly 0 if all values are equal.
pub(super) fn deviation(values: &[f64]) -> MetricResult {
    if values.len() < 2 {
        return Err("there are fewer than two returns");
    }
    if values.iter().all(|value| *value == values[0]) {
        return Ok(0.0);
    }
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Ok((squares / (values.len() - 1) as f64).sqrt())
}

fn difference(left: &[f64], right: &[f64]) -> Vec<f64> {
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

fn wealth(net: &[f64]) -> f64 {
    net.iter().fold(1.0, |wealth, value| wealth * (1.0 + value))
}

fn growth(inputs: &Inputs) -> MetricResult {
    let last = inputs.dates.last().ok_or("there are no returns")?;
    let days = inputs.start.duration_until(*last).as_secs_f64() / 86_400.0;
    if days <= 0.0 {
        return Err("no calendar day passes");
    }
    Ok(wealth(inputs.net).powf(365.25 / days) - 1.0)
}

/// The lower tail in ascending order, up to and including the 5 % lower quantile.
fn tail(values: &[f64]) -> Result<Vec<f64>, &'static str> {
    if values.is_empty() {
        return Err("there are no returns");
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // ⌊(n − 1)/20⌋ in integers, because 0.05 is not exact in binary.
    sorted.truncate((sorted.len() - 1) / 20 + 1);
    Ok(sorted)
}

struct Drawdown {
    depth: f64,
    peak: Option<Date>,
    trough: Option<Date>,
    recovery: Option<Date>,
}

fn max_drawdown(inputs: &Inputs) -> Result<Drawdown, &'static str> {
    if inputs.net.is_empty() {
        return Err("there are no returns");
    }
    let (mut wealth, mut peak, mut peak_date) = (1.0, 1.0, inputs.start);
    let mut worst = Drawdown { depth: 0.0, peak: None, trough: None, recovery: None };
    let mut to_recover = f64::INFINITY;
    for (value, date) in inputs.net.iter().zip(inputs.dates) {
        wealth *= 1.0 + value;
        if wealth >= to_recover {
            worst.recovery = Some(*date);
            to_recover = f64::INFINITY;
        }
        if wealth > peak {
            (peak, peak_date) = (wealth, *date);
        }
        let depth = wealth / peak - 1.0;
        if depth < worst.depth {
            worst = Drawdown { depth, peak: Some(peak_date), trough: Some(*date), recovery: None };
            to_recover = peak;
        }
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, MetricValue, evaluate};
    use jiff::civil::{Date, date};
    use std::collections::BTreeMap;

    const NET: [f64; 5] = [0.10, -0.20, -0.05, 0.40, 0.02];
    const OTHER: [f64; 5] = [0.05, -0.10, 0.00, 0.20, 0.03];

    fn values(net: &[f64], benchmark: Option<&[f64]>) -> BTreeMap<&'static str, MetricValue> {
        let dates: Vec<Date> = (2..).take(net.len()).map(|day| date(2020, 1, day)).collect();
        let gross: Vec<f64> = net.iter().map(|value| value + 0.001).collect();
        let turnover = vec![0.5; net.len()];
        let start = date(2020, 1, 1);
        let inputs = Inputs {
            periods_per_year: 252.0,
            start,
            dates: &dates,
            gross: &gross,
            net,
            turnover: &turnover,
            benchmark,
        };
        evaluate(&inputs).into_iter().map(|(metric, value)| (metric.name, value)).collect()
    }

    /// The ratios were computed with Python's `statistics` module (`mean`, `stdev`, `correlation`), the others by hand.
    #[test]
    fn every_metric_has_its_golden_value() {
        let golden = [
            ("sharpe", 3.849_823_055_085_248),
            ("sortino", 9.297_893_499_573_533),
            ("total_return", 1.1 * 0.8 * 0.95 * 1.4 * 1.02 - 1.0),
            ("cagr", (1.1_f64 * 0.8 * 0.95 * 1.4 * 1.02).powf(365.25 / 5.0) - 1.0),
            ("volatility", 3.534_707_908_724_567),
            ("max_drawdown", 0.8 * 0.95 - 1.0),
            ("calmar", ((1.1_f64 * 0.8 * 0.95 * 1.4 * 1.02).powf(365.25 / 5.0) - 1.0) / 0.24),
            ("var_95", -0.2),
            ("cvar_95", -0.2),
            ("hit_rate", 0.6),
            ("turnover", 126.0),
            ("cost_drag", 0.252),
            ("information_ratio", 2.471_195_314_563_888_5),
            ("return_correlation", 0.993_952_812_098_932_8),
        ];
        let values = values(&NET, Some(&OTHER));
        assert_eq!(values.len(), golden.len() + 3);
        for (name, expected) in golden {
            let MetricValue::Number(ours) = values[name] else { panic!("{name}: {:?}", values[name]) };
            assert!((ours / expected - 1.0).abs() < 1e-12, "{name}: {ours}, expected {expected}");
        }
        assert_eq!(values["max_drawdown_peak"], MetricValue::Day(date(2020, 1, 2)));
        assert_eq!(values["max_drawdown_trough"], MetricValue::Day(date(2020, 1, 4)));
        assert_eq!(values["max_drawdown_recovery"], MetricValue::Day(date(2020, 1, 5)));
    }

    #[test]
    fn an_undefined_metric_gives_its_reason() {
        let flat = values(&[0.0, 0.0, 0.0], None);
        assert_eq!(flat["sharpe"], MetricValue::Undefined("the denominator is zero"));
        assert_eq!(flat["sortino"], MetricValue::Undefined("the denominator is zero"));
        assert_eq!(flat["calmar"], MetricValue::Undefined("the denominator is zero"));
        assert_eq!(flat["max_drawdown_peak"], MetricValue::Undefined("wealth never fell"));
        assert_eq!(flat["information_ratio"], MetricValue::Undefined("there is no benchmark"));
        assert_eq!(values(&[0.1], None)["sharpe"], MetricValue::Undefined("there are fewer than two returns"));
        assert_eq!(values(&[], None)["sharpe"], MetricValue::Undefined("there are no returns"));
        assert_eq!(values(&[-0.1], None)["max_drawdown_recovery"], MetricValue::Undefined("not recovered"));
        // A drawdown that starts on the first day is measured from a wealth of 1.
        assert_eq!(values(&[-0.5], None)["max_drawdown"], MetricValue::Number(-0.5));
    }
}
