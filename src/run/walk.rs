//! The walk: models fitted and asked window by window, each shown copies only; then the books, in order of the rows.

use std::ops::Range;

use rayon::prelude::*;

use super::experiment::Experiment;
use super::score::constrained;
use crate::error::{Code, Error, Result, fail};
use crate::model::{EQUAL_WEIGHT, EqualWeight, Estimator, Factory};
use crate::panel::{Panel, Past};
use crate::plugin::Search;
use crate::portfolio::{Book, Constraints, Path};
use crate::settings::Values;
use crate::windows::{Window, decisions, fit_rows, stitch, windows};

/// What one model of one window was shown, for the integrity record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Highest row of the fit.
    pub fit: usize,
    /// For each decision: its row and the highest row shown.
    pub decisions: Vec<(usize, usize)>,
}

/// What one model made of one window.
#[derive(Clone, Debug)]
pub struct ModelWindow {
    /// Decision rows for the train span, shown nothing from before it, and their targets before constraints; `None`
    /// where the model fits nothing.
    pub train: Option<Vec<(usize, Vec<f64>)>>,
    /// Decision rows for the validation span and their targets before constraints, `[assets]`.
    pub validation: Vec<(usize, Vec<f64>)>,
    /// The same for the test span.
    pub test: Vec<(usize, Vec<f64>)>,
    /// The integrity record.
    pub shown: Shown,
}

/// A model of a run: its name, kind and checked settings.
struct Entry {
    name: String,
    factory: Box<dyn Factory>,
    settings: Values,
}

/// A target that the out-of-sample path held.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The window whose model decided.
    pub window: usize,
    /// The decision row.
    pub row: usize,
    /// Weights after constraints, `[assets]`.
    pub weights: Vec<f64>,
}

/// A walk: prepared, then computed.
pub struct Run {
    /// The experiment.
    pub experiment: Experiment,
    /// The data.
    pub panel: Panel,
    /// The windows.
    pub windows: Vec<Window>,
    /// Test rows that each window contributes to the out-of-sample path.
    pub stitched: Vec<Range<usize>>,
    /// Name, kind, version and effective settings of each model; equal weight comes first.
    pub models: Vec<(String, String, String, serde_json::Value)>,
    /// By model and window.
    pub results: Vec<Vec<ModelWindow>>,
    /// The out-of-sample path of each model.
    pub paths: Vec<Path>,
    /// The targets held on it, by model.
    pub targets: Vec<Vec<Target>>,
    entries: Vec<Entry>,
}

impl Run {
    /// Prepares a run: plugins loaded, settings checked, windows cut. Nothing is computed yet, but what the run will be
    /// is known, so that a run directory can be claimed first.
    ///
    /// # Errors
    /// What settings, data and plugins give.
    pub fn new(experiment: Experiment, panel: Panel, search: &Search) -> Result<Self> {
        let entries = entries(&experiment, search)?;
        let windows = windows(panel.dates(), &experiment.windows)?;
        let stitched = stitch(panel.dates(), &windows);
        let models = entries
            .iter()
            .map(|entry| {
                let factory = &entry.factory;
                (entry.name.clone(), factory.name().to_owned(), factory.version().to_owned(), entry.settings.to_json())
            })
            .collect();
        let (results, paths, targets) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { experiment, panel, windows, stitched, models, results, paths, targets, entries })
    }

    /// Prepares a run of the experiment's own data and computes it.
    ///
    /// # Errors
    /// As [`Run::new`] and [`Run::compute`].
    pub fn execute(experiment: Experiment, search: &Search, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Self> {
        let panel = experiment.panel()?;
        let mut run = Self::new(experiment, panel, search)?;
        run.compute(progress)?;
        Ok(run)
    }

    /// Walks every model through every window; `progress` hears of each finished one (done, of how many).
    ///
    /// # Errors
    /// What data and plugins give, with model, window and date.
    pub fn compute(&mut self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<()> {
        let Self { experiment, panel, windows, entries, .. } = &*self;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(experiment.threads)
            .build()
            .map_err(|error| Error::new(Code::Io, format!("cannot start {} threads: {error}", experiment.threads)))?;
        let units: Vec<(usize, usize)> =
            (0..windows.len()).flat_map(|window| (0..entries.len()).map(move |model| (model, window))).collect();
        let done = std::sync::atomic::AtomicUsize::new(0);
        let outcomes: Vec<Result<ModelWindow>> = pool.install(|| {
            units
                .par_iter()
                .map(|&(model, window)| {
                    let outcome = walk(experiment, panel, &windows[window], &entries[model])
                        .map_err(|error| error.context(format!("model '{}', window {window}", entries[model].name)));
                    progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, units.len());
                    outcome
                })
                .collect()
        });
        let mut results: Vec<Vec<ModelWindow>> = entries.iter().map(|_| Vec::with_capacity(windows.len())).collect();
        for (&(model, _), outcome) in units.iter().zip(outcomes) {
            results[model].push(outcome?);
        }
        self.results = results;
        let mut held = Vec::with_capacity(self.models.len());
        for (model, entry) in self.models.iter().enumerate() {
            let outcome = self.out_of_sample(model);
            held.push(
                outcome.map_err(|error| error.context(format!("the out-of-sample path of model '{}'", entry.0)))?,
            );
        }
        (self.paths, self.targets) = held.into_iter().unzip();
        Ok(())
    }

    /// The path of one model over all windows, and the targets it held.
    fn out_of_sample(&self, model: usize) -> Result<(Path, Vec<Target>)> {
        let lag = self.experiment.execution_lag;
        let cash = || Book::new(self.panel.assets().len(), self.experiment.cost_bps, lag);
        let (mut book, mut path, mut targets) = (cash(), Path::default(), Vec::new());
        for (window, rows) in self.stitched.iter().enumerate() {
            // Where a step longer than the test span leaves a gap, no model holds anything in it: what follows starts
            // in cash.
            if window > 0 && self.stitched[window - 1].end != rows.start {
                book = cash();
            }
            // Decisions of a window that are held only after its contribution ends belong to the next window.
            let held = |row: usize| row + 1 + lag < rows.end;
            let mut due = self.results[model][window].test.iter().filter(|(row, _)| held(*row)).peekable();
            for row in rows.clone() {
                while let Some((decided, target)) = due.next_if(|(decided, _)| decided + 1 + lag <= row) {
                    let (weights, _) = constrained(self, *decided, target)?;
                    book.decide(*decided, weights.clone());
                    targets.push(Target { window, row: *decided, weights });
                }
                book.advance(row, self.held(row), &mut path)?;
            }
        }
        Ok((path, targets))
    }

    fn held(&self, row: usize) -> &[f64] {
        let assets = self.panel.assets().len();
        &self.panel.held_returns()[row * assets..][..assets]
    }
}

fn entries(experiment: &Experiment, search: &Search) -> Result<Vec<Entry>> {
    let benchmark: Box<dyn Factory> = Box::new(EqualWeight);
    let nothing = Values::check(EQUAL_WEIGHT, &[], &serde_json::Map::new())?;
    let mut out = vec![Entry { name: EQUAL_WEIGHT.to_owned(), factory: benchmark, settings: nothing }];
    for model in &experiment.models {
        let factory: Box<dyn Factory> = Box::new(search.load(&model.plugin)?);
        let settings = Values::check(&format!("models.{}.settings", model.name), factory.settings(), &model.settings)?;
        out.push(Entry { name: model.name.clone(), factory, settings });
    }
    Ok(out)
}

/// One model through one window.
fn walk(experiment: &Experiment, panel: &Panel, window: &Window, entry: &Entry) -> Result<ModelWindow> {
    let lag = experiment.execution_lag;
    let mut model = entry.factory.create(&entry.settings)?;
    let train_rows = fit_rows(&window.train.rows, lag);
    let validation_rows = fit_rows(&window.validation.rows, lag);
    if train_rows.is_empty() {
        fail!(
            InvalidData,
            "the train span has {} rows; an execution lag of {lag} leaves none",
            window.train.rows.len()
        );
    }
    let shown_to_fit =
        if validation_rows.is_empty() { train_rows.clone() } else { train_rows.start..validation_rows.end };
    let assets: Vec<usize> = (0..panel.assets().len())
        .filter(|&column| shown_to_fit.clone().any(|row| panel.members(row)[column]))
        .collect();
    let train = panel.past(train_rows.clone(), &assets)?;
    let validation = if validation_rows.is_empty() { None } else { Some(panel.past(validation_rows, &assets)?) };
    model.fit(&train, validation.as_ref())?;
    let dates = panel.dates();
    let due = |row: usize| experiment.rebalance.is_decision(row, dates[row], dates.get(row + 1).copied());
    let mut shown = Shown { fit: shown_to_fit.end - 1, decisions: Vec::new() };
    let mut decide = |rows: Vec<usize>, start: usize| -> Result<Vec<(usize, Vec<f64>)>> {
        rows.into_iter()
            .map(|row| {
                let past = lookback(panel, &*model, start, row)?;
                let highest = past.rows().end - 1;
                if highest > row {
                    fail!(LookAhead, "the decision of {} was shown {}", dates[row], dates[highest]);
                }
                shown.decisions.push((row, highest));
                let mut target = vec![0.0; panel.assets().len()];
                let weights =
                    model.weights(&past).map_err(|error| error.context(format!("the decision of {}", dates[row])))?;
                for (&column, weight) in past.assets().iter().zip(weights) {
                    target[column] = weight;
                }
                Ok((row, target))
            })
            .collect()
    };
    let train = if model.fits() {
        // Inputs lie in the train span too, so in its first rows no asset may have enough history.
        let rows = train_rows.clone().filter(|&row| {
            row + 1 + lag < train_rows.end && due(row) && !eligible(panel, &*model, train_rows.start, row).is_empty()
        });
        Some(decide(rows.collect(), train_rows.start)?)
    } else {
        None
    };
    let validation = decide(decisions(window.validation.rows.clone(), lag, due)?, 0)?;
    let test = decide(decisions(window.test.rows.clone(), lag, due)?, 0)?;
    // Nothing after the first test decision's row may have chosen the model.
    if let Some((first, _)) = test.first().filter(|(first, _)| shown.fit > *first) {
        fail!(LookAhead, "the fit was shown {}, after the first test decision of {}", dates[shown.fit], dates[*first]);
    }
    Ok(ModelWindow { train, validation, test, shown })
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

/// One fit on everything known at `row`, and one allocation there, `[assets]`.
///
/// # Errors
/// What settings, data and the plugin give.
pub fn allocate(
    panel: &Panel,
    factory: &dyn Factory,
    settings: &Values,
    constraints: Constraints,
    row: usize,
) -> Result<Vec<f64>> {
    let mut model = factory.create(settings)?;
    let everything: Vec<usize> = (0..panel.assets().len()).collect();
    model.fit(&panel.past(0..row + 1, &everything)?, None)?;
    let past = lookback(panel, &*model, 0, row)?;
    let mut target = vec![0.0; panel.assets().len()];
    for (&column, weight) in past.assets().iter().zip(model.weights(&past)?) {
        target[column] = weight;
    }
    constraints.apply(&mut target, panel.members(row))?;
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

    use super::{Entry, walk};
    use crate::error::Result;
    use crate::model::{Estimator, Factory, Requirements};
    use crate::panel::{Kind, Panel, Past};
    use crate::run::Experiment;
    use crate::settings::{Setting, Values};
    use crate::windows::windows;

    /// A model that writes down which rows it was shown, and weighs everything alike.
    #[derive(Clone, Default)]
    struct Witness {
        fits: bool,
        fitted: Arc<Mutex<Vec<Range<usize>>>>,
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

        fn create(&self, _settings: &Values) -> Result<Box<dyn Estimator>> {
            Ok(Box::new(self.clone()))
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
        let text = "[windows]\ntrain_months = 3\nvalidation_months = 1\ntest_months = 1\nstep_months = 1\n";
        let overrides = [format!("portfolio.execution_lag={lag}"), "portfolio.rebalance=10".to_owned()];
        let experiment = Experiment::from_toml(text, PathBuf::new(), &overrides).unwrap();
        let dates: Vec<Date> = (0..200).map(|day| date(2020, 1, 1).checked_add(day.days()).unwrap()).collect();
        let prices: Vec<f64> = (0..400).map(|cell| 100.0 + f64::from(cell).sin()).collect();
        let panel = Panel::from_arrays(Kind::Prices, dates, &["A".into(), "B".into()], &prices).unwrap();
        let window = windows(panel.dates(), &experiment.windows).unwrap()[1].clone();
        assert_eq!((&window.train.rows, &window.test.rows), (&(31..121), &(152..182)));
        let settings = Values::check("", &[], &Map::new()).unwrap();
        let entry = Entry { name: "witness".into(), factory: Box::new(witness.clone()), settings };
        walk(&experiment, &panel, &window, &entry).unwrap()
    }

    #[test]
    fn decisions_over_the_train_span_see_the_train_span_alone() {
        for (lag, last) in [(0, 110), (5, 100)] {
            let witness = Witness { fits: true, ..Witness::default() };
            let walked = walked(&witness, lag);
            let train = walked.train.unwrap();
            // Every tenth row is a decision row; row 40 has 10 returns in the span, too few. With a lag of 5 the span
            // ends at row 115, and what is decided on row 110 would be held from row 116.
            let rows: Vec<usize> = train.iter().map(|(row, _)| *row).collect();
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
