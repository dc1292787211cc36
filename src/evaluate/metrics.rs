//! The table of metrics of returns per row, annualised by the number of rows per year. A value that is undefined gives
//! its reason; it is never shown as 0 or infinite.

use jiff::civil::Date;

use super::against::against_benchmark;
use super::calendar::{extreme, months, years};
use super::drawdown::{Drawdown, drawdowns, growth, wealth};
use super::moments::{MetricResult, correlation, deviation, difference, finite, mean, skew_and_kurtosis};
use super::uncertainty::{HALF_WIDTH, minimum_track_record, probabilistic_sharpe, sharpe_error};
use super::{Inputs, Metric, MetricValue, Unit};

/// The table of metrics.
pub static METRICS: &[Metric] = &[
    Metric {
        name: "sharpe",
        label: "Sharpe ratio",
        unit: Unit::Ratio,
        doc: "mean(net - rf) / std(net - rf, ddof 1) x sqrt(P), P = rows per year, rf = data.risk_free",
        compute: |inputs| sharpe(inputs.excess, inputs.periods_per_year),
    },
    Metric {
        name: "sharpe_error",
        label: "Standard error of the Sharpe ratio",
        unit: Unit::Ratio,
        doc: "from the influence of each row, with its autocorrelation (HAC); without, it is that of Mertens (2002)",
        compute: |inputs| finite(sharpe_error(inputs.excess, inputs.periods_per_year)),
    },
    Metric {
        name: "sharpe_low",
        label: "Sharpe ratio, 95 % from",
        unit: Unit::Ratio,
        doc: "Sharpe ratio - 1.96 standard errors",
        compute: |inputs| bound(inputs, -HALF_WIDTH),
    },
    Metric {
        name: "sharpe_high",
        label: "Sharpe ratio, 95 % to",
        unit: Unit::Ratio,
        doc: "Sharpe ratio + 1.96 standard errors",
        compute: |inputs| bound(inputs, HALF_WIDTH),
    },
    Metric {
        name: "psr",
        label: "Probability of a Sharpe ratio above 0",
        unit: Unit::Percent,
        doc: "probabilistic Sharpe ratio (Bailey and Lopez de Prado 2012), with skew and kurtosis, without \
              autocorrelation",
        compute: |inputs| finite(probabilistic_sharpe(inputs.excess)),
    },
    Metric {
        name: "minimum_track_record",
        label: "Minimum track record",
        unit: Unit::Count,
        doc: "fewest rows with which the probability above would be 95 % at the same moments",
        compute: |inputs| finite(minimum_track_record(inputs.excess)),
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
        doc: "wealth^(365.25 / calendar days held) - 1, net",
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
        compute: |inputs| ratio(growth(inputs), max_drawdown(inputs).map(f64::abs), 1.0),
    },
    Metric {
        name: "max_drawdown",
        label: "Maximum drawdown",
        unit: Unit::Percent,
        doc: "lowest wealth / highest wealth before it - 1, net; wealth starts at 1",
        compute: |inputs| finite(max_drawdown(inputs)),
    },
    Metric {
        name: "max_drawdown_peak",
        label: "Drawdown began",
        unit: Unit::Day,
        doc: "the day of the highest wealth before the maximum drawdown",
        compute: |inputs| day(deepest(inputs).map(|worst| worst.peak)),
    },
    Metric {
        name: "max_drawdown_trough",
        label: "Drawdown's lowest day",
        unit: Unit::Day,
        doc: "the day of the maximum drawdown",
        compute: |inputs| day(deepest(inputs).map(|worst| worst.trough)),
    },
    Metric {
        name: "max_drawdown_recovery",
        label: "Drawdown recovered",
        unit: Unit::Day,
        doc: "the first day after the trough with wealth as high as at the peak",
        compute: |inputs| day(deepest(inputs).and_then(|worst| worst.recovery.ok_or("not recovered"))),
    },
    Metric {
        name: "longest_drawdown",
        label: "Longest drawdown",
        unit: Unit::Count,
        doc: "rows held from a highest wealth until wealth is as high again, or until the end; the longest",
        compute: |inputs| {
            finite(drawdowns(inputs).map(|all| all.iter().map(|fall| fall.rows).max().unwrap_or(0) as f64))
        },
    },
    Metric {
        name: "time_under_water",
        label: "Time under water",
        unit: Unit::Percent,
        doc: "share of rows held with wealth below its highest value so far",
        compute: |inputs| {
            let under = |all: Vec<Drawdown>| all.iter().map(|fall| fall.under_water).sum::<usize>() as f64;
            finite(drawdowns(inputs).map(|all| under(all) / inputs.net.len() as f64))
        },
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
        name: "skew",
        label: "Skew",
        unit: Unit::Ratio,
        doc: "third standardised moment of net returns (ddof 0)",
        compute: |inputs| finite(skew_and_kurtosis(inputs.net).map(|(skew, _)| skew)),
    },
    Metric {
        name: "kurtosis",
        label: "Kurtosis",
        unit: Unit::Ratio,
        doc: "fourth standardised moment of net returns (ddof 0); 3 for a normal distribution",
        compute: |inputs| finite(skew_and_kurtosis(inputs.net).map(|(_, kurtosis)| kurtosis)),
    },
    Metric {
        name: "best_period",
        label: "Best period",
        unit: Unit::Percent,
        doc: "highest net return of a row",
        compute: |inputs| finite(extreme(inputs.net, f64::max)),
    },
    Metric {
        name: "worst_period",
        label: "Worst period",
        unit: Unit::Percent,
        doc: "lowest net return of a row",
        compute: |inputs| finite(extreme(inputs.net, f64::min)),
    },
    Metric {
        name: "best_month",
        label: "Best month",
        unit: Unit::Percent,
        doc: "highest net return of a calendar month, compounded over the rows held in it",
        compute: |inputs| finite(extreme(&months(inputs), f64::max)),
    },
    Metric {
        name: "worst_month",
        label: "Worst month",
        unit: Unit::Percent,
        doc: "lowest net return of a calendar month, compounded over the rows held in it",
        compute: |inputs| finite(extreme(&months(inputs), f64::min)),
    },
    Metric {
        name: "best_year",
        label: "Best year",
        unit: Unit::Percent,
        doc: "highest net return of a calendar year, compounded over the rows held in it",
        compute: |inputs| finite(extreme(&years(inputs), f64::max)),
    },
    Metric {
        name: "worst_year",
        label: "Worst year",
        unit: Unit::Percent,
        doc: "lowest net return of a calendar year, compounded over the rows held in it",
        compute: |inputs| finite(extreme(&years(inputs), f64::min)),
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
        name: "tracking_error",
        label: "Tracking error",
        unit: Unit::Percent,
        doc: "std(net - benchmark, ddof 1) x sqrt(P)",
        compute: |inputs| match inputs.benchmark {
            None => MetricValue::Undefined(NO_BENCHMARK),
            Some(benchmark) => finite(
                deviation(&difference(inputs.net, benchmark)).map(|value| value * inputs.periods_per_year.sqrt()),
            ),
        },
    },
    Metric {
        name: "alpha",
        label: "Alpha",
        unit: Unit::Percent,
        doc: "intercept of the least-squares line of net returns on the benchmark's, x P",
        compute: |inputs| finite(against_benchmark(inputs).map(|line| line.alpha)),
    },
    Metric {
        name: "alpha_error",
        label: "Standard error of alpha",
        unit: Unit::Percent,
        doc: "with autocorrelation and changing variance (HAC), x P",
        compute: |inputs| finite(against_benchmark(inputs).map(|line| line.alpha_error)),
    },
    Metric {
        name: "beta",
        label: "Beta",
        unit: Unit::Ratio,
        doc: "slope of the least-squares line of net returns on the benchmark's",
        compute: |inputs| finite(against_benchmark(inputs).map(|line| line.beta)),
    },
    Metric {
        name: "beta_error",
        label: "Standard error of beta",
        unit: Unit::Ratio,
        doc: "with autocorrelation and changing variance (HAC)",
        compute: |inputs| finite(against_benchmark(inputs).map(|line| line.beta_error)),
    },
    Metric {
        name: "return_correlation",
        label: "Correlation with the benchmark",
        unit: Unit::Ratio,
        doc: "Pearson correlation of net returns with the benchmark's",
        compute: |inputs| finite(inputs.benchmark.ok_or(NO_BENCHMARK).and_then(|other| correlation(inputs.net, other))),
    },
    Metric {
        name: "effective_holdings",
        label: "Effective number of holdings",
        unit: Unit::Ratio,
        doc: "mean over decisions of 1 / sum((|w| / sum |w|)^2) of the target weights",
        compute: |inputs| {
            let effective = |target: &&[f64]| {
                let gross: f64 = target.iter().map(|weight| weight.abs()).sum();
                let squares: f64 = target.iter().map(|weight| weight * weight).sum();
                (squares > 0.0).then(|| gross * gross / squares)
            };
            let all: Vec<f64> = inputs.targets.iter().filter_map(effective).collect();
            finite(mean(&all).map_err(|_| NO_DECISION))
        },
    },
    Metric {
        name: "largest_weight",
        label: "Largest weight",
        unit: Unit::Percent,
        doc: "largest |w| of a target weight over all decisions",
        compute: |inputs| {
            let sizes = inputs.targets.iter().flat_map(|target| target.iter()).map(|weight| weight.abs());
            finite(sizes.reduce(f64::max).ok_or(NO_DECISION))
        },
    },
    Metric {
        name: "information_coefficient",
        label: "Information coefficient",
        unit: Unit::Ratio,
        doc: "mean over decisions of Spearman's rank correlation of the model's scores and the returns until the next \
              decision",
        compute: |inputs| {
            finite(mean(inputs.coefficients).map_err(|_| "the model gives no scores, or a span is scored alone"))
        },
    },
];

/// The annualised Sharpe ratio of net returns less the risk-free rate, the score of early stopping and tuning; undefined
/// as in the table.
pub(crate) fn sharpe(excess: &[f64], periods_per_year: f64) -> MetricValue {
    ratio(mean(excess), deviation(excess), periods_per_year.sqrt())
}

/// The Sharpe ratio plus so many of its standard errors.
fn bound(inputs: &Inputs, errors: f64) -> MetricValue {
    match (sharpe(inputs.excess, inputs.periods_per_year), sharpe_error(inputs.excess, inputs.periods_per_year)) {
        (MetricValue::Number(sharpe), Ok(error)) => finite(Ok(sharpe + errors * error)),
        (_, Err(reason)) => MetricValue::Undefined(reason),
        (undefined, _) => undefined,
    }
}

/// A ratio of a mean per row to a deviation per row, annualised.
fn annualised(inputs: &Inputs, mean: MetricResult, deviation: MetricResult) -> MetricValue {
    ratio(mean, deviation, inputs.periods_per_year.sqrt())
}

pub(super) const NO_BENCHMARK: &str = "there is no benchmark";
const NO_DECISION: &str = "there is no decision";

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

/// The maximum drawdown, at most 0.
fn max_drawdown(inputs: &Inputs) -> MetricResult {
    Ok(drawdowns(inputs)?.iter().map(|fall| fall.depth).fold(0.0, f64::min))
}

/// The deepest drawdown; of equal ones the first.
fn deepest(inputs: &Inputs) -> Result<Drawdown, &'static str> {
    let all = drawdowns(inputs)?.into_iter();
    all.reduce(|worst, next| if next.depth < worst.depth { next } else { worst }).ok_or("wealth never fell")
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
        let inputs = Inputs {
            periods_per_year: 252.0,
            spans: &[(0, date(2020, 1, 1))],
            dates: &dates,
            gross: &gross,
            net,
            excess: net,
            turnover: &turnover,
            benchmark,
            targets: &[&[0.5, 0.5, 0.0], &[0.75, -0.25, 0.0]],
            coefficients: &[0.25, 0.75],
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
            ("best_period", 0.4),
            ("worst_period", -0.2),
            ("best_month", 1.1 * 0.8 * 0.95 * 1.4 * 1.02 - 1.0),
            ("worst_year", 1.1 * 0.8 * 0.95 * 1.4 * 1.02 - 1.0),
            // From 3 January, two days below the peak and the day of the recovery.
            ("longest_drawdown", 3.0),
            ("time_under_water", 0.4),
            // 1/(½) = 2 and 1/(0.75² + 0.25²) = 1.6.
            ("effective_holdings", 1.8),
            ("largest_weight", 0.75),
            ("information_coefficient", 0.5),
        ];
        let values = values(&NET, Some(&OTHER));
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
