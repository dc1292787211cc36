//! The scores of a run: the metrics of each model over each span of each window and over the whole out-of-sample path,
//! and what constraints changed.

use std::ops::Range;

use jiff::civil::Date;

use crate::error::{Code, Result, fail};
use crate::evaluate::{
    CalendarReturns, Drawdown, Inputs, METRICS, MetricValue, MonitorInputs, Overfitting, SpanReturns, WindowReturns,
    calendar_returns, evaluate, overfitting, rank_correlation, worst_drawdowns,
};
use crate::job::decide;
use crate::portfolio::{ConstraintChange, Decision, Path, SimulatedPath};
use crate::run::comparison::{Comparison, comparisons};
use crate::run::runner::Run;

/// The scores of a run.
#[derive(Clone, Debug)]
pub struct Scores {
    /// The scores of each span, `[models][windows]`.
    pub windows: Vec<Vec<WindowScores>>,
    /// The scores of the out-of-sample path, `[models]`.
    pub total: Vec<PathScores>,
    /// The overfitting monitor, `[models]`; `None` for a model that fits nothing.
    pub(super) overfitting: Vec<Option<Overfitting>>,
    /// The worst drawdowns of the out-of-sample path, deepest first, `[models]`.
    pub drawdowns: Vec<Vec<Drawdown>>,
    /// The returns of calendar years and months, `[models]`.
    pub calendar: Vec<CalendarReturns>,
    /// How the Sharpe ratio differs from the benchmark's, `[models]`; `None` for the benchmark.
    pub comparisons: Vec<Option<Comparison>>,
}

/// Drawdowns that are listed.
const WORST: usize = 5;
/// Why a model has no scores after a decision at which its choice left no portfolio.
const ENDED: &str = "the model ended before this window";
/// Why a span has no score in which a decision has no portfolio.
const INFEASIBLE: &str = "infeasible: no portfolio satisfies the constraints on a decision row of the span";
/// Why a span in which everything was lost has no part in the monitor.
const RUINED: &str = "ruined: everything was lost in the span";

/// The scores of one model in one window.
#[derive(Clone, Debug)]
pub struct WindowScores {
    /// Over the train span; undefined if the model fits nothing.
    pub train: PathScores,
    /// Over the validation span.
    pub validation: PathScores,
    /// Over the test span.
    pub test: PathScores,
    /// Over the rows of the out-of-sample path that the window decided, as they were held, in the order of [`METRICS`].
    pub held: Vec<MetricValue>,
}

impl WindowScores {
    /// No metric is defined, for this reason.
    fn undefined(reason: &'static str) -> Self {
        let none = || PathScores::undefined(reason);
        Self { train: none(), validation: none(), test: none(), held: none().metrics }
    }
}

/// The scores of one path.
#[derive(Clone, Debug)]
pub struct PathScores {
    /// Every metric, in the order of [`METRICS`].
    pub metrics: Vec<MetricValue>,
    /// What constraints changed, each with its decision row.
    pub changes: Vec<(usize, ConstraintChange)>,
}

/// Scores a finished run.
///
/// # Errors
/// `Infeasible` from constraints, with the decision's date.
pub fn scores(run: &Run) -> Result<Scores> {
    let mut windows: Vec<Vec<WindowScores>> = run.models.iter().map(|_| Vec::new()).collect();
    let mut returns: Vec<Vec<WindowReturns>> = run.models.iter().map(|_| Vec::new()).collect();
    let coefficients: Vec<Vec<(usize, f64)>> =
        (0..run.models.len()).map(|model| information_coefficients(run, model)).collect::<Result<_>>()?;
    for (index, window) in run.windows.iter().enumerate() {
        let usable = run.experiment.fit_rows(run.panel.dates(), window);
        let (mut validation_benchmark, mut test_benchmark) = (None, None);
        for (model, (scores, returns)) in windows.iter_mut().zip(&mut returns).enumerate() {
            if run.has_ended(model, index) {
                scores.push(WindowScores::undefined(ENDED));
                returns.push(WindowReturns { train: Err(ENDED), validation: Err(ENDED), test: Err(ENDED) });
                continue;
            }
            let result = run.results[model][index].decisions.get()?;
            let validation =
                score(run, model, &result.validation, usable.validation.clone(), &mut validation_benchmark)?;
            let test = score(run, model, &result.test, window.test.rows.clone(), &mut test_benchmark)?;
            let train = match &result.train {
                Some(decisions) => score_train(run, (model, index), decisions, usable.train.clone())?,
                None => (PathScores::undefined("the model fits nothing"), Err("the model fits nothing")),
            };
            let held = held_metrics(run, model, index, &coefficients[model]);
            scores.push(WindowScores { train: train.0, validation: validation.0, test: test.0, held });
            returns.push(WindowReturns { train: train.1, validation: validation.1, test: test.1 });
        }
    }
    let total: Vec<PathScores> = (0..run.models.len())
        .map(|model| {
            let metrics = total_metrics(run, model, &coefficients[model]);
            Ok(PathScores { metrics, changes: run.changes[model].clone() })
        })
        .collect::<Result<_>>()?;
    let overfitting = (0..run.models.len()).map(|model| monitor(run, model, &returns[model], &total[model])).collect();
    let (mut drawdowns, mut calendar) = (Vec::new(), Vec::new());
    for path in &run.paths {
        with_inputs(run, path, &run.paths[0], &[], &[], |inputs| {
            drawdowns.push(worst_drawdowns(inputs, WORST));
            calendar.push(calendar_returns(inputs));
        });
    }
    Ok(Scores { windows, total, overfitting, drawdowns, calendar, comparisons: comparisons(run) })
}

impl Run {
    /// A metric of a model's out-of-sample path so far, by its name in [`METRICS`].
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such metric.
    pub fn metric(&self, model: usize, name: &str) -> Result<MetricValue> {
        let Some(index) = METRICS.iter().position(|metric| metric.name == name) else {
            let known: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            fail!(InvalidArgument, "metric '{name}' is unknown; known are {}", known.join(", "));
        };
        let coefficients = information_coefficients(self, model)?;
        Ok(total_metrics(self, model, &coefficients)[index])
    }
}

/// Every metric of a model's out-of-sample path.
fn total_metrics(run: &Run, model: usize, coefficients: &[(usize, f64)]) -> Vec<MetricValue> {
    let targets: Vec<&[f64]> = run.targets[model].iter().map(|target| target.weights.as_slice()).collect();
    let coefficients: Vec<f64> = coefficients.iter().map(|(_, coefficient)| *coefficient).collect();
    metrics(run, &run.paths[model], &run.paths[0], &targets, &coefficients)
}

/// Every metric of the rows that a window contributes to the out-of-sample path, as they were held: the book that the
/// window began with was bought earlier.
fn held_metrics(run: &Run, model: usize, window: usize, coefficients: &[(usize, f64)]) -> Vec<MetricValue> {
    let rows = &run.stitched.rows[window];
    let targets = run.targets[model].iter().filter(|target| target.window == window);
    let targets: Vec<&[f64]> = targets.map(|target| target.weights.as_slice()).collect();
    let own: Vec<f64> = coefficients.iter().filter(|(of, _)| *of == window).map(|(_, own)| *own).collect();
    metrics(run, &run.paths[model].within(rows), &run.paths[0].within(rows), &targets, &own)
}

/// The overfitting monitor of a model; `None` if it fits nothing.
fn monitor(run: &Run, model: usize, returns: &[WindowReturns], total: &PathScores) -> Option<Overfitting> {
    if run.results[model].iter().all(|window| !window.fits) {
        return None;
    }
    let number = |name: &str| match METRICS.iter().zip(&total.metrics).find(|(metric, _)| metric.name == name) {
        Some((_, MetricValue::Number(value))) => Some(*value),
        _ => None,
    };
    let trained = run.results[model].iter().filter_map(|window| window.training.as_ref());
    let most = run.models[model].train.max_epochs;
    let epochs: Vec<(u32, u32)> = trained
        .filter(|history| history.epochs.iter().any(|epoch| epoch.validation.is_some()))
        .map(|history| (history.best_epoch, most))
        .collect();
    Some(overfitting(&MonitorInputs {
        windows: returns,
        periods_per_year: run.conventions.periods_per_year,
        step_months: run.experiment.windows.step_months,
        test_months: run.experiment.windows.test_months,
        out_of_sample: number("sharpe").zip(number("sharpe_error")),
        epochs: &epochs,
    }))
}

/// Rank correlations of a model's scores and the compounded returns that were earned until its next decision, one per
/// decision on the out-of-sample path, with its window; empty for a model without scores.
fn information_coefficients(run: &Run, model: usize) -> Result<Vec<(usize, f64)>> {
    let (panel, ahead) = (&run.panel, 1 + run.execution.lag);
    let assets = panel.assets().len();
    let held = &run.paths[model].rows;
    let before_row = |row: usize| held.partition_point(|held| *held < row);
    let mut out = Vec::new();
    for (index, targets) in run.targets[model].chunk_by(|one, two| one.window == two.window).enumerate() {
        let before: usize =
            run.targets[model].chunk_by(|one, two| one.window == two.window).take(index).map(<[_]>::len).sum();
        let decisions = run.results[model][targets[0].window].decisions.get()?;
        for (offset, target) in targets.iter().enumerate() {
            let decided = decisions.test.iter().find(|decision| decision.row == target.row);
            let Some(scores) = decided.and_then(|decision| decision.scores.as_ref()) else { continue };
            let next = run.targets[model].get(before + offset + 1).map_or(usize::MAX, |next| next.row + ahead);
            // Not over a gap between test spans.
            let rows = &held[before_row(target.row + ahead)..before_row(next)];
            let earned = |asset: usize| {
                rows.iter().fold(1.0, |wealth, row| wealth * (1.0 + panel.held_returns()[row * assets + asset])) - 1.0
            };
            let pairs =
                (0..assets).filter(|asset| scores[*asset].is_finite()).map(|asset| (scores[asset], earned(asset)));
            let (scores, earned): (Vec<f64>, Vec<f64>) = pairs.unzip();
            out.extend(rank_correlation(&scores, &earned).map(|found| (target.window, found)));
        }
    }
    Ok(out)
}

impl PathScores {
    /// No metric is defined, for this reason.
    fn undefined(reason: &'static str) -> Self {
        Self { metrics: METRICS.iter().map(|_| MetricValue::Undefined(reason)).collect(), changes: Vec::new() }
    }
}

/// The scores of a span, and the returns that the monitor reads.
type Scored = (PathScores, std::result::Result<SpanReturns, &'static str>);

/// Scores decisions over `rows`, starting in cash. The first model becomes the benchmark of the others. Where a decision
/// of the span has no portfolio, the score is undefined: whether the model ends is for its path to say.
fn score(
    run: &Run,
    model: usize,
    decisions: &[Decision],
    rows: Range<usize>,
    benchmark: &mut Option<Path>,
) -> Result<Scored> {
    let (SimulatedPath { path, changes, targets }, is_ruined) =
        match simulate_from_cash(run, model, decisions, rows.clone()) {
            Ok(simulated) => simulated,
            Err(error) if error.code() == Code::Infeasible => {
                return Ok((PathScores::undefined(INFEASIBLE), Err(INFEASIBLE)));
            }
            Err(error) => return Err(error),
        };
    let targets: Vec<&[f64]> = targets.iter().map(|(_, weights)| weights.as_slice()).collect();
    let against = benchmark.as_ref().unwrap_or(&path);
    let metrics = metrics(run, &path, against, &targets, &[]);
    let returns = if path.rows.is_empty() {
        Err("there are no returns")
    } else if is_ruined {
        Err(RUINED)
    } else if against.rows.len() < path.rows.len() {
        Err("the benchmark has no path over the whole span")
    } else {
        let excess = |path: &Path| run.conventions.excess(&path.rows, &path.net);
        Ok(SpanReturns { rows, model: excess(&path), benchmark: excess(against) })
    };
    benchmark.get_or_insert(path);
    Ok((PathScores { metrics, changes }, returns))
}

/// Scores the train span of a model that fits something: from its first decision on, against the benchmark decided on the
/// same rows.
fn score_train(
    run: &Run,
    (model, window): (usize, usize),
    decisions: &[Decision],
    rows: Range<usize>,
) -> Result<Scored> {
    let undefined = |reason: &'static str| (PathScores::undefined(reason), Err(reason));
    let Some(first) = decisions.first() else {
        return Ok(undefined("no asset had enough history on a decision row of the train span"));
    };
    let rows = first.row + 1 + run.execution.lag..rows.end;
    if model == 0 {
        return score(run, model, decisions, rows, &mut None);
    }
    let benchmark = train_benchmark(run, window, decisions, rows.clone())?;
    let (path, missing) = match benchmark {
        Ok(path) => (path, None),
        Err(reason) => (Path::default(), Some(reason)),
    };
    let (scores, returns) = score(run, model, decisions, rows, &mut Some(path))?;
    Ok((scores, missing.map_or(returns, Err)))
}

/// The benchmark's path over `rows` of a train span, decided on the rows of `decisions`; or why there is none.
fn train_benchmark(
    run: &Run,
    window: usize,
    decisions: &[Decision],
    rows: Range<usize>,
) -> Result<std::result::Result<Path, &'static str>> {
    const UNDECIDED: &str = "the benchmark cannot decide on a decision row of the train span";
    let result = &run.results[0][window];
    let mut decided = Vec::with_capacity(decisions.len());
    if result.fits {
        // A model that is fitted is there no more, but its decisions are.
        let own = result.decisions.get()?;
        for decision in decisions {
            match own.train.iter().flatten().find(|own| own.row == decision.row) {
                Some(own) => decided.push(own.clone()),
                None => return Ok(Err(UNDECIDED)),
            }
        }
    } else {
        let benchmark = &run.models[0];
        let estimator = benchmark.factory.create(&benchmark.settings, &benchmark.context)?.estimator()?;
        for decision in decisions {
            match decide(&run.panel, &*estimator, 0, decision.row) {
                Ok((decision, _)) => decided.push(decision),
                Err(error) if error.code() == Code::InvalidData => return Ok(Err(UNDECIDED)),
                Err(error) => return Err(error),
            }
        }
    }
    let (SimulatedPath { path, .. }, _) = simulate_from_cash(run, 0, &decided, rows)?;
    // The file of an index may begin later.
    Ok(if path.net.iter().any(|net| net.is_nan()) {
        Err("the benchmark does not reach over the train span")
    } else {
        Ok(path)
    })
}

/// The path of decisions over `rows`, starting in cash, what constraints changed, and whether everything was lost.
fn simulate_from_cash(
    run: &Run,
    model: usize,
    decisions: &[Decision],
    rows: Range<usize>,
) -> Result<(SimulatedPath, bool)> {
    let execution = run.execution_of(model);
    let mut account = execution.cash(&run.panel);
    let simulated = execution.simulate(&run.panel, &mut account, decisions, rows)?;
    Ok((simulated, account.is_ruined()))
}

/// Every metric of a path against a benchmark over the same rows, in the order of [`METRICS`].
fn metrics(run: &Run, path: &Path, benchmark: &Path, targets: &[&[f64]], coefficients: &[f64]) -> Vec<MetricValue> {
    if path.rows.is_empty() {
        return PathScores::undefined("there are no returns").metrics;
    }
    let all = |inputs: &Inputs| evaluate(inputs).into_iter().map(|(_, value)| value).collect();
    with_inputs(run, path, benchmark, targets, coefficients, all)
}

/// Calls `figures` with the inputs of the metrics of a path.
fn with_inputs<T>(
    run: &Run,
    path: &Path,
    benchmark: &Path,
    targets: &[&[f64]],
    coefficients: &[f64],
    figures: impl FnOnce(&Inputs) -> T,
) -> T {
    let dates: Vec<Date> = path.rows.iter().map(|&row| run.panel.dates()[row]).collect();
    let begins = |index: usize| index == 0 || path.rows[index] != path.rows[index - 1] + 1;
    let before = |index: usize| run.panel.dates()[path.rows[index].saturating_sub(1)];
    let spans: Vec<(usize, Date)> =
        (0..dates.len()).filter(|index| begins(*index)).map(|index| (index, before(index))).collect();
    figures(&Inputs {
        periods_per_year: run.conventions.periods_per_year,
        spans: &spans,
        dates: &dates,
        gross: &path.gross,
        net: &path.net,
        excess: &run.conventions.excess(&path.rows, &path.net),
        turnover: &path.turnover,
        // A path that ends early, as everything is lost, is compared over its own rows.
        benchmark: benchmark.net.get(..path.net.len()),
        targets,
        coefficients,
    })
}

#[cfg(test)]
mod tests;
