//! The walk: models fitted and asked window by window, each shown copies only; then the books, in order of the rows.

use std::ops::Range;

use rayon::prelude::*;

use super::experiment::Experiment;
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

/// A finished walk.
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
}

impl Run {
    /// Walks every model through every window; `progress` hears of each finished one (done, of how many).
    ///
    /// # Errors
    /// What settings, data and plugins give, with model, window and date.
    pub fn execute(experiment: Experiment, search: &Search, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Self> {
        let entries = entries(&experiment, search)?;
        let panel = experiment.panel()?;
        let windows = windows(panel.dates(), &experiment.windows)?;
        let stitched = stitch(panel.dates(), &windows);
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
                    let outcome = walk(&experiment, &panel, &windows[window], &entries[model])
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
        let models = entries
            .iter()
            .map(|entry| {
                let factory = &entry.factory;
                (entry.name.clone(), factory.name().to_owned(), factory.version().to_owned(), entry.settings.to_json())
            })
            .collect();
        let mut run =
            Self { experiment, panel, windows, stitched, models, results, paths: Vec::new(), targets: Vec::new() };
        for model in 0..run.models.len() {
            let (path, targets) = run
                .out_of_sample(model)
                .map_err(|error| error.context(format!("the out-of-sample path of model '{}'", run.models[model].0)))?;
            run.paths.push(path);
            run.targets.push(targets);
        }
        Ok(run)
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
                    let weights = self.constrained(*decided, target)?;
                    book.decide(*decided, weights.clone());
                    targets.push(Target { window, row: *decided, weights });
                }
                book.advance(row, self.held(row), &mut path)?;
            }
        }
        Ok((path, targets))
    }

    /// The path of targets from cash over `rows`: how validation and test spans of a window are scored.
    pub(super) fn score_path(&self, decided: &[(usize, Vec<f64>)], rows: Range<usize>) -> Result<Path> {
        let lag = self.experiment.execution_lag;
        let mut book = Book::new(self.panel.assets().len(), self.experiment.cost_bps, lag);
        let mut path = Path::default();
        for (row, target) in decided.iter().filter(|(row, _)| row + 1 + lag < rows.end) {
            book.decide(*row, self.constrained(*row, target)?);
        }
        for row in rows {
            book.advance(row, self.held(row), &mut path)?;
        }
        Ok(path)
    }

    fn constrained(&self, row: usize, target: &[f64]) -> Result<Vec<f64>> {
        let mut target = target.to_vec();
        let constraints = Constraints { max_weight: self.experiment.max_weight };
        constraints
            .apply(&mut target, self.panel.members(row))
            .map_err(|error| error.context(format!("the decision of {}", self.panel.dates()[row])))?;
        Ok(target)
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
    let train = panel.past(train_rows, &assets)?;
    let validation = if validation_rows.is_empty() { None } else { Some(panel.past(validation_rows, &assets)?) };
    model.fit(&train, validation.as_ref())?;
    let dates = panel.dates();
    let due = |row: usize| experiment.rebalance.is_decision(row, dates[row], dates.get(row + 1).copied());
    let mut shown = Shown { fit: shown_to_fit.end - 1, decisions: Vec::new() };
    let mut decide = |rows: Range<usize>| -> Result<Vec<(usize, Vec<f64>)>> {
        decisions(rows, lag, due)?
            .into_iter()
            .map(|row| {
                let past = lookback(panel, &*model, row)?;
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
    let validation = decide(window.validation.rows.clone())?;
    let test = decide(window.test.rows.clone())?;
    // Nothing after the first test decision's row may have chosen the model.
    if let Some((first, _)) = test.first().filter(|(first, _)| shown.fit > *first) {
        fail!(LookAhead, "the fit was shown {}, after the first test decision of {}", dates[shown.fit], dates[*first]);
    }
    Ok(ModelWindow { validation, test, shown })
}

/// What a model is shown at a decision: its lookback of the assets it may weigh.
fn lookback(panel: &Panel, model: &dyn Estimator, row: usize) -> Result<Past> {
    let needs = model.requirements();
    let rows = (row + 1).saturating_sub(needs.lookback)..row + 1;
    let assets = panel.eligible(rows.clone(), needs.min_history);
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
    let past = lookback(panel, &*model, row)?;
    let mut target = vec![0.0; panel.assets().len()];
    for (&column, weight) in past.assets().iter().zip(model.weights(&past)?) {
        target[column] = weight;
    }
    constraints.apply(&mut target, panel.members(row))?;
    Ok(target)
}
