//! What a model is shown in a window, by a model that records it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde_json::Map;

use super::{LoadedModel, ModelWindow, Prepared, decide_window, prepare};
use crate::error::Result;
use crate::experiment::Experiment;
use crate::model::{Context, Estimator, Factory, Model, Requirements};
use crate::panel::{Panel, PanelKind, Past};
use crate::settings::{Setting, SettingValues};
use crate::windows::windows;

/// A model that writes down which rows it was shown, and weighs everything alike.
#[derive(Clone, Default)]
struct Witness {
    fits: bool,
    fitted: Arc<Mutex<Vec<Range<usize>>>>,
    fitted_on: Arc<Mutex<Vec<usize>>>,
    asked: Arc<Mutex<Vec<Range<usize>>>>,
}

impl Factory for Witness {
    fn name(&self) -> &'static str {
        "witness"
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

impl Estimator for Witness {
    fn requirements(&self) -> Requirements {
        Requirements { lookback: 40, min_history: 20 }
    }

    fn needs_fit(&self) -> bool {
        self.fits
    }

    fn fit(&mut self, train: &Past, validation: Option<&Past>) -> Result<()> {
        *self.fitted_on.lock().unwrap() = train.assets().to_vec();
        self.fitted.lock().unwrap().extend([train.rows()].into_iter().chain(validation.map(Past::rows)));
        Ok(())
    }

    fn weights(&self, past: &Past) -> Result<Vec<f64>> {
        self.asked.lock().unwrap().push(past.rows());
        Ok(vec![1.0 / past.assets().len() as f64; past.assets().len()])
    }
}

/// The second window of daily dates from 2020-01-01: train February to April (rows 31 to 120), validation May, test
/// June (rows 152 to 181).
fn walked(witness: &Witness, lag: usize) -> ModelWindow {
    tried(witness, lag, |panel| panel).unwrap()
}

fn tried(witness: &Witness, lag: usize, change: impl FnOnce(Panel) -> Panel) -> Result<ModelWindow> {
    let text = "[windows]\ntrain_months = 3\nvalidation_months = 1\ntest_months = 1\nstep_months = 1\n";
    let overrides = [format!("portfolio.execution_lag={lag}"), "portfolio.rebalance=10".to_owned()];
    let experiment = Experiment::from_toml(text, PathBuf::new(), &overrides).unwrap();
    let dates: Vec<Date> = (0..200).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
    let prices: Vec<f64> = (0..400).map(|cell| 100.0 + f64::from(cell).sin()).collect();
    let panel = change(Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices).unwrap());
    let window = windows(panel.dates(), &experiment.windows).unwrap()[1].clone();
    assert_eq!((&window.train.rows, &window.test.rows), (&(31..121), &(152..182)));
    let settings = SettingValues::check("", &[], &Map::new()).unwrap();
    let train = experiment.train_settings(None).unwrap();
    let (factory, context) = (Box::new(witness.clone()), Context::default());
    let entry = LoadedModel { name: "witness".into(), factory, settings, train, context };
    let (Prepared::Ready(model), fit) = prepare(&experiment, &panel, &window, &entry)? else { panic!() };
    decide_window(&experiment, &panel, &window, &entry, &*model, fit)
}

/// Two assets that are members on the rows given.
fn members(a: Range<usize>, b: Range<usize>) -> impl FnOnce(Panel) -> Panel {
    let mask: Vec<bool> = (0..200).flat_map(|row| [a.contains(&row), b.contains(&row)]).collect();
    move |panel| panel.with_members(&mask).unwrap()
}

#[test]
fn a_window_without_members_is_told_before_a_model_is_asked() {
    let fits = Witness { fits: true, ..Witness::default() };
    let error = tried(&fits, 0, members(0..31, 152..200)).unwrap_err().to_string();
    assert_eq!(error, "there is nothing to fit: no asset is a member between 2020-02-01 and 2020-05-31");
    assert!(fits.fitted.lock().unwrap().is_empty());
    let error = tried(&Witness::default(), 0, members(0..140, 0..130)).unwrap_err().to_string();
    assert!(error.starts_with("no asset can be held on 2020-05-20: none is a member"), "{error}");
}

#[test]
fn a_window_of_one_asset_holds_it_alone_and_a_member_without_history_waits() {
    let walked = tried(&Witness::default(), 0, members(0..200, 0..0)).unwrap();
    assert!(walked.test.iter().all(|decision| decision.target == [1.0, 0.0] && !decision.shown[1]));
    // B has its first price in row 140: 20 returns by row 160.
    let late = |_| {
        let dates: Vec<Date> = (0..200).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
        let price =
            |row: i32| [100.0 + f64::from(row).sin(), if row < 140 { f64::NAN } else { 50.0 + f64::from(row).cos() }];
        let prices: Vec<f64> = (0..200).flat_map(price).collect();
        Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices).unwrap()
    };
    let walked = tried(&Witness::default(), 0, late).unwrap();
    let seen: Vec<(usize, bool)> = walked.test.iter().map(|decision| (decision.row, decision.shown[1])).collect();
    assert_eq!(seen, [(151, false), (160, true), (170, true), (180, true)]);
    assert_eq!((&walked.test[0].target, &walked.test[1].target), (&vec![1.0, 0.0], &vec![0.5, 0.5]));
}

#[test]
fn one_allocation_fits_on_members_alone_as_a_walk_does() {
    let dates: Vec<Date> = (0..60).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
    let prices: Vec<f64> = (0..120).map(|cell| 100.0 + f64::from(cell).sin()).collect();
    let mask: Vec<bool> = (0..60).flat_map(|_| [true, false]).collect();
    let panel = Panel::from_arrays(PanelKind::Prices, dates, &["A".into(), "B".into()], &prices).unwrap();
    let panel = panel.with_members(&mask).unwrap();
    let witness = Witness { fits: true, ..Witness::default() };
    let settings = SettingValues::check("", &[], &Map::new()).unwrap();
    let experiment = Experiment::from_toml("", PathBuf::new(), &[]).unwrap();
    let weights = super::allocate(&experiment, &panel, Box::new(witness.clone()), settings, 50).unwrap();
    assert_eq!((weights, &*witness.fitted_on.lock().unwrap()), (vec![1.0, 0.0], &vec![0]));
    let (nobody, witness) = (panel.with_members(&[false; 120]).unwrap(), Witness { fits: true, ..Witness::default() });
    let settings = SettingValues::check("", &[], &Map::new()).unwrap();
    assert!(super::allocate(&experiment, &nobody, Box::new(witness.clone()), settings, 50).is_err());
    assert!(witness.fitted.lock().unwrap().is_empty());
}

#[test]
fn decisions_over_the_train_span_see_the_train_span_alone() {
    for (lag, last) in [(0, 110), (5, 100)] {
        let witness = Witness { fits: true, ..Witness::default() };
        let walked = walked(&witness, lag);
        let train = walked.train.unwrap();
        // Every tenth row is a decision row; row 40 has 10 returns in the span, too few. With a lag of 5 the span
        // ends at row 115, and what is decided on row 110 would be held from row 116.
        let rows: Vec<usize> = train.iter().map(|decision| decision.row).collect();
        assert_eq!(rows, (50..=last).step_by(10).collect::<Vec<_>>(), "lag {lag}");
        let asked = witness.asked.lock().unwrap();
        for (row, past) in rows.iter().zip(asked.iter()) {
            assert_eq!(*past, (row + 1).saturating_sub(40).max(31)..row + 1);
        }
        assert_eq!(asked[0], 31..51);
        // Later decisions may look back beyond their span, and never forward.
        let reaches_back = asked[rows.len()..].iter().any(|past| past.start < 121);
        assert!(reaches_back && asked.len() == walked.shown.decisions.len());
        assert!(
            walked
                .shown
                .decisions
                .iter()
                .zip(asked.iter())
                .all(|((row, highest), past)| { row == highest && past.end == row + 1 })
        );
        assert_eq!(*witness.fitted.lock().unwrap(), [31..121 - lag, 121..152 - lag]);
    }
}

#[test]
fn no_time_is_spent_on_the_train_span_of_a_model_that_fits_nothing() {
    let witness = Witness::default();
    assert!(walked(&witness, 0).train.is_none());
    assert!(witness.asked.lock().unwrap().iter().all(|past| past.end > 120));
}
