//! The run: stepped by its caller, window by window; results are there for the windows that are done.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Code, Error, Result, fail};
use crate::evaluate::{METRICS, MetricValue};
use crate::experiment::Experiment;
use crate::job::{CANCELLED, Runtime};
use crate::job::{Entry, ModelWindow, Prepared, begin, decided};
use crate::model::{Context, EQUAL_WEIGHT, EqualWeight, Factory, LogLevel};
use crate::network::TrainedNetwork;
use crate::panel::Panel;
use crate::portfolio::{Account, ConstraintChange, ExecutionModel, Path, SimulatedPath};
use crate::run::scores::metrics;
use crate::settings::SettingValues;
use crate::train::{Epoch, MemoryPlan, TrainSettings, Trainer, Training};
use crate::windows::{Window, stitch, windows};

/// A model of a run, as results name it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Its name in results.
    pub name: String,
    /// The name of its plugin.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// SHA-256 of the plugin's file; none where it is linked into the program.
    pub sha256: Option<String>,
    /// Its settings, defaults filled in.
    pub settings: serde_json::Value,
    /// How it is trained, defaults filled in, where it is a network.
    pub train: Option<serde_json::Value>,
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

/// How far the training of a network on a window is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingProgress {
    /// The window.
    pub window: usize,
    /// The model.
    pub model: usize,
    /// Epochs that are done.
    pub epochs: usize,
    /// Most epochs.
    pub max_epochs: u32,
    /// The last epoch that is done.
    pub last: Option<Epoch>,
    /// Seconds that it takes at most from here.
    pub seconds_left: Option<f64>,
    /// How its memory was planned.
    pub fit: MemoryPlan,
    /// Most bytes that were held so far.
    pub measured_bytes: usize,
}

/// A model on its way through a window.
enum WindowState {
    /// Nothing is done.
    Waiting,
    /// A network under training, and the highest row that it is shown for that.
    Training(Box<Trainer>, usize),
    /// A network that was trained and is to decide.
    Trained(Box<TrainedNetwork>, Training, usize),
    /// It is through.
    Done(Box<ModelWindow>),
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
    /// The models; equal weight comes first.
    pub models: Vec<ModelInfo>,
    /// By model and window.
    pub results: Vec<Vec<ModelWindow>>,
    /// The out-of-sample path of each model.
    pub paths: Vec<Path>,
    /// The targets held on it, by model.
    pub targets: Vec<Vec<Target>>,
    /// What constraints changed on it, by model: decision row and change.
    pub changes: Vec<Vec<(usize, ConstraintChange)>>,
    pub(super) execution: ExecutionModel,
    pub(super) entries: Vec<Entry>,
    books: Vec<Account>,
    /// By window and model, what is under way or waits for the other models of its window.
    flight: BTreeMap<(usize, usize), WindowState>,
    runtime: Runtime,
    cancel: Arc<AtomicBool>,
}

impl Run {
    /// Prepares a run: plugins loaded, settings checked, windows cut. Nothing is computed yet, but what the run will be
    /// is known, so that a run directory can be claimed first.
    ///
    /// # Errors
    /// What settings, data and plugins give.
    pub fn new(experiment: Experiment, panel: Panel, runtime: &Runtime) -> Result<Self> {
        let cancel = Arc::new(AtomicBool::new(false));
        let entries = entries(&experiment, runtime, &cancel)?;
        if let Some(warning) = missing_columns(&panel) {
            Context::new(runtime.log.clone(), Arc::clone(&cancel)).log(LogLevel::Warn, &warning);
        }
        let windows = windows(panel.dates(), &experiment.windows)?;
        let stitched = stitch(panel.dates(), &windows);
        let execution = experiment.rules.execution(panel.assets())?;
        let models: Vec<ModelInfo> = entries
            .iter()
            .map(|entry| ModelInfo {
                name: entry.name.clone(),
                plugin: entry.factory.name().to_owned(),
                version: entry.factory.version().to_owned(),
                sha256: entry.factory.sha256().map(str::to_owned),
                settings: entry.settings.to_json(),
                train: entry.factory.is_network().then(|| entry.train.to_json()),
            })
            .collect();
        Ok(Self {
            windows,
            stitched,
            results: vec![Vec::new(); models.len()],
            paths: vec![Path::default(); models.len()],
            targets: vec![Vec::new(); models.len()],
            changes: vec![Vec::new(); models.len()],
            books: vec![execution.cash(&panel); models.len()],
            models,
            execution,
            entries,
            flight: BTreeMap::new(),
            experiment,
            panel,
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
        let ahead = 1 + self.execution.lag;
        let Progress { done, .. } = self.progress();
        if let Some(next) = self.stitched.get(done)
            && row + ahead >= next.start
        {
            fail!(NotReady, "window {done}, which decides from row {}, is still to be computed", next.start - ahead);
        }
        let targets = &self.targets[model];
        Ok(targets.binary_search_by_key(&row, |target| target.row).ok().map(|place| &targets[place]))
    }

    /// A metric of a model's out-of-sample path so far, by its name in the table; the benchmark is equal weight.
    ///
    /// # Errors
    /// `InvalidArgument` where the table has no such metric.
    pub fn metric(&self, model: usize, name: &str) -> Result<MetricValue> {
        let Some(place) = METRICS.iter().position(|metric| metric.name == name) else {
            let known: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            fail!(InvalidArgument, "metric '{name}' is unknown; known are {}", known.join(", "));
        };
        Ok(metrics(&self.panel, &self.paths[model], &self.paths[0])[place])
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

    /// Goes on with the next windows, one a thread: a model that trains itself goes all the way through one, a network through
    /// an epoch. Windows that every model is through extend the out-of-sample paths. How much a step takes changes no
    /// result. After an error the same is tried again by the next step.
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
        let units = self.next_units();
        let slots: Vec<Mutex<WindowState>> =
            units.iter().map(|key| Mutex::new(self.flight.remove(key).unwrap_or(WindowState::Waiting))).collect();
        let outcomes = self.parallel_map(units.len(), |place| {
            let mut unit = slots[place].lock().unwrap_or_else(PoisonError::into_inner);
            // What fails is told when every unit is back in its place.
            Ok(self.go_on(units[place], &mut unit))
        })?;
        for (key, slot) in units.iter().zip(slots) {
            self.flight.insert(*key, slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        for ((window, model), outcome) in units.iter().zip(outcomes) {
            outcome
                .map_err(|error| error.context(format!("model '{}', window {window}", self.entries[*model].name)))?;
        }
        while self.close_window()? {}
        Ok(self.progress())
    }

    /// What is to be gone on with: the models of the next windows that are not through them, one window a thread, and as many
    /// networks as there are threads.
    fn next_units(&self) -> Vec<(usize, usize)> {
        let Progress { done, windows } = self.progress();
        let threads = self.threads();
        let (mut out, mut networks) = (Vec::new(), 0);
        for window in done..windows.min(done + 2 * threads) {
            let trained = self.entries.iter().any(|entry| entry.factory.is_network());
            if window >= done + threads && (networks >= threads || !trained) {
                break;
            }
            for (model, entry) in self.entries.iter().enumerate() {
                if matches!(self.flight.get(&(window, model)), Some(WindowState::Done(_))) {
                    continue;
                }
                if entry.factory.is_network() {
                    if networks >= threads {
                        continue;
                    }
                    networks += 1;
                }
                out.push((window, model));
            }
        }
        // Those that take long come first, so that the others fill the time of the threads that are done.
        out.sort_by_key(|(window, model)| (!self.entries[*model].factory.is_network(), *window, *model));
        out
    }

    /// Goes on with a model in a window: the whole way, or an epoch of a network.
    fn go_on(&self, (window, model): (usize, usize), unit: &mut WindowState) -> Result<()> {
        let (window, entry) = (&self.windows[window], &self.entries[model]);
        let place = |error: Error| error.context(format!("the model trained from {}", window.train.start));
        if matches!(unit, WindowState::Waiting) {
            *unit = match begin(&self.experiment, &self.panel, window, entry)? {
                (Prepared::Ready(model), fit) => {
                    let decided = decided(&self.experiment, &self.panel, window, entry, &*model, fit)?;
                    WindowState::Done(Box::new(decided))
                }
                (Prepared::Training(trainer), fit) => WindowState::Training(trainer, fit),
            };
        }
        if let WindowState::Training(trainer, _) = unit {
            if !trainer.is_through() {
                trainer.epoch(&|| entry.context.cancelled()).map_err(place)?;
            }
            if trainer.is_through()
                && let WindowState::Training(trainer, fit) = std::mem::replace(unit, WindowState::Waiting)
            {
                // Arena, tables and optimiser go with the trainer; what is left is the network.
                let (model, training) = trainer.finish();
                *unit = WindowState::Trained(Box::new(model), training, fit);
            }
        }
        if let WindowState::Trained(model, training, fit) = unit {
            let mut decided = decided(&self.experiment, &self.panel, window, entry, &**model, *fit)?;
            decided.training = Some(training.clone());
            *unit = WindowState::Done(Box::new(decided));
        }
        Ok(())
    }

    /// Moves the books over the next window, where every model has come through it; whether it was so.
    fn close_window(&mut self) -> Result<bool> {
        let Progress { done: window, windows } = self.progress();
        let through = |model| match self.flight.get(&(window, model)) {
            Some(WindowState::Done(result)) => Some(&**result),
            _ => None,
        };
        let results: Option<Vec<&ModelWindow>> = (0..self.entries.len()).map(through).collect();
        let Some(results) = results.filter(|_| window < windows) else { return Ok(false) };
        let mut moved = Vec::with_capacity(results.len());
        for (model, result) in results.into_iter().enumerate() {
            moved.push(self.hold(model, window, result).map_err(|error| {
                error.context(format!("the path of model '{}', window {window}", self.entries[model].name))
            })?);
        }
        for (model, (book, walked)) in moved.into_iter().enumerate() {
            self.books[model] = book;
            self.paths[model].append(walked.path);
            let held = walked.targets.into_iter().map(|(row, weights)| Target { window, row, weights });
            self.targets[model].extend(held);
            self.changes[model].extend(walked.changes);
            if let Some(WindowState::Done(result)) = self.flight.remove(&(window, model)) {
                self.results[model].push(*result);
            }
        }
        Ok(true)
    }

    /// The networks that are being trained, in the order of their windows.
    pub fn training(&self) -> Vec<TrainingProgress> {
        let learning = |(&(window, model), unit): (&(usize, usize), &WindowState)| match unit {
            WindowState::Training(trainer, _) => Some(TrainingProgress {
                window,
                model,
                epochs: trainer.last().0,
                max_epochs: self.entries[model].train.max_epochs,
                last: trainer.last().1,
                seconds_left: trainer.seconds_left(),
                fit: trainer.fit(),
                measured_bytes: trainer.measured_bytes(),
            }),
            _ => None,
        };
        self.flight.iter().filter_map(learning).collect()
    }

    /// Computes `unit` for each of `0..count` on the threads of this run; the error of the first unit that has one.
    pub(super) fn parallel_map<T: Send>(
        &self,
        count: usize,
        unit: impl Fn(usize) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
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

    /// The books of one model after one more window, and the path over what the window contributes.
    fn hold(&self, model: usize, window: usize, result: &ModelWindow) -> Result<(Account, SimulatedPath)> {
        let rows = &self.stitched[window];
        // Where a step longer than the test span leaves a gap, no model holds anything in it: what follows starts in
        // cash.
        let follows = window > 0 && self.stitched[window - 1].end == rows.start;
        let mut book = if follows { self.books[model].clone() } else { self.execution.cash(&self.panel) };
        let walked = self.execution.simulate(&self.panel, &mut book, &result.test, rows.clone())?;
        Ok((book, walked))
    }
}

/// What there is to say of members that the data have no column for. Where many are missing the first few are enough to
/// find the fault; `run.json` lists them all.
fn missing_columns(panel: &Panel) -> Option<String> {
    const NAMED: usize = 10;
    let missing = panel.without_values();
    let more = if missing.len() > NAMED { ", …" } else { "" };
    (!missing.is_empty()).then(|| {
        format!(
            "{} of the membership's assets have no column in the data and are never held: {}{more}",
            missing.len(),
            missing[..missing.len().min(NAMED)].join(", ")
        )
    })
}

fn entries(experiment: &Experiment, runtime: &Runtime, cancel: &Arc<AtomicBool>) -> Result<Vec<Entry>> {
    let context = Context::new(runtime.log.clone(), Arc::clone(cancel));
    let entry = |name: &str, factory: Box<dyn Factory>, settings: SettingValues, train: TrainSettings| Entry {
        name: name.to_owned(),
        factory,
        settings,
        train,
        context: context.of_model(name),
    };
    let nothing = SettingValues::check(EQUAL_WEIGHT, &[], &serde_json::Map::new())?;
    let mut out = vec![entry(EQUAL_WEIGHT, Box::new(EqualWeight), nothing, experiment.train_settings(None)?)];
    for model in &experiment.models {
        let factory: Box<dyn Factory> = Box::new(runtime.search.load(&model.plugin)?);
        let settings =
            SettingValues::check(&format!("models.{}.settings", model.name), factory.settings(), &model.settings)?;
        if !factory.is_network() && !model.train.is_empty() {
            fail!(
                InvalidSetting,
                "section 'models.{}.train' is given, but plugin '{}' trains itself; leave it out",
                model.name,
                factory.name()
            );
        }
        out.push(entry(&model.name, factory, settings, experiment.train_settings(Some(model))?));
    }
    Ok(out)
}
