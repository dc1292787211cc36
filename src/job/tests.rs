//! Which rows a model sees in a window, with a model that records them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde_json::Map;

use super::{LoadedModel, ModelWindow, Prepared, decide_window, prepare};
use crate::device::Team;
use crate::error::Result;
use crate::evaluate::Conventions;
use crate::experiment::Experiment;
use crate::model::{Context, Estimator, Factory, Model, Requirements};
use crate::panel::{Panel, PanelKind, Past};
use crate::portfolio::{Constraints, ExecutionModel};
use crate::settings::{Setting, SettingValues};
use crate::train::TrainingContext;
use crate::windows::{first_decision, windows};

/// An equal-weight model that records the rows that it sees.
#[derive(Clone, Default)]
struct Recorder {
    needs_fit: bool,
    /// Rows of the train span and of the validation span.
    fit_rows: Arc<Mutex<Vec<Range<usize>>>>,
    fit_assets: Arc<Mutex<Vec<usize>>>,
    /// Rows of each decision.
    decision_rows: Arc<Mutex<Vec<Range<usize>>>>,
}

impl Factory for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
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

impl Estimator for Recorder {
    fn requirements(&self) -> Requirements {
        Requirements::new(40, 20)
    }

    fn needs_fit(&self) -> bool {
        self.needs_fit
    }

    fn fit(&mut self, train: &Past, validation: Option<&Past>) -> Result<()> {
        *self.fit_assets.lock().unwrap() = train.assets().to_vec();
        self.fit_rows.lock().unwrap().extend([train.rows()].into_iter().chain(validation.map(Past::rows)));
        Ok(())
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        self.decision_rows.lock().unwrap().push(past.rows());
        Ok(vec![1.0 / past.assets().len() as f64; past.assets().len()])
    }
}

/// The decisions of the second window of daily dates from 2020-01-01: train February to April (rows 31 to 120),
/// validation May, test June (rows 152 to 181).
fn decide_all(recorder: &Recorder, lag: usize) -> ModelWindow {
    try_decide(recorder, lag, |panel| panel).unwrap()
}

fn try_decide(recorder: &Recorder, lag: usize, change: impl FnOnce(Panel) -> Panel) -> Result<ModelWindow> {
    let text = "[windows]\ntrain_months = 3\nvalidation_months = 1\ntest_months = 1\nstep_months = 1\n";
    let overrides = [format!("portfolio.execution_lag={lag}"), "portfolio.rebalance=10".to_owned()];
    let experiment = Experiment::from_toml(text, PathBuf::new(), &overrides).unwrap();
    let dates: Vec<Date> = (0..200).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
    let prices: Vec<f64> = (0..400).map(|cell| 100.0 + f64::from(cell).sin()).collect();
    let panel = change(Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices).unwrap());
    let cut = windows(panel.dates(), &experiment.windows).unwrap();
    let schedule =
        experiment.portfolio.schedule(panel.dates(), first_decision(&cut, lag).unwrap(), cut[0].train.rows.clone());
    let window = cut[1].clone();
    assert_eq!((&window.train.rows, &window.test.rows), (&(31..121), &(152..182)));
    let settings = SettingValues::check("", &[], &Map::new()).unwrap();
    let train = experiment.train_settings(None).unwrap();
    let (factory, context) = (Box::new(recorder.clone()), Context::default());
    let model =
        LoadedModel { name: "recorder".into(), seed_name: "recorder".into(), factory, settings, train, context };
    let execution = ExecutionModel::new(Constraints::default(), 0.0, lag);
    let shared = TrainingContext::new(&panel, Arc::new(Team::alone()), Conventions::per_row(), execution);
    let (Prepared::Ready(estimator), fit) = prepare(&experiment, &panel, (&schedule, &window), &model, &shared)? else {
        panic!()
    };
    decide_window(&experiment, &panel, (&schedule, &window), &model, &*estimator, fit)
}

/// Makes asset A a member on the rows `a`, and B on the rows `b`.
fn members(a: Range<usize>, b: Range<usize>) -> impl FnOnce(Panel) -> Panel {
    let mask: Vec<bool> = (0..200).flat_map(|row| [a.contains(&row), b.contains(&row)]).collect();
    move |panel| panel.with_members(&mask).unwrap()
}

#[test]
fn a_window_without_members_is_an_error_before_the_model_is_called() {
    let recorder = Recorder { needs_fit: true, ..Recorder::default() };
    let error = try_decide(&recorder, 0, members(0..31, 152..200)).unwrap_err().to_string();
    assert_eq!(error, "there is nothing to fit: no asset is a member between 2020-02-01 and 2020-05-31");
    assert!(recorder.fit_rows.lock().unwrap().is_empty());
    let error = try_decide(&Recorder::default(), 0, members(0..140, 0..130)).unwrap_err().to_string();
    assert!(error.starts_with("no asset can be held on 2020-05-20: none is a member"), "{error}");
}

#[test]
fn a_single_eligible_asset_is_held_alone_until_another_has_enough_history() {
    let result = try_decide(&Recorder::default(), 0, members(0..200, 0..0)).unwrap();
    assert!(
        result.decisions.get().unwrap().test.iter().all(|decision| decision.target == [1.0, 0.0] && !decision.shown[1])
    );
    // B has its first price on row 140, so 20 returns on row 160.
    let late = |_| {
        let dates: Vec<Date> = (0..200).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
        let price =
            |row: i32| [100.0 + f64::from(row).sin(), if row < 140 { f64::NAN } else { 50.0 + f64::from(row).cos() }];
        let prices: Vec<f64> = (0..200).flat_map(price).collect();
        Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices).unwrap()
    };
    let result = try_decide(&Recorder::default(), 0, late).unwrap();
    let seen: Vec<(usize, bool)> =
        result.decisions.get().unwrap().test.iter().map(|decision| (decision.row, decision.shown[1])).collect();
    assert_eq!(seen, [(151, false), (160, true), (170, true), (180, true)]);
    let test = &result.decisions.get().unwrap().test;
    assert_eq!((&test[0].target, &test[1].target), (&vec![1.0, 0.0], &vec![0.5, 0.5]));
}

const MONTH_BY_MONTH: &str = "[windows]\ntrain_months = 1\nvalidation_months = 1\n";

#[test]
fn an_allocation_fits_as_a_window_whose_first_decision_it_is() {
    let dates: Vec<Date> = (0..60).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
    let prices: Vec<f64> = (0..120).map(|cell| 100.0 + f64::from(cell).sin()).collect();
    let panel = Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices).unwrap();
    let fitted = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&entry| entry.to_owned()).collect();
        let experiment = Experiment::from_toml(MONTH_BY_MONTH, PathBuf::new(), &overrides).unwrap();
        let settings = SettingValues::check("", &[], &Map::new()).unwrap();
        let recorder = Recorder { needs_fit: true, ..Recorder::default() };
        super::allocate(&experiment, &panel, Box::new(recorder.clone()), settings, 50).unwrap();
        recorder.fit_rows.lock().unwrap().clone()
    };
    // Row 50 is 20 February: validation from 21 January, row 20. With a lag the train span ends earlier, and validation
    // is whole, as the lag lies between the decision and what is held.
    assert_eq!(fitted(&[]), [0..20, 20..51]);
    assert_eq!(fitted(&["portfolio.execution_lag=3"]), [0..17, 20..51]);
    assert_eq!(fitted(&["windows.embargo_days=5"]), [0..15, 20..46]);
    let alone = fitted(&["windows.validation_months=0", "portfolio.execution_lag=3"]);
    assert_eq!((alone.len(), &alone[0]), (1, &(20..51)));
}

#[test]
fn an_allocation_fits_on_members_only() {
    let dates: Vec<Date> = (0..60).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
    let prices: Vec<f64> = (0..120).map(|cell| 100.0 + f64::from(cell).sin()).collect();
    let mask: Vec<bool> = (0..60).flat_map(|_| [true, false]).collect();
    let panel = Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices).unwrap();
    let panel = panel.with_members(&mask).unwrap();
    let recorder = Recorder { needs_fit: true, ..Recorder::default() };
    let settings = SettingValues::check("", &[], &Map::new()).unwrap();
    let experiment = Experiment::from_toml(MONTH_BY_MONTH, PathBuf::new(), &[]).unwrap();
    let weights = super::allocate(&experiment, &panel, Box::new(recorder.clone()), settings, 50).unwrap();
    assert_eq!((weights, &*recorder.fit_assets.lock().unwrap()), (vec![1.0, 0.0], &vec![0]));
    let (nobody, recorder) =
        (panel.with_members(&[false; 120]).unwrap(), Recorder { needs_fit: true, ..Recorder::default() });
    let settings = SettingValues::check("", &[], &Map::new()).unwrap();
    assert!(super::allocate(&experiment, &nobody, Box::new(recorder.clone()), settings, 50).is_err());
    assert!(recorder.fit_rows.lock().unwrap().is_empty());
}

#[test]
fn decisions_of_the_train_span_see_only_the_train_span() {
    for (lag, first, last) in [(0, 50, 110), (5, 55, 105)] {
        let recorder = Recorder { needs_fit: true, ..Recorder::default() };
        let result = decide_all(&recorder, lag);
        let train = result.decisions.get().unwrap().train.clone().unwrap();
        // Every tenth row is a decision row, counted from the first decision: row 120, or 115 with a lag of 5. Row 40
        // has only 10 returns in the span. With a lag of 5 the span ends at row 115, and a decision on row 110 would be
        // held from row 116.
        let rows: Vec<usize> = train.iter().map(|decision| decision.row).collect();
        assert_eq!(rows, (first..=last).step_by(10).collect::<Vec<_>>(), "lag {lag}");
        let seen = recorder.decision_rows.lock().unwrap();
        for (row, past) in rows.iter().zip(seen.iter()) {
            assert_eq!(*past, (row + 1).saturating_sub(40).max(31)..row + 1);
        }
        assert_eq!(seen[0], 31..first + 1);
        // Later decisions may look back beyond their span, but never ahead.
        let reaches_back = seen[rows.len()..].iter().any(|past| past.start < 121);
        assert!(reaches_back && seen.len() == result.shown.decisions.len());
        assert!(
            result
                .shown
                .decisions
                .iter()
                .zip(seen.iter())
                .all(|((row, highest), past)| { row == highest && past.end == row + 1 })
        );
        assert_eq!(*recorder.fit_rows.lock().unwrap(), [31..121 - lag, 121..152 - lag]);
    }
}

#[test]
fn a_model_without_a_fit_makes_no_train_decisions() {
    let recorder = Recorder::default();
    let result = decide_all(&recorder, 0);
    assert!(!result.fits && result.decisions.get().unwrap().train.is_none());
    assert!(recorder.decision_rows.lock().unwrap().iter().all(|past| past.end > 120));
}
