//! Runs of made-up prices: which decisions and rows each figure is computed from.

use std::path::PathBuf;

use jiff::ToSpan;
use jiff::civil::{Date, date};

use super::scores;
use crate::error::{Code, Result};
use crate::evaluate::MetricValue;
use crate::experiment::Experiment;
use crate::job::Runtime;
use crate::model::{Context, Estimator, Factory, Model, Requirements};
use crate::panel::{Panel, PanelKind, Past};
use crate::plugin::PluginSearch;
use crate::portfolio::Decision;
use crate::run::Run;
use crate::run::runner::WindowState;
use crate::settings::{Setting, SettingValues};

mod benchmark;
mod ended;
mod ruin;
mod whole_runs;

const ROWS: usize = 200;

fn dates() -> Vec<Date> {
    (0..ROWS as i64).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect()
}

/// Windows of two months of training, one of validation and one of test.
const WINDOWS: &str = "[windows]\ntrain_months = 2\nvalidation_months = 1\ntest_months = 1\nstep_months = 1\n";

/// A run over three assets and 200 days.
fn prepared(values: &[f64], kind: PanelKind, overrides: &[&str]) -> Run {
    prepared_as(WINDOWS, values, kind, overrides)
}

/// A run with a second model, equal weight within the constraints.
fn with_model(overrides: &[&str]) -> Run {
    with_model_on(&prices(), PanelKind::Prices, overrides)
}

fn with_model_on(values: &[f64], kind: PanelKind, overrides: &[&str]) -> Run {
    let text = format!("{WINDOWS}[[models]]\nname = \"second\"\nplugin = \"equal_weight\"\n");
    prepared_as(&text, values, kind, overrides)
}

fn prepared_as(text: &str, values: &[f64], kind: PanelKind, overrides: &[&str]) -> Run {
    try_prepare(text, values, kind, overrides).unwrap()
}

fn try_prepare(text: &str, values: &[f64], kind: PanelKind, overrides: &[&str]) -> Result<Run> {
    let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
    let experiment = Experiment::from_toml(text, PathBuf::new(), &overrides).unwrap();
    let names = ["A".to_owned(), "B".to_owned(), "C".to_owned()];
    let panel = Panel::from_arrays(kind, dates(), &names, values).unwrap();
    let runtime = Runtime::new(PluginSearch::folders(Vec::new()), 1).unwrap();
    Run::new(experiment, panel, &runtime)
}

/// A finished run.
fn run(values: &[f64], kind: PanelKind, overrides: &[&str]) -> Run {
    finish(prepared(values, kind, overrides))
}

fn finish(mut run: Run) -> Run {
    while run.step().unwrap().done < run.windows.len() {}
    run
}

/// A model that always gives the same weights.
#[derive(Clone)]
struct Fixed([f64; 3]);

impl Factory for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn settings(&self) -> &[Setting] {
        &[]
    }

    fn create(&self, _settings: &SettingValues, _context: &Context) -> Result<Model> {
        Ok(Model::Estimator(Box::new(self.clone())))
    }
}

impl Estimator for Fixed {
    fn requirements(&self) -> Requirements {
        Requirements::new(1, 0)
    }

    fn needs_fit(&self) -> bool {
        false
    }

    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<()> {
        Ok(())
    }

    fn weights(&self, _past: &Past) -> Result<Vec<f64>> {
        Ok(self.0.to_vec())
    }
}

fn decision(row: usize, target: [f64; 3]) -> Decision {
    Decision { row, target: target.to_vec(), shown: vec![true; 3], scores: None }
}

fn prices() -> Vec<f64> {
    let day = |row: usize| [100.0 + (row as f64).sin(), 50.0 + row as f64 / 10.0, 20.0 + (row as f64 / 3.0).cos()];
    (0..ROWS).flat_map(day).collect()
}

#[test]
fn only_gaps_of_held_assets_are_counted() {
    // Equal weight decides at the last row of each month: 31 March is row 90, 31 May row 151.
    let decision_rows: Vec<usize> =
        run(&prices(), PanelKind::Prices, &[]).targets[0].iter().map(|target| target.row).collect();
    assert_eq!(decision_rows, [90, 120, 151, 181]);
    let mut values = prices();
    let mut remove_prices = |rows: std::ops::Range<usize>, asset: usize| {
        for row in rows {
            values[row * 3 + asset] = f64::NAN;
        }
    };
    remove_prices(125..128, 0); // held: three days, one move
    remove_prices(40..50, 1); // before the out-of-sample path
    remove_prices(149..155, 2); // held: the decision at row 151 cannot sell it, six days, one move
    let gaps = |run: Run| {
        let record = run.accounts[0].record();
        (record.days_without_price, record.moves_after_gap)
    };
    assert_eq!(gaps(run(&values, PanelKind::Prices, &[])), (9, 2));
    // Decided at row 151, executed at 152 and held from 153. A has no price on row 152: one more day and one move.
    values[152 * 3] = f64::NAN;
    let later = run(&values, PanelKind::Prices, &["portfolio.execution_lag=1"]);
    assert_eq!(gaps(later), (10, 3));
    assert_eq!(gaps(run(&prices(), PanelKind::Prices, &[])), (0, 0));
}

#[test]
fn a_gap_in_a_panel_of_returns_earns_nothing_and_has_no_move_after_it() {
    let mut values = vec![0.001; ROWS * 3];
    values[125 * 3] = f64::NAN;
    // An asset that lost everything is no longer held.
    values[130 * 3 + 1] = -1.0;
    values[131 * 3 + 1] = f64::NAN;
    let run = run(&values, PanelKind::Returns, &[]);
    let record = run.accounts[0].record();
    assert_eq!((record.days_without_price, record.moves_after_gap), (1, 0));
}

#[test]
fn the_out_of_sample_path_has_only_the_changes_of_its_own_targets() {
    let mut run = with_model(&["windows.test_months=2", "portfolio.max_weight=0.5"]);
    run.models[1].factory = Box::new(Fixed([0.7, 0.2, 0.1]));
    let run = finish(run);
    let scores = scores(&run).unwrap();
    // 0.7 is cut to 0.5, and what is cut off goes to the other two in proportion to their weights.
    // The benchmark, equal weight of three, is held to no constraint.
    assert!(scores.total[0].changes.is_empty());
    let weights = &run.targets[1][0].weights;
    assert!(weights.iter().zip([0.5, 1.0 / 3.0, 0.5 / 3.0]).all(|(one, two)| (one - two).abs() < 1e-15), "{weights:?}");
    assert!(scores.total[1].changes.iter().all(|(_, change)| (change.moved - 0.4).abs() < 1e-15));
    // Both windows decide at the end of each of their two months; the second decision of the first window is
    // replaced by that of the second window.
    let in_windows: usize = scores.windows[1].iter().map(|window| window.test.changes.len()).sum();
    let rows: Vec<usize> = scores.total[1].changes.iter().map(|(row, _)| *row).collect();
    let held: Vec<usize> = run.targets[1].iter().map(|target| target.row).collect();
    assert_eq!(rows, held);
    assert!(in_windows > held.len(), "{in_windows} {held:?}");
}

#[test]
fn what_windows_held_makes_up_the_whole_path() {
    let run = run(&prices(), PanelKind::Prices, &["windows.test_months=2"]);
    let scores = scores(&run).unwrap();
    let figure = |metrics: &[MetricValue], name: &str| {
        let index = crate::evaluate::METRICS.iter().position(|metric| metric.name == name).unwrap();
        let MetricValue::Number(value) = metrics[index] else { panic!("{name}: {:?}", metrics[index]) };
        value
    };
    let (windows, total) = (&scores.windows[0], &scores.total[0].metrics);
    let wealth: f64 = windows.iter().map(|window| 1.0 + figure(&window.held, "total_return")).product();
    assert!((wealth - 1.0 - figure(total, "total_return")).abs() < 1e-12);
    let rows = run.stitched.rows.iter().map(|rows| rows.len() as f64);
    let traded: f64 = windows.iter().zip(rows).map(|(window, rows)| figure(&window.held, "turnover") * rows).sum();
    assert!((traded / run.paths[0].rows.len() as f64 - figure(total, "turnover")).abs() < 1e-12);
    // Each test span alone begins with a purchase of everything; of what was held only the first one does.
    let first = figure(&windows[0].held, "turnover");
    assert!(windows.len() > 2 && windows[1..].iter().all(|one| figure(&one.held, "turnover") < 0.1 * first));
    assert!(figure(&windows[1].test.metrics, "turnover") > 0.4 * first);
}

#[test]
fn the_budget_of_the_models_scales_no_trade_of_the_benchmark() {
    // On row 151, where C cannot be sold, what is bought of A and B is scaled to the cash that is there.
    let mut values = prices();
    (149..155).for_each(|row| values[row * 3 + 2] = f64::NAN);
    let path = |overrides: &[&str]| {
        let run = run(&values, PanelKind::Prices, overrides);
        assert!(!run.accounts[0].record().blocked.is_empty());
        run.paths[0].clone()
    };
    assert_eq!(path(&["portfolio.budget=0.5"]), path(&[]));
}

#[test]
fn the_benchmark_is_held_to_no_constraint() {
    // Three assets of at most 0.2 each cannot add up to 1.
    let run = run(&prices(), PanelKind::Prices, &["portfolio.max_weight=0.2", "portfolio.max_turnover=0.01"]);
    assert!(run.targets[0].iter().all(|target| target.weights == [1.0 / 3.0; 3]) && run.changes[0].is_empty());
    // Equal weight as a model of the experiment is held to them: the run is refused, with all dates.
    let text = format!("{WINDOWS}[[models]]\nname = \"second\"\nplugin = \"equal_weight\"\n");
    let error = try_prepare(&text, &prices(), PanelKind::Prices, &["portfolio.max_weight=0.2"]).err().unwrap();
    assert_eq!(error.code(), Code::Infeasible);
    let expected = "model 'second' cannot decide on 5 of 5 decision dates. 2020-02-29 to 2020-06-30 (5 dates): 3 assets of at \
                    most portfolio.max_weight = 0.2 each cannot add up to 1. What helps: widen the constraint, or set \
                    portfolio.infeasible = \"relax\"";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_train_score_of_a_model_that_fits_nothing_is_undefined() {
    let scores = scores(&run(&prices(), PanelKind::Prices, &[])).unwrap();
    let window = &scores.windows[0][0];
    assert!(window.train.metrics.iter().all(|value| *value == MetricValue::Undefined("the model fits nothing")));
    assert!(matches!(window.validation.metrics[0], MetricValue::Number(_)));
}

#[test]
fn figures_are_annualised_by_the_rows_per_year_of_the_dates_or_of_the_setting() {
    let sharpe = |overrides: &[&str]| {
        let run = run(&prices(), PanelKind::Prices, overrides);
        let MetricValue::Number(sharpe) = run.metric(0, "sharpe").unwrap() else { panic!() };
        (run.conventions.periods_per_year, sharpe)
    };
    // The panel has a row on every day.
    let (daily, monthly) = (sharpe(&[]), sharpe(&["data.periods_per_year=12"]));
    assert_eq!((daily.0, monthly.0), (365.0, 12.0));
    assert!((daily.1 / monthly.1 - (365.0_f64 / 12.0).sqrt()).abs() < 1e-12);
}

#[test]
fn the_risk_free_rate_is_taken_off_in_sharpe_ratios_alone() {
    let value = |run: &Run, name: &str| {
        let MetricValue::Number(value) = run.metric(0, name).unwrap() else { panic!("{name}") };
        value
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rates.csv");
    // Half of the out-of-sample path, from row 91, lies before the rate of 20 May is known (21 May is row 141).
    std::fs::write(&file, "date,rate\n2019-12-31,0.0365\n2020-03-01,0.0365\n2020-05-20,0.073\n").unwrap();
    let plain = run(&prices(), PanelKind::Prices, &[]);
    let setting = format!("data.risk_free={}", file.display());
    let dated = run(&prices(), PanelKind::Prices, &[&setting]);
    let net = &plain.paths[0].net;
    let rows = &plain.paths[0].rows;
    let excess: Vec<f64> =
        net.iter().zip(rows).map(|(net, row)| net - if *row < 141 { 0.0001 } else { 0.0002 }).collect();
    let mean = excess.iter().sum::<f64>() / excess.len() as f64;
    let variance = excess.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (excess.len() - 1) as f64;
    let expected = mean / variance.sqrt() * 365.0_f64.sqrt();
    assert!((value(&dated, "sharpe") - expected).abs() < 1e-10);
    assert!((value(&plain, "sharpe") - expected).abs() > 0.1);
    for name in ["sortino", "cagr", "volatility", "max_drawdown"] {
        assert_eq!(value(&plain, name), value(&dated, name));
    }
    let constant = run(&prices(), PanelKind::Prices, &["data.risk_free=0.0365"]);
    let expected = value(&plain, "sharpe") - 0.0365 / value(&plain, "volatility");
    assert!((value(&constant, "sharpe") - expected).abs() < 1e-10);
}

#[test]
fn the_information_coefficient_ranks_scores_against_the_returns_until_the_next_decision() {
    // With a step of two months nothing is held over every other month.
    for (settings, gaps) in
        [(&["portfolio.execution_lag=1"][..], 0), (&["portfolio.execution_lag=1", "windows.step_months=2"], 1)]
    {
        let mut run = run(&prices(), PanelKind::Prices, settings);
        assert_eq!(run.stitched.gaps().len(), gaps);
        assert_eq!(super::information_coefficients(&run, 0).unwrap(), []);
        let targets: Vec<(usize, usize)> = run.targets[0].iter().map(|target| (target.window, target.row)).collect();
        let values = prices();
        let mut expected = Vec::new();
        for window in 0..run.windows.len() {
            let mut decisions = (*run.results[0][window].decisions.get().unwrap()).clone();
            for decision in &mut decisions.test {
                let Some(index) = targets.iter().position(|target| target.1 == decision.row) else { continue };
                // Held from two rows later to the row on which the next decision is executed, or to the end of the rows
                // without a gap.
                let end = run.stitched.rows[window].end - 1;
                let to = match targets.get(index + 1) {
                    Some((next, row)) if gaps == 0 || *next == window => row + 1,
                    _ => end,
                };
                let from = decision.row + 1;
                let earned: Vec<f64> =
                    (0..3).map(|asset| values[to * 3 + asset] / values[from * 3 + asset] - 1.0).collect();
                // Scores rank every other decision as the returns, and the others the other way around.
                let sign = if index % 2 == 0 { 1.0 } else { -1.0 };
                decision.scores = Some(earned.iter().map(|earned| sign * earned).collect());
                expected.push(sign);
            }
            run.results[0][window].decisions = decisions.into();
        }
        let found = super::information_coefficients(&run, 0).unwrap();
        assert!(found.len() > 2 && found.len() == targets.len());
        for (((window, coefficient), expected), target) in found.iter().zip(&expected).zip(&targets) {
            assert!((coefficient - expected).abs() < 1e-12 && *window == target.0, "{found:?} {expected:?}");
        }
        // Each window as it was held has the mean of its own.
        let metric =
            crate::evaluate::METRICS.iter().position(|metric| metric.name == "information_coefficient").unwrap();
        for (window, scores) in scores(&run).unwrap().windows[0].iter().enumerate() {
            let own: Vec<f64> = found.iter().filter(|(of, _)| *of == window).map(|(_, own)| *own).collect();
            let MetricValue::Number(mean) = scores.held[metric] else { panic!("{:?}", scores.held[metric]) };
            assert!((mean - own.iter().sum::<f64>() / own.len() as f64).abs() < 1e-12);
        }
    }
}

#[test]
fn the_train_span_is_scored_from_its_first_decision_on() {
    let mut run = run(&prices(), PanelKind::Prices, &["portfolio.cost_bps=0"]);
    let window = run.windows[0].train.rows.clone();
    assert_eq!(window, 0..60);
    let mut decisions = (*run.results[0][0].decisions.get().unwrap()).clone();
    decisions.train = Some(vec![decision(30, [0.0, 1.0, 0.0])]);
    run.results[0][0].decisions = decisions.into();
    let scored = scores(&run).unwrap().windows[0][0].train.clone();
    let total = crate::evaluate::METRICS.iter().position(|metric| metric.name == "total_return").unwrap();
    let MetricValue::Number(earned) = scored.metrics[total] else { panic!("{:?}", scored.metrics[total]) };
    assert!((earned - (55.9 / 53.0 - 1.0)).abs() < 1e-12, "{earned}");
    // If the members of an early row cannot meet the bounds the score is undefined, and the run does not fail.
    run.execution.constraints.max_weight = 0.2;
    let scores = super::score_train(&run, (1, 0), &[decision(30, [0.0, 1.0, 0.0])], 0..60).unwrap().0;
    let reason = "infeasible: no portfolio satisfies the constraints on a decision row of the span";
    assert_eq!(scores.metrics[0], MetricValue::Undefined(reason));
}

#[test]
fn decisions_that_went_to_a_file_give_the_same_scores() {
    let text = |run: &Run| format!("{:?}", (scores(run).unwrap().windows, &run.targets, &run.paths));
    let whole = run(&prices(), PanelKind::Prices, &[]);
    let mut spilled = prepared(&prices(), PanelKind::Prices, &[]);
    let in_memory = |run: &Run| run.results.iter().flatten().map(|window| window.decisions.bytes()).sum::<usize>();
    let (planned, held) = (spilled.keep, in_memory(&whole));
    assert!(held <= planned && planned < 4 * held, "{held} {planned}");
    // A window that is done before another model of an earlier one.
    spilled.keep = 100;
    let ahead = spilled.begin((1, 0)).unwrap();
    spilled.states.insert((1, 0), ahead);
    spilled.spill_decisions().unwrap();
    let Some(WindowState::Done(ahead)) = spilled.states.get(&(1, 0)) else { panic!() };
    assert!(ahead.decisions.bytes() == 0 && ahead.decisions.get().unwrap().test.len() == 1);
    let spilled = finish(spilled);
    assert!(held > 100 && in_memory(&spilled) <= 100);
    assert_eq!(text(&whole), text(&spilled));
}
