//! The walk: models fitted and asked window by window, each shown copies only; then the books, in order of the rows.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Runtime;
use super::experiment::Experiment;
use super::score::values;
use crate::error::{Code, Error, Result, fail};
use crate::evaluate::{METRICS, Value};
use crate::model::{Context, EQUAL_WEIGHT, EqualWeight, Estimator, Factory};
use crate::panel::{Panel, Past};
use crate::portfolio::{Book, Constraints, Path};
use crate::settings::Values;
use crate::windows::{Window, decisions, fit_rows, stitch, windows};

const CANCELLED: &str = "the run was cancelled; further steps go on with it";

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
    context: Context,
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

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Windows that are finished for every model.
    pub done: usize,
    /// Windows in all.
    pub windows: usize,
}

/// A walk, stepped by its caller; results are there for the windows that are done.
pub struct Run {
    /// The experiment.
    pub experiment: Experiment,
    /// The data.
    pub panel: Panel,
    /// The windows.
    pub windows: Vec<Window>,
    /// Test rows that each window contributes to the out-of-sample path.
    pub stitched: Vec<Range<usize>>,
    /// By model and window.
    pub results: Vec<Vec<ModelWindow>>,
    /// The out-of-sample path of each model.
    pub paths: Vec<Path>,
    /// The targets held on it, by model.
    pub targets: Vec<Vec<Target>>,
    entries: Vec<Entry>,
    books: Vec<Book>,
    runtime: Runtime,
    cancel: Arc<AtomicBool>,
}

impl Run {
    /// Prepares a run: plugins loaded, settings checked, windows cut. Nothing is computed yet.
    ///
    /// # Errors
    /// What settings, data and plugins give.
    pub fn new(experiment: Experiment, panel: Panel, runtime: &Runtime) -> Result<Self> {
        let cancel = Arc::new(AtomicBool::new(false));
        let entries = entries(&experiment, runtime, &cancel)?;
        let windows = windows(panel.dates(), &experiment.windows)?;
        let stitched = stitch(panel.dates(), &windows);
        let book = Book::new(panel.assets().len(), experiment.cost_bps, experiment.execution_lag);
        let models = entries.len();
        Ok(Self {
            experiment,
            panel,
            windows,
            stitched,
            results: vec![Vec::new(); models],
            paths: vec![Path::default(); models],
            targets: vec![Vec::new(); models],
            books: vec![book; models],
            entries,
            runtime: runtime.clone(),
            cancel,
        })
    }

    /// How far the run is.
    pub fn progress(&self) -> Progress {
        Progress { done: self.results[0].len(), windows: self.windows.len() }
    }

    /// The target of a model on the out-of-sample path that was decided at `row`; `None` where no rebalance is due.
    ///
    /// # Errors
    /// `NotReady` where the window that decides there is still to be computed; `InvalidArgument` beyond the panel.
    pub fn target(&self, model: usize, row: usize) -> Result<Option<&Target>> {
        let rows = self.panel.dates().len();
        if row >= rows {
            fail!(InvalidArgument, "row {row} of a panel with {rows} rows");
        }
        let lag = self.experiment.execution_lag;
        let Progress { done, .. } = self.progress();
        if let Some(next) = self.stitched.get(done)
            && row + 1 + lag >= next.start
        {
            fail!(NotReady, "window {done}, which decides from row {}, is still to be computed", next.start - 1 - lag);
        }
        let targets = &self.targets[model];
        Ok(targets.binary_search_by_key(&row, |target| target.row).ok().map(|place| &targets[place]))
    }

    /// A metric of a model's out-of-sample path so far, by its name in the table; the benchmark is equal weight.
    ///
    /// # Errors
    /// `InvalidArgument` where the table has no such metric.
    pub fn metric(&self, model: usize, name: &str) -> Result<Value> {
        let known = || METRICS.iter().map(|metric| metric.name);
        if !known().any(|metric| metric == name) {
            fail!(InvalidArgument, "metric '{name}' is unknown; known are {}", known().collect::<Vec<_>>().join(", "));
        }
        let found = values(&self.panel, &self.paths[model], &self.paths[0]).into_iter();
        let none = Value::Undefined("there are no returns");
        Ok(found.into_iter().find(|(metric, _)| metric.name == name).map_or(none, |(_, value)| value))
    }

    /// The threads it computes with: those of the runtime, or fewer where the experiment says so.
    pub fn threads(&self) -> usize {
        let most = self.runtime.parallel.threads();
        if self.experiment.threads == 0 { most } else { most.min(self.experiment.threads) }
    }

    /// Where to set that the work should stop: the step that is under way, or the next one, then gives `Cancelled`.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// Name, kind, version and effective settings of each model; equal weight comes first.
    pub fn models(&self) -> impl Iterator<Item = (&str, &dyn Factory, &Values)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), &*entry.factory, &entry.settings))
    }

    /// Computes the next windows, one a thread, and extends the out-of-sample paths over them. How many windows a step
    /// takes changes no result. After an error the same windows are tried again by the next step.
    ///
    /// # Errors
    /// What data and plugins give, with model, window and date; `Cancelled` once for each wish to stop.
    pub fn step(&mut self) -> Result<Progress> {
        let outcome = self.advance();
        if outcome.as_ref().is_err_and(|error| error.code() == Code::Cancelled) {
            self.cancel.store(false, Ordering::Relaxed);
        }
        outcome
    }

    fn advance(&mut self) -> Result<Progress> {
        if self.cancel.load(Ordering::Relaxed) {
            fail!(Cancelled, "{CANCELLED}");
        }
        let Progress { done, windows } = self.progress();
        let next = done..windows.min(done + self.threads());
        let units: Vec<(usize, usize)> =
            next.clone().flat_map(|window| (0..self.entries.len()).map(move |model| (window, model))).collect();
        let outcomes = self.each(units.len(), |unit| {
            let (window, model) = units[unit];
            let entry = &self.entries[model];
            walk(&self.experiment, &self.panel, &self.windows[window], entry)
                .map_err(|error| error.context(format!("model '{}', window {window}", entry.name)))
        })?;
        // The books move only when every model has come through the window.
        for (at, results) in outcomes.chunks_exact(self.entries.len()).enumerate() {
            let window = next.start + at;
            let mut moved = Vec::with_capacity(results.len());
            for (model, result) in results.iter().enumerate() {
                moved.push(self.hold(model, window, result).map_err(|error| {
                    error.context(format!("the path of model '{}', window {window}", self.entries[model].name))
                })?);
            }
            for (model, ((book, path, targets), result)) in moved.into_iter().zip(results).enumerate() {
                self.books[model] = book;
                self.paths[model].append(path);
                self.targets[model].extend(targets);
                self.results[model].push(result.clone());
            }
        }
        Ok(self.progress())
    }

    /// Computes `unit` for each of `0..count` on the threads of this run; the error of the first unit that has one.
    fn each<T: Send>(&self, count: usize, unit: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
        let slots: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        self.runtime.parallel.for_each(self.threads().min(count), &|_| {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(slot) = slots.get(place) else { break };
                let outcome = unit(place);
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            }
        });
        let missing = || Err(Error::new(Code::Internal, "the parallel_for of the runtime left out a task"));
        let outcome = |slot: Mutex<Option<Result<T>>>| {
            slot.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(missing)
        };
        slots.into_iter().map(outcome).collect()
    }

    /// The books of one model after one more window, the path over it and the targets held.
    fn hold(&self, model: usize, window: usize, result: &ModelWindow) -> Result<(Book, Path, Vec<Target>)> {
        let lag = self.experiment.execution_lag;
        let rows = &self.stitched[window];
        // Where a step longer than the test span leaves a gap, no model holds anything in it: what follows starts in
        // cash.
        let follows = window > 0 && self.stitched[window - 1].end == rows.start;
        let mut book = if follows {
            self.books[model].clone()
        } else {
            Book::new(self.panel.assets().len(), self.experiment.cost_bps, lag)
        };
        let (mut path, mut targets) = (Path::default(), Vec::new());
        // A decision that is first held after the window's contribution belongs to the next window.
        for (row, target) in result.test.iter().filter(|(row, _)| row + 1 + lag < rows.end) {
            let weights = self.constrained(*row, target)?;
            book.decide(*row, weights.clone());
            targets.push(Target { window, row: *row, weights });
        }
        for row in rows.clone() {
            book.advance(row, self.held(row), &mut path)?;
        }
        Ok((book, path, targets))
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

fn entries(experiment: &Experiment, runtime: &Runtime, cancel: &Arc<AtomicBool>) -> Result<Vec<Entry>> {
    let context = Context::new(runtime.log.clone(), Arc::clone(cancel));
    let benchmark: Box<dyn Factory> = Box::new(EqualWeight);
    let nothing = Values::check(EQUAL_WEIGHT, &[], &serde_json::Map::new())?;
    let mut out = vec![Entry {
        name: EQUAL_WEIGHT.to_owned(),
        factory: benchmark,
        settings: nothing,
        context: context.of_model(EQUAL_WEIGHT),
    }];
    for model in &experiment.models {
        let factory: Box<dyn Factory> = Box::new(runtime.search.load(&model.plugin)?);
        let settings = Values::check(&format!("models.{}.settings", model.name), factory.settings(), &model.settings)?;
        out.push(Entry { name: model.name.clone(), factory, settings, context: context.of_model(&model.name) });
    }
    Ok(out)
}

/// One model through one window.
fn walk(experiment: &Experiment, panel: &Panel, window: &Window, entry: &Entry) -> Result<ModelWindow> {
    let lag = experiment.execution_lag;
    let mut model = entry.factory.create(&entry.settings, &entry.context)?;
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
                if entry.context.cancelled() {
                    fail!(Cancelled, "{CANCELLED}");
                }
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
    let mut model = factory.create(settings, &Context::default())?;
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
