//! The monitor against histories whose truth is known: returns are drawn, so what it should find is known too.

use super::{MonitorInputs, SpanReturns, Verdict, WindowReturns, overfitting};
use crate::evaluate::MetricValue;
use crate::evaluate::uncertainty::sharpe_error;

const MONTH: usize = 21;
const PERIODS: f64 = 252.0;
/// Correlation of model and benchmark.
const CORRELATION: f64 = 0.9;
/// Independent series that the model's active weights spread over.
const ACTIVE: usize = 6;

/// Normal random numbers that need to be fast rather than good: xorshift and the polar method.
struct Normal {
    state: u64,
    spare: Option<f64>,
}

impl Normal {
    fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, spare: None }
    }

    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.uniform(), self.uniform());
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// A series of unit variance with an autocorrelation of `memory`.
    fn series(&mut self, rows: usize, memory: f64) -> Vec<f64> {
        let mut last = self.next();
        let mut step = || {
            last = memory * last + (1.0 - memory * memory).sqrt() * self.next();
            last
        };
        (0..rows).map(|_| step()).collect()
    }
}

#[derive(Clone, Copy)]
struct Setting {
    histories: u64,
    windows: usize,
    test: usize,
    step: usize,
    /// Whether active weights are drawn anew for each window.
    anew: bool,
    /// Autocorrelation.
    memory: f64,
    /// Annual Sharpe ratio added to the model's train returns.
    added: f64,
}

const BASE: Setting = Setting { histories: 300, windows: 29, test: 12, step: 12, anew: false, memory: 0.0, added: 0.0 };

struct Outcome {
    /// Mean standard error over the deviation of the gaps.
    ratio: f64,
    /// The same of the train excess.
    train_ratio: f64,
    /// Share of histories in which overfitting was called.
    called: f64,
}

fn history(setting: &Setting, seed: u64) -> Vec<WindowReturns> {
    let mut normal = Normal::new(seed + 1);
    let rows = (36 + 12 + setting.test + (setting.windows - 1) * setting.step) * MONTH;
    let mean = 0.9 / PERIODS.sqrt();
    let benchmark: Vec<f64> = normal.series(rows, setting.memory).iter().map(|value| mean + value).collect();
    let active: Vec<Vec<f64>> = (0..ACTIVE).map(|_| normal.series(rows, setting.memory)).collect();
    let mut direction = Vec::new();
    let mut out = Vec::new();
    for window in 0..setting.windows {
        if window == 0 || setting.anew {
            let drawn: Vec<f64> = (0..ACTIVE).map(|_| normal.next()).collect();
            let length = drawn.iter().map(|value| value * value).sum::<f64>().sqrt();
            direction = drawn.iter().map(|value| value / length).collect();
        }
        let mut start = window * setting.step * MONTH;
        let mut span = |months: usize, added: f64| {
            let rows = start..start + months * MONTH;
            start = rows.end;
            let model = |row: usize| {
                let own: f64 = active.iter().zip(&direction).map(|(series, weight)| series[row] * weight).sum();
                mean + CORRELATION * (benchmark[row] - mean)
                    + (1.0 - CORRELATION * CORRELATION).sqrt() * own
                    + added / PERIODS.sqrt()
            };
            let scaled = |value: f64| 0.01 * value;
            Ok(SpanReturns {
                model: rows.clone().map(|row| scaled(model(row))).collect(),
                benchmark: rows.clone().map(|row| scaled(benchmark[row])).collect(),
                rows,
            })
        };
        out.push(WindowReturns {
            train: span(36, setting.added),
            validation: span(12, 0.0),
            test: span(setting.test, 0.0),
        });
    }
    out
}

fn inputs<'a>(windows: &'a [WindowReturns], setting: &Setting) -> MonitorInputs<'a> {
    MonitorInputs {
        windows,
        periods_per_year: PERIODS,
        step_months: setting.step as u32,
        test_months: setting.test as u32,
        out_of_sample: None,
        epochs: &[],
    }
}

fn deviation(values: &[f64]) -> f64 {
    crate::evaluate::moments::deviation(values).unwrap()
}

fn simulate(setting: Setting) -> Outcome {
    let (mut gaps, mut trains, mut errors, mut train_errors, mut called) = (vec![], vec![], 0.0, 0.0, 0.0);
    for seed in 0..setting.histories {
        let windows = history(&setting, seed);
        let found = overfitting(&inputs(&windows, &setting));
        let number = |value: MetricValue| match value {
            MetricValue::Number(value) => value,
            other => panic!("{other:?}"),
        };
        gaps.push(number(found.gap));
        trains.push(number(found.train_excess));
        errors += number(found.gap_error) / setting.histories as f64;
        train_errors += number(found.train_error) / setting.histories as f64;
        if matches!(found.verdict, Verdict::Overfit | Verdict::SomeOverfitting) {
            called += 1.0 / setting.histories as f64;
        }
    }
    let out = Outcome { ratio: errors / deviation(&gaps), train_ratio: train_errors / deviation(&trains), called };
    println!(
        "{} windows, test {}, step {}, anew {}, memory {}, added {}: deviation {:.3}, error {errors:.3}, ratio {:.2}, \
         of train {:.2}, called {:.3}",
        setting.windows,
        setting.test,
        setting.step,
        setting.anew,
        setting.memory,
        setting.added,
        deviation(&gaps),
        out.ratio,
        out.train_ratio,
        out.called
    );
    out
}

/// With overlapping train spans, √n over windows would be up to 2.9 times off.
#[test]
fn the_error_of_the_gap_is_the_deviation_over_histories_and_false_alarms_are_rare() {
    for anew in [false, true] {
        for memory in [0.0, 0.15] {
            let found = simulate(Setting { anew, memory, ..BASE });
            assert!((0.8..1.2).contains(&found.ratio), "{}", found.ratio);
            assert!((0.8..1.2).contains(&found.train_ratio), "{}", found.train_ratio);
            assert!(found.called <= 0.05, "{}", found.called);
        }
    }
}

#[test]
fn an_overfit_of_a_third_of_a_sharpe_ratio_is_called() {
    for anew in [false, true] {
        let found = simulate(Setting { anew, added: 0.3, ..BASE });
        assert!(found.called >= 0.8, "{}", found.called);
    }
}

#[test]
fn short_steps_and_few_windows_have_an_error_of_the_right_size() {
    for anew in [false, true] {
        let monthly = simulate(Setting { histories: 200, windows: 120, test: 1, step: 1, anew, ..BASE });
        assert!((0.75..1.25).contains(&monthly.ratio), "{}", monthly.ratio);
        let few = simulate(Setting { windows: 5, anew, ..BASE });
        assert!((0.75..1.25).contains(&few.ratio), "{}", few.ratio);
    }
}

#[test]
fn a_model_that_holds_the_benchmark_has_no_verdict() {
    let mut windows = history(&BASE, 1);
    for window in &mut windows {
        for span in [&mut window.train, &mut window.validation, &mut window.test] {
            let span = span.as_mut().unwrap();
            // Equal but for rounding.
            span.model = span.benchmark.iter().map(|value| value * (1.0 + 1e-15)).collect();
        }
    }
    let found = overfitting(&inputs(&windows, &BASE));
    assert_eq!(
        (found.verdict, found.reason.as_str()),
        (Verdict::Undefined, "the model holds what the benchmark holds")
    );
    assert_eq!(found.gap_error, MetricValue::Undefined("the model holds what the benchmark holds"));
    assert!(matches!(found.gap, MetricValue::Number(gap) if gap.abs() < 1e-9));
}

#[test]
fn the_error_of_a_sharpe_ratio_is_its_deviation_over_histories() {
    const HISTORIES: u64 = 1500;
    for memory in [0.0, 0.1, 0.2] {
        let (mut ratios, mut errors) = (Vec::new(), 0.0);
        for seed in 0..HISTORIES {
            let values: Vec<f64> =
                Normal::new(seed + 77).series(1260, memory).iter().map(|value| 0.05 + value).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            ratios.push(mean / deviation(&values) * PERIODS.sqrt());
            errors += sharpe_error(&values, PERIODS).unwrap() / HISTORIES as f64;
        }
        let ratio = errors / deviation(&ratios);
        println!("memory {memory}: deviation {:.3}, error {errors:.3}, ratio {ratio:.3}", deviation(&ratios));
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
    }
}
