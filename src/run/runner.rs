//! The run: its caller steps it window by window, and results are there for the windows that are done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::close::EndedModel;
use super::feasibility::Plan;
use super::notices::{gaps, missing_columns, never_held, skipped_window};
use super::result_bytes::{ResultBytes, result_bytes};
use super::units::{Key, Plans};
use crate::device::cpu::{SimdLevel, choose_level};
use crate::device::{Parallel, Team};
use crate::error::{Code, Error, Result, fail};
use crate::evaluate::Conventions;
use crate::experiment::Experiment;
use crate::job::{
    CANCELLED, LoadedModel, ModelWindow, Prepared, Runtime, SpillFile, decide_window, fit_context, prepare,
};
use crate::model::{Context, LogLevel};
use crate::network::TrainedNetwork;
use crate::panel::{Panel, PlaneGuard};
use crate::portfolio::{Account, ConstraintChange, ExecutionModel, Path};
use crate::train::{Epoch, MemoryPlan, Trainer, TrainingContext, TrainingHistory};
use crate::windows::{FitRows, RebalanceSchedule, Span, StitchedPath, Window, first_decision, skipped_tests, windows};

/// A target that the out-of-sample path held.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Index of the window whose model decided.
    pub window: usize,
    /// The decision row.
    pub row: usize,
    /// Weights after constraints, `[assets]`.
    pub weights: Vec<f64>,
}

/// How many windows of a run are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Windows that are done for every model.
    pub done: usize,
    /// All windows.
    pub windows: usize,
}

/// How far the training of a network on a window is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingProgress {
    /// Index of the window.
    pub window: usize,
    /// Index of the model.
    pub model: usize,
    /// Epochs that are done.
    pub epochs: usize,
    /// Most epochs.
    pub max_epochs: u32,
    /// The last epoch that is done.
    pub last: Option<Epoch>,
    /// Upper estimate of the seconds that are left.
    pub seconds_left: Option<f64>,
    /// The memory plan.
    pub memory: MemoryPlan,
    /// Peak memory so far, in bytes.
    pub measured_bytes: usize,
}

/// One model in one window that is under way.
pub(super) enum WindowState {
    /// Not started.
    Waiting,
    /// A network under training, and the highest row that its fit is shown.
    Training(Box<Trainer>, usize),
    /// A trained network before its decisions, its history, and the highest row that its fit was shown.
    Trained(Box<TrainedNetwork>, TrainingHistory, usize),
    /// All decisions are made.
    Done(Box<ModelWindow>),
    /// No portfolio satisfies the constraints at a decision of the training's validation path.
    Failed(Error),
}

/// A walk-forward run: every model over every window, then the out-of-sample path of each.
///
/// The caller steps it; results are there for the windows that are done.
///
/// # Examples
/// A program with a clock of its own asks at each row which weights are due:
/// ```
/// use std::path::PathBuf;
/// use walkforge::{Experiment, Panel, PanelKind, PluginSearch, Run, Runtime, date_of, days_of};
///
/// let start = days_of("2015-01-01".parse()?);
/// let dates: Vec<_> = (0..=5 * 365).filter_map(|day| date_of(start + day)).collect();
/// let returns = vec![0.001; 3 * dates.len()];
/// let names = ["A", "B", "C"].map(str::to_owned);
/// let panel = Panel::from_arrays(PanelKind::Returns, dates, &names, &returns)?;
/// let experiment = Experiment::from_toml("[portfolio]\nrebalance = \"quarterly\"", PathBuf::new(), &[])?;
/// let mut run = Run::new(experiment, panel, &Runtime::new(PluginSearch::default(), 1)?)?;
/// while run.progress().done < run.windows.len() {
///     run.step()?;
/// }
/// // The last row before the test span decides, then the last row of each quarter but the last.
/// let rows = 0..run.panel.dates().len();
/// let due: Vec<_> = rows.filter_map(|row| run.target(0, row).ok().flatten()).collect();
/// assert_eq!(due.len(), 4);
/// assert!(due[0].weights.iter().all(|weight| (weight - 1.0 / 3.0).abs() < 1e-12));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Run {
    /// The experiment.
    pub experiment: Experiment,
    /// The data.
    pub panel: Panel,
    /// The windows.
    pub windows: Vec<Window>,
    /// The test spans without a date, for which there is no window.
    pub skipped: Vec<Span>,
    /// The rows on which portfolios are rebalanced.
    pub schedule: RebalanceSchedule,
    /// How the test spans make the out-of-sample path.
    pub stitched: StitchedPath,
    /// The models; the benchmark comes first.
    pub models: Vec<LoadedModel>,
    /// Decisions per model and window.
    pub results: Vec<Vec<ModelWindow>>,
    /// The out-of-sample path of each model.
    pub paths: Vec<Path>,
    /// The targets that each model's path held.
    pub targets: Vec<Vec<Target>>,
    /// What constraints changed on each model's path, with the decision row.
    pub changes: Vec<Vec<(usize, ConstraintChange)>>,
    /// The models whose path ends before the last window, `[models]`.
    pub ended: Vec<Option<EndedModel>>,
    /// What figures are computed with.
    pub(super) conventions: Conventions,
    pub(super) execution: ExecutionModel,
    /// As `execution`, without constraints: the benchmark's.
    pub(super) benchmark_execution: ExecutionModel,
    /// The account of each model.
    pub(super) accounts: Vec<Account>,
    /// Per window and model: under way, or waiting for the other models of its window.
    pub(super) states: BTreeMap<Key, WindowState>,
    /// Networks that wait for memory.
    pub(super) plans: Plans,
    /// Per model, what its trainings share.
    pub(super) contexts: Vec<TrainingContext>,
    pub(super) team: Arc<Team>,
    /// What the data check found, members without a column, and delisted assets that have a price again.
    pub warnings: Vec<String>,
    /// The instruction level of the kernels.
    pub(super) simd: SimdLevel,
    /// Knows whether the data are still those that the run began with.
    pub(super) planes: PlaneGuard,
    cancel: Arc<AtomicBool>,
    /// The first window that is done whose decisions are in memory.
    first_in_memory: usize,
    /// Bytes of decisions that stay in memory.
    pub(super) keep: usize,
    /// Where decisions go that do not, and the folder in which that file is made.
    spill: Option<Arc<SpillFile>>,
    spill_folder: PathBuf,
}

impl Run {
    /// Prepares a run: loads plugins, checks settings, cuts windows. Nothing is computed yet, but the identity of the
    /// run is known, so that a run directory can be claimed first.
    ///
    /// # Errors
    /// Errors of settings, data and plugins.
    pub fn new(experiment: Experiment, panel: Panel, runtime: &Runtime) -> Result<Self> {
        let simd = choose_level(experiment.simd)?;
        let cancel = Arc::new(AtomicBool::new(false));
        let models = LoadedModel::load_all(&experiment, runtime, &cancel)?;
        let windows = windows(panel.dates(), &experiment.windows)?;
        let skipped = skipped_tests(panel.dates(), &experiment.windows)?;
        let lag = experiment.portfolio.execution_lag;
        // What the spans leave is known before anything is trained.
        for window in &windows {
            FitRows::checked(panel.dates(), window, experiment.windows.embargo_days, lag)?;
        }
        let (conventions, spacing) = experiment.conventions(&panel, &windows)?;
        let first = first_decision(&windows, lag).unwrap_or(0);
        let train = windows.first().map_or(0..0, |window| window.train.rows.clone());
        let schedule = experiment.portfolio.schedule(panel.dates(), first, train);
        let stitched = StitchedPath::new(panel.dates(), &windows, schedule.clone(), lag);
        let mut warnings: Vec<String> = missing_columns(&panel)
            .into_iter()
            .chain(spacing)
            .chain(never_held(&experiment, &stitched, &windows))
            .chain(gaps(&stitched, panel.dates()))
            .chain(skipped.iter().map(skipped_window))
            .chain(panel.warnings())
            .collect();
        let panel = panel.with_usual_stale_rows(conventions.periods_per_year);
        let execution = experiment.execution(&panel, &conventions)?;
        let benchmark_execution = experiment.benchmark_execution(&execution, &panel, &windows)?;
        let plan = Plan {
            experiment: &experiment,
            panel: &panel,
            windows: &windows,
            schedule: &schedule,
            models: &models,
            execution: &execution,
        };
        warnings.extend(plan.check()?);
        for warning in &warnings {
            Context::new(runtime.log.clone(), Arc::clone(&cancel)).log(LogLevel::Warn, warning);
        }
        let most = runtime.parallel.threads();
        let threads = if experiment.threads == 0 { most } else { most.min(experiment.threads) };
        let team = Arc::new(Team::new(Arc::clone(&runtime.parallel), threads));
        let mut context = TrainingContext::new(&panel, Arc::clone(&team), conventions.clone(), execution.clone());
        let ResultBytes { decisions: keep, targets } = result_bytes(&schedule, &panel, &windows, &models);
        context.decisions = keep + targets;
        let mut contexts: Vec<TrainingContext> = models.iter().map(|_| context.of_another_model()).collect();
        contexts[0].execution = benchmark_execution.clone();
        let mut out = Self {
            contexts,
            team,
            simd,
            windows,
            skipped,
            schedule,
            stitched,
            conventions,
            results: vec![Vec::new(); models.len()],
            paths: vec![Path::default(); models.len()],
            targets: vec![Vec::new(); models.len()],
            changes: vec![Vec::new(); models.len()],
            accounts: Vec::new(),
            ended: models.iter().map(|_| None).collect(),
            models,
            benchmark_execution,
            execution,
            states: BTreeMap::new(),
            plans: Plans::new(),
            warnings,
            experiment,
            planes: PlaneGuard::new(&panel),
            panel,
            cancel,
            first_in_memory: 0,
            keep,
            spill: None,
            spill_folder: std::env::temp_dir(),
        };
        out.accounts = (0..out.models.len()).map(|model| out.execution_of(model).cash(&out.panel)).collect();
        Ok(out)
    }

    /// Says where decisions of closed windows go when they take much memory: to a file without a name in this folder. It
    /// is the folder for temporary files unless another is given.
    pub fn spill_to(&mut self, folder: &std::path::Path) {
        folder.clone_into(&mut self.spill_folder);
    }

    /// Moves decisions to a file while those in memory take too much: of the oldest windows first, then of models that
    /// wait for the others of their window.
    pub(super) fn spill_decisions(&mut self) -> Result<()> {
        let Progress { done, .. } = self.progress();
        let closed = self.results.iter().flat_map(|of_model| &of_model[self.first_in_memory..]);
        let waiting = self.states.values().filter_map(|state| match state {
            WindowState::Done(result) => Some(&**result),
            _ => None,
        });
        let mut bytes: usize = closed.chain(waiting).map(|result| result.decisions.bytes()).sum();
        if bytes <= self.keep {
            return Ok(());
        }
        let file = match &self.spill {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.spill.insert(Arc::new(SpillFile::create(&self.spill_folder)?))),
        };
        let spill = |result: &mut ModelWindow| {
            let bytes = result.decisions.bytes();
            result.decisions.spill(&file)?;
            Ok(bytes)
        };
        while bytes > self.keep && self.first_in_memory < done {
            for of_model in &mut self.results {
                bytes -= spill(&mut of_model[self.first_in_memory])?;
            }
            self.first_in_memory += 1;
        }
        for state in self.states.values_mut() {
            if bytes > self.keep
                && let WindowState::Done(result) = state
            {
                bytes -= spill(result)?;
            }
        }
        Ok(())
    }

    /// How many windows are done.
    pub fn progress(&self) -> Progress {
        Progress { done: self.results[0].len(), windows: self.windows.len() }
    }

    /// The target of a model on the out-of-sample path that was decided at `row`; `None` where no rebalance is due.
    ///
    /// # Errors
    /// `NotReady` where the window that decides there is still to be computed; `Infeasible` where the model's path has
    /// ended before; `InvalidArgument` beyond the panel.
    pub fn target(&self, model: usize, row: usize) -> Result<Option<&Target>> {
        let rows = self.panel.dates().len();
        if row >= rows {
            fail!(InvalidArgument, "row {row} of a panel with {rows} rows");
        }
        let ahead = 1 + self.execution.lag;
        let Progress { done, .. } = self.progress();
        if let Some(next) = self.stitched.rows.get(done)
            && row + ahead >= next.start
        {
            fail!(NotReady, "window {done}, which decides from row {}, is still to be computed", next.start - ahead);
        }
        if let Some(EndedModel { window, error }) = &self.ended[model]
            && row + ahead >= self.stitched.rows[*window].start
        {
            fail!(Infeasible, "the model ended before window {window}: {error}");
        }
        let targets = &self.targets[model];
        Ok(targets.binary_search_by_key(&row, |target| target.row).ok().map(|index| &targets[index]))
    }

    /// How the decisions of a model become holdings; the first one is the benchmark.
    pub(super) fn execution_of(&self, model: usize) -> &ExecutionModel {
        if model == 0 { &self.benchmark_execution } else { &self.execution }
    }

    /// The number of rows whose compounded return is a label of a model's training.
    pub(super) fn horizon(&self, model: usize) -> usize {
        self.models[model].train.horizon.unwrap_or(self.schedule.holding())
    }

    /// The number of threads that the run uses: those of the runtime, or fewer if the experiment limits them.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The flag that asks the run to stop: the step under way, or the next one, then returns `Cancelled`.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// Advances the run: per thread, one window of an estimator or one epoch of a network. Windows that are done for
    /// every model extend the out-of-sample paths. How much one step covers changes no result. After an error the next
    /// step retries.
    ///
    /// # Errors
    /// Errors of data and plugins, with model, window and date; `Cancelled` once for each time that the flag is set.
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
        let keys = self.next_units().map_err(|(key, error)| self.in_unit(key, error))?;
        let slots: Vec<Mutex<WindowState>> =
            keys.iter().map(|key| Mutex::new(self.states.remove(key).unwrap_or(WindowState::Waiting))).collect();
        let outcomes = self.parallel_map(keys.len(), |index| {
            let mut state = slots[index].lock().unwrap_or_else(PoisonError::into_inner);
            // Errors are returned after every state is back in the map.
            Ok(self.advance_state(keys[index], &mut state))
        });
        for (key, slot) in keys.iter().zip(slots) {
            self.states.insert(*key, slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        for (key, outcome) in keys.iter().zip(outcomes?) {
            match outcome.map_err(|error| self.in_unit(*key, error)) {
                Ok(()) => (),
                Err(error) if key.1 > 0 && error.code() == Code::Infeasible => {
                    self.states.insert(*key, WindowState::Failed(error));
                }
                Err(error) => return Err(error),
            }
        }
        while self.close_window()? {
            self.spill_decisions()?;
        }
        self.warn_of_float_modes();
        self.spill_decisions()?;
        Ok(self.progress())
    }

    /// Begins a unit: fits and asks an estimator, or plans the training of a network.
    ///
    /// # Errors
    /// Errors of data and model, with window and date.
    pub(super) fn begin(&self, (window, model): Key) -> Result<WindowState> {
        let (window, entry) = (&self.windows[window], &self.models[model]);
        Ok(match prepare(&self.experiment, &self.panel, (&self.schedule, window), entry, &self.contexts[model])? {
            (Prepared::Ready(estimator), fit) => {
                let of_window = (&self.schedule, window);
                let result = decide_window(&self.experiment, &self.panel, of_window, entry, &*estimator, fit)?;
                WindowState::Done(Box::new(result))
            }
            (Prepared::Training(trainer), fit) => WindowState::Training(trainer, fit),
        })
    }

    /// Advances a model in a window: all the way, or by one epoch of a network.
    fn advance_state(&self, key: Key, state: &mut WindowState) -> Result<()> {
        let (window, model) = (&self.windows[key.0], &self.models[key.1]);
        if matches!(state, WindowState::Waiting) {
            *state = self.begin(key)?;
        }
        if let WindowState::Training(trainer, _) = state {
            if !trainer.is_done() {
                trainer.epoch(&|| model.context.cancelled()).map_err(|error| fit_context(error, window))?;
            }
            if trainer.is_done()
                && let WindowState::Training(trainer, fit) = std::mem::replace(state, WindowState::Waiting)
            {
                // The trainer's arena, tables and optimiser are dropped here; the network remains.
                let (network, history) = trainer.finish();
                *state = WindowState::Trained(Box::new(network), history, fit);
            }
        }
        if let WindowState::Trained(network, history, fit) = state {
            let of_window = (&self.schedule, window);
            let mut result = decide_window(&self.experiment, &self.panel, of_window, model, &**network, *fit)?;
            result.training = Some(history.clone());
            *state = WindowState::Done(Box::new(result));
        }
        Ok(())
    }

    /// Adds to an error the model and the window that it belongs to.
    fn in_unit(&self, (window, model): Key, error: Error) -> Error {
        error.context(format!("model '{}', window {window}", self.models[model].name))
    }

    /// The networks under training, in the order of their windows.
    pub fn training(&self) -> Vec<TrainingProgress> {
        let progress = |(&(window, model), state): (&(usize, usize), &WindowState)| match state {
            WindowState::Training(trainer, _) => Some(TrainingProgress {
                window,
                model,
                epochs: trainer.last().0,
                max_epochs: self.models[model].train.max_epochs,
                last: trainer.last().1,
                seconds_left: trainer.seconds_left(),
                memory: trainer.memory_plan(),
                measured_bytes: trainer.measured_bytes(),
            }),
            _ => None,
        };
        self.states.iter().filter_map(progress).collect()
    }

    /// Computes `task` for each of `0..count` on the threads of the run; returns the error of the first task that has
    /// one.
    pub(super) fn parallel_map<T: Send>(
        &self,
        count: usize,
        task: impl Fn(usize) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let slots: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
        self.team.for_each(count, &|index| {
            let outcome = task(index);
            *slots[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        });
        if self.team.take_left_out() {
            fail!(Internal, "the parallel_for of the runtime left out a task");
        }
        let outcome = |slot: Mutex<Option<Result<T>>>| match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(outcome) => outcome,
            None => fail!(Internal, "a task of the run was left out"),
        };
        slots.into_iter().map(outcome).collect()
    }
}
