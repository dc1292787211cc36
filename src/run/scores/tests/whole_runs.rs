//! The error of the overfitting gap against its deviation over whole runs: windows, schedule, books and costs included.

use std::path::PathBuf;

use jiff::ToSpan;
use jiff::civil::{Date, date};

use crate::error::Result;
use crate::evaluate::MetricValue;
use crate::experiment::Experiment;
use crate::job::Runtime;
use crate::model::{Context, Estimator, Factory, Model, Requirements};
use crate::panel::{Panel, PanelKind, Past};
use crate::plugin::PluginSearch;
use crate::random::Random;
use crate::run::{Run, scores};
use crate::settings::{Setting, SettingValues};

const ASSETS: usize = 6;
const RUNS: u64 = 40;
/// Weekdays of 33 years: 29 yearly windows of 36, 12 and 12 months.
const YEARS: i32 = 33;

/// A model with weights that are fixed, and so learns nothing, but has a train span.
#[derive(Clone)]
struct Unequal;

impl Factory for Unequal {
    fn name(&self) -> &'static str {
        "unequal"
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

impl Estimator for Unequal {
    fn requirements(&self) -> Requirements {
        Requirements::new(1, 0)
    }

    fn needs_fit(&self) -> bool {
        true
    }

    fn fit(&mut self, _train: &Past, _validation: Option<&Past>) -> Result<()> {
        Ok(())
    }

    fn weights(&self, _past: &Past) -> Result<Vec<f64>> {
        Ok(vec![0.5, 0.25, 0.1, 0.05, 0.05, 0.05])
    }
}

/// A run over returns that one factor drives: the weights of the model are correlated to about 0.9 with equal ones.
fn run(seed: u64) -> Run {
    let random = Random::new(seed, 0, 0);
    let first = date(1990, 1, 1);
    let days = (0..365 * YEARS + YEARS / 4).map(|day| first.checked_add(day.days()).unwrap());
    let dates: Vec<Date> = days.filter(|day| day.weekday().to_monday_zero_offset() < 5).collect();
    let normal = |row: usize, series: usize| random.normal((row * (ASSETS + 1) + series) as u64);
    let value = |row: usize, asset: usize| 0.0006 + 0.008 * normal(row, ASSETS) + 0.008 * normal(row, asset);
    let rows = 0..dates.len();
    let values: Vec<f64> = rows.flat_map(|row| (0..ASSETS).map(move |asset| value(row, asset))).collect();
    let names: Vec<String> = (0..ASSETS).map(|asset| format!("A{asset}")).collect();
    let panel = Panel::from_arrays(PanelKind::Returns, dates, &names, &values).unwrap();
    let text = "[portfolio]\ncost_bps = 5\n[[models]]\nname = \"unequal\"\nplugin = \"equal_weight\"\n";
    let experiment = Experiment::from_toml(text, PathBuf::new(), &[]).unwrap();
    let mut run = Run::new(experiment, panel, &Runtime::new(PluginSearch::folders(Vec::new()), 1).unwrap()).unwrap();
    run.models[1].factory = Box::new(Unequal);
    super::finish(run)
}

#[test]
fn the_error_of_the_gap_is_its_deviation_over_whole_runs() {
    let number = |value: MetricValue| match value {
        MetricValue::Number(value) => value,
        other => panic!("{other:?}"),
    };
    let (mut gaps, mut errors) = (Vec::new(), Vec::new());
    for seed in 0..RUNS {
        let run = run(seed + 1);
        assert_eq!(run.windows.len(), 29);
        let found = scores(&run).unwrap().overfitting[1].clone().unwrap();
        gaps.push(number(found.gap));
        errors.push(number(found.gap_error));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let from_mean = |gap: &f64| (gap - mean(&gaps)).powi(2);
    let deviation = (gaps.iter().map(from_mean).sum::<f64>() / (gaps.len() - 1) as f64).sqrt();
    let ratio = mean(&errors) / deviation;
    println!(
        "{RUNS} runs: mean gap {:.3}, deviation {deviation:.3}, error {:.3}, ratio {ratio:.2}",
        mean(&gaps),
        mean(&errors)
    );
    // 40 runs know the deviation to 11 %.
    assert!((0.65..1.35).contains(&ratio), "{ratio}");
}
