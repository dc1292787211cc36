//! One model through one window: fitted on copies of its spans, then asked at each decision row with a copy that ends
//! there.

use std::ops::Range;

use crate::error::{Error, Result, fail};
use crate::experiment::Experiment;
use crate::model::{Context, Estimator, Factory, Model};
use crate::panel::{Panel, Past};
use crate::portfolio::{ConstraintContext, Decision};
use crate::settings::SettingValues;
use crate::train::{TrainSettings, Trainer, Training};
use crate::windows::{Window, decisions, fit_rows};
mod runtime;
mod training;

pub use runtime::Runtime;
use training::{TrainingContext, train_to_end, trainer};

/// What a step says whose caller set the cancel flag.
pub(crate) const CANCELLED: &str = "the run was cancelled; further steps go on with it";

/// What one model of one window was shown, for the integrity record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrityRecord {
    /// Highest row of the fit.
    pub fit: usize,
    /// For each decision: its row and the highest row shown.
    pub decisions: Vec<(usize, usize)>,
}

/// What one model made of one window.
#[derive(Clone, Debug)]
pub struct ModelWindow {
    /// Decisions for the train span, shown nothing from before it; `None` where the model fits nothing.
    pub train: Option<Vec<Decision>>,
    /// Decisions for the validation span.
    pub validation: Vec<Decision>,
    /// Decisions for the test span.
    pub test: Vec<Decision>,
    /// The integrity record.
    pub shown: IntegrityRecord,
    /// How a network was trained.
    pub training: Option<Training>,
}

/// A model of a run: its name, kind and checked settings.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) factory: Box<dyn Factory>,
    pub(crate) settings: SettingValues,
    /// Of a network.
    pub(crate) train: TrainSettings,
    pub(crate) context: Context,
}

/// A model on its way through a window.
pub(crate) enum Prepared {
    /// It can decide.
    Ready(Box<dyn Estimator>),
    /// It is being trained.
    Training(Box<Trainer>),
}

/// A model of a window, made and fitted or ready to be trained; and the highest row that it is shown for that.
pub(crate) fn begin(
    experiment: &Experiment,
    panel: &Panel,
    window: &Window,
    entry: &Entry,
) -> Result<(Prepared, usize)> {
    let lag = experiment.rules.execution_lag;
    let place = |error: Error| error.context(format!("the model trained from {}", window.train.start));
    let model = entry.factory.create(&entry.settings, &entry.context).map_err(place)?;
    let train_rows = fit_rows(&window.train.rows, lag);
    let validation_rows = fit_rows(&window.validation.rows, lag);
    if train_rows.is_empty() {
        fail!(
            InvalidData,
            "the train span has {} rows; an execution lag of {lag} leaves none",
            window.train.rows.len()
        );
    }
    let shown = if validation_rows.is_empty() { train_rows.clone() } else { train_rows.start..validation_rows.end };
    let work = match model {
        Model::Estimator(mut model) => {
            if model.fits() {
                let assets = members_of(panel, shown.clone())?;
                let train = panel.past(train_rows, &assets)?;
                let validation =
                    if validation_rows.is_empty() { None } else { Some(panel.past(validation_rows, &assets)?) };
                model.fit(&train, validation.as_ref()).map_err(place)?;
            }
            Prepared::Ready(model)
        }
        Model::Network(network) => {
            members_of(panel, shown.clone())?;
            let setting = TrainingContext {
                rules: &experiment.rules,
                embargo_days: experiment.windows.embargo_days,
                seed: experiment.seed,
            };
            Prepared::Training(Box::new(trainer(panel, window, network, &entry.train, &setting).map_err(place)?))
        }
    };
    Ok((work, shown.end - 1))
}

/// A model fitted on a window's train and validation spans.
pub(crate) fn fitted(
    experiment: &Experiment,
    panel: &Panel,
    window: &Window,
    entry: &Entry,
) -> Result<Box<dyn Estimator>> {
    match begin(experiment, panel, window, entry)?.0 {
        Prepared::Ready(model) => Ok(model),
        Prepared::Training(mut trainer) => {
            train_to_end(&mut trainer, entry)
                .map_err(|error| error.context(format!("the model trained from {}", window.train.start)))?;
            Ok(Box::new(trainer.finish().0))
        }
    }
}

/// The decisions of a fitted model in every span of a window; `fit` is the highest row that its fit was shown.
pub(crate) fn decided(
    experiment: &Experiment,
    panel: &Panel,
    window: &Window,
    entry: &Entry,
    model: &dyn Estimator,
    fit: usize,
) -> Result<ModelWindow> {
    let lag = experiment.rules.execution_lag;
    let dates = panel.dates();
    let due = |row: usize| experiment.rules.rebalance.is_decision(row, dates[row], dates.get(row + 1).copied());
    let mut shown = IntegrityRecord { fit, decisions: Vec::new() };
    let mut decide = |rows: Vec<usize>, start: usize| -> Result<Vec<Decision>> {
        rows.into_iter()
            .map(|row| {
                if entry.context.cancelled() {
                    fail!(Cancelled, "{CANCELLED}");
                }
                let (decision, highest) = decide(panel, model, start, row)?;
                shown.decisions.push((row, highest));
                Ok(decision)
            })
            .collect()
    };
    let train = if model.fits() {
        let rows = fit_rows(&window.train.rows, lag);
        // Inputs lie in the train span too, so in its first rows no asset may have enough history.
        let rows = rows.clone().filter(|&row| {
            row + 1 + lag < rows.end && due(row) && model.can_weigh(&eligible(panel, model, rows.start, row))
        });
        Some(decide(rows.collect(), window.train.rows.start)?)
    } else {
        None
    };
    let validation = decide(decisions(window.validation.rows.clone(), lag, due)?, 0)?;
    let test = decide(decisions(window.test.rows.clone(), lag, due)?, 0)?;
    // Nothing after the first test decision's row may have chosen the model.
    if let Some(first) = test.first().filter(|first| shown.fit > first.row) {
        fail!(
            LookAhead,
            "the fit was shown {}, after the first test decision of {}",
            dates[shown.fit],
            dates[first.row]
        );
    }
    Ok(ModelWindow { train, validation, test, shown, training: None })
}

/// The columns that are a member on at least one of `rows`; there must be one, as a model of nothing cannot be fitted.
fn members_of(panel: &Panel, rows: Range<usize>) -> Result<Vec<usize>> {
    let member = |column: &usize| rows.clone().any(|row| panel.members(row)[*column]);
    let out: Vec<usize> = (0..panel.assets().len()).filter(member).collect();
    if out.is_empty() {
        let (first, last) = (panel.dates()[rows.start], panel.dates()[rows.end - 1]);
        fail!(InvalidData, "there is nothing to fit: no asset is a member between {first} and {last}");
    }
    Ok(out)
}

/// One decision, from a lookback that starts at `start` at the earliest; and the highest row that the model was shown.
pub(crate) fn decide(panel: &Panel, model: &dyn Estimator, start: usize, row: usize) -> Result<(Decision, usize)> {
    let date = panel.dates()[row];
    let past = lookback(panel, model, start, row)?;
    let highest = past.rows().end - 1;
    if highest > row {
        fail!(LookAhead, "the decision of {date} was shown {}", panel.dates()[highest]);
    }
    let place = |error: Error| error.context(format!("the decision of {date}"));
    let weights = model.weights(&past).map_err(place)?;
    let scores = model.scores(&past).map_err(place)?;
    let assets = panel.assets().len();
    let spread = |values: &[f64], empty: f64| {
        let mut out = vec![empty; assets];
        past.assets().iter().zip(values).for_each(|(&column, value)| out[column] = *value);
        out
    };
    let mut shown = vec![false; assets];
    past.assets().iter().for_each(|&column| shown[column] = true);
    let scores = scores.map(|scores| spread(&scores, f64::NAN));
    Ok((Decision { row, target: spread(&weights, 0.0), shown, scores }, highest))
}

/// What a model is shown at a decision: its lookback, from row `start` on, of the assets it may weigh.
fn lookback(panel: &Panel, model: &dyn Estimator, start: usize, row: usize) -> Result<Past> {
    let needs = model.requirements();
    let assets = eligible(panel, model, start, row);
    let rows = lookback_rows(needs.lookback, start, row);
    if assets.is_empty() {
        fail!(
            InvalidData,
            "no asset can be weighed on {}: none is a member with {} finite returns in the {} rows up to it",
            panel.dates()[row],
            needs.min_history,
            rows.len()
        );
    }
    panel.past(rows, &assets)
}

/// The columns that a model may weigh at `row`.
fn eligible(panel: &Panel, model: &dyn Estimator, start: usize, row: usize) -> Vec<usize> {
    let needs = model.requirements();
    panel.eligible(lookback_rows(needs.lookback, start, row), needs.min_history)
}

fn lookback_rows(lookback: usize, start: usize, row: usize) -> Range<usize> {
    (row + 1).saturating_sub(lookback).max(start)..row + 1
}

/// One fit on what is known at `row`, and one allocation there from cash, `[assets]`. An estimator is fitted on all rows; a
/// network is trained as in a window that ends there: its validation span is the last `validation_months`, its train span the
/// `train_months` before.
///
/// # Errors
/// What settings, data and the plugin give.
pub fn allocate(
    experiment: &Experiment,
    panel: &Panel,
    factory: Box<dyn Factory>,
    settings: SettingValues,
    row: usize,
) -> Result<Vec<f64>> {
    let train = experiment.train_settings(None)?;
    let entry = Entry { name: factory.name().to_owned(), factory, settings, train, context: Context::default() };
    let model: Box<dyn Estimator> = match entry.factory.create(&entry.settings, &entry.context)? {
        Model::Estimator(mut model) => {
            if model.fits() {
                model.fit(&panel.past(0..row + 1, &members_of(panel, 0..row + 1)?)?, None)?;
            }
            model
        }
        Model::Network(_) => {
            let known = panel.part(0..row + 1);
            let window = Window::before(known.dates(), &experiment.windows)?;
            fitted(experiment, &known, &window, &entry)?
        }
    };
    let (Decision { mut target, shown, scores, .. }, _) = decide(panel, &*model, 0, row)?;
    let cash = vec![0.0; target.len()];
    let known = ConstraintContext {
        members: panel.members(row),
        shown: &shown,
        scores: scores.as_deref(),
        before: cash.as_slice(),
    };
    experiment.rules.constraints(panel.assets())?.apply(&mut target, &known)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use jiff::ToSpan;
    use jiff::civil::{Date, date};
    use serde_json::Map;

    use super::{Entry, Prepared, begin, decided};
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

        fn fits(&self) -> bool {
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
    fn walked(witness: &Witness, lag: usize) -> super::ModelWindow {
        tried(witness, lag, |panel| panel).unwrap()
    }

    fn tried(witness: &Witness, lag: usize, change: impl FnOnce(Panel) -> Panel) -> Result<super::ModelWindow> {
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
        let entry = Entry { name: "witness".into(), factory, settings, train, context };
        let (Prepared::Ready(model), fit) = begin(&experiment, &panel, &window, &entry)? else { panic!() };
        decided(&experiment, &panel, &window, &entry, &*model, fit)
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
        assert!(error.starts_with("no asset can be weighed on 2020-05-20: none is a member"), "{error}");
    }

    #[test]
    fn a_window_of_one_asset_holds_it_alone_and_a_member_without_history_waits() {
        let walked = tried(&Witness::default(), 0, members(0..200, 0..0)).unwrap();
        assert!(walked.test.iter().all(|decision| decision.target == [1.0, 0.0] && !decision.shown[1]));
        // B has its first price in row 140: 20 returns by row 160.
        let late = |_| {
            let dates: Vec<Date> = (0..200).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
            let price = |row: i32| {
                [100.0 + f64::from(row).sin(), if row < 140 { f64::NAN } else { 50.0 + f64::from(row).cos() }]
            };
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
        let (nobody, witness) =
            (panel.with_members(&[false; 120]).unwrap(), Witness { fits: true, ..Witness::default() });
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
}
