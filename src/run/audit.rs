//! The look-ahead audit: every decision is made with the data as they are, and again with another future. Calendar,
//! windows and rebalance schedule stay the same; the values of every row after a cut date are altered or removed. If a
//! weight that was decided up to that date differs in a single bit, the model used information from the future.

use std::sync::Arc;

use jiff::civil::Date;

use crate::error::{Code, Error, Result, fail};
use crate::job::{CANCELLED, decide_rows, fit_to_end};
use crate::panel::{Panel, Perturbation};
use crate::portfolio::{Decision, ExecutionModel};
use crate::run::runner::Run;
use crate::train::TrainingContext;
use crate::windows::{Window, decisions};

/// Number of cut dates when the caller names none.
pub const DEFAULT_DATES: usize = 24;

/// A decision that another future changed.
#[derive(Clone, Debug, PartialEq)]
pub struct MovedDecision {
    /// The decision's date.
    pub date: Date,
    /// The decision's row.
    pub row: usize,
    /// Index of the window.
    pub window: usize,
    /// Index of the model.
    pub model: usize,
    /// The cut date: the last date whose values were kept. For `order` it is the decision's date.
    pub after: Date,
    /// What was done to the later rows: `altered` or `removed`. With `order` the data were the same and only the
    /// windows ran in reverse, so the model keeps state between calls.
    pub change: &'static str,
    /// Largest |difference| of a weight; infinite if the other run gave no weights.
    pub difference: f64,
}

/// The result of an audit.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Number of dates at which the data were cut.
    pub dates: usize,
    /// Number of decisions compared, each counted once per comparison.
    pub compared: usize,
    /// The first decision that moved, by date, then window, then model.
    pub moved: Option<MovedDecision>,
}

/// Decision rows, and the weights after constraints at each, `[assets]`.
pub(crate) type WeightsByRow = Vec<(usize, Vec<f64>)>;

/// The decisions of a pipeline in one window, up to its first error.
pub struct WindowDecisions {
    /// The decisions that must not depend on later rows, in the order of their rows.
    pub decisions: Vec<Decision>,
    /// The error that ended them, if any.
    pub failed: Option<Error>,
}

/// Simulates the decisions of a model in a window on a panel: `(panel, (model, window), decisions, last row to use)`.
pub(super) type Simulate<'a> = dyn Fn(&Panel, (usize, usize), &[Decision], usize) -> Result<WeightsByRow> + 'a;

/// The pipeline that is audited: it makes decisions from a panel.
pub struct Pipeline<'a> {
    /// The data.
    pub panel: &'a Panel,
    /// The windows.
    pub windows: &'a [Window],
    /// The number of models.
    pub models: usize,
    /// Rows between decision and execution.
    pub lag: usize,
    /// Decides: `(panel, model, window)`. The panel has the same dates and windows, its values may differ.
    pub decide: &'a dyn Fn(&Panel, usize, usize) -> WindowDecisions,
    /// The weights of decisions after constraints, from rows up to the last one given.
    pub simulate: &'a Simulate<'a>,
    /// Whether the caller has cancelled the audit; polled between windows.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// What is compared: the model's decision and its weights after constraints, if the simulation reached it.
struct ConstrainedDecision {
    decision: Decision,
    weights: Option<Vec<f64>>,
}

impl Pipeline<'_> {
    /// Audits at up to `dates` cut dates, at least 1, spread over the windows.
    ///
    /// # Errors
    /// Errors of the pipeline on the unchanged data; `Cancelled`.
    pub fn audit(&self, dates: usize) -> Result<Audit> {
        let mut baseline = Vec::with_capacity(self.windows.len());
        for window in 0..self.windows.len() {
            let of_models = (0..self.models).map(|model| {
                let WindowDecisions { decisions, failed } = (self.decide)(self.panel, model, window);
                match failed {
                    Some(error) => Err(error.context(format!("window {window}"))),
                    None => self.constrain(self.panel, (model, window), decisions, usize::MAX),
                }
            });
            baseline.push(of_models.collect::<Result<Vec<_>>>()?);
            self.check_cancelled()?;
        }
        let mut out = Audit { dates: 0, compared: 0, moved: None };
        // The same data with the windows in reverse: state that a model keeps from a later window shows in an earlier
        // one.
        for window in (0..self.windows.len()).rev() {
            for (model, before) in baseline[window].iter().enumerate() {
                let after = self.rerun(self.panel, model, window, usize::MAX)?;
                let comparison = Comparison { window, model, cut: None, change: "order" };
                self.compare(&mut out, comparison, before, &after);
            }
            self.check_cancelled()?;
        }
        for cut in self.cut_rows(&baseline, dates.max(1)) {
            out.dates += 1;
            for change in Perturbation::ALL {
                let panel = self.panel.perturbed_after(cut, change, 0x5eed);
                for window in self.windows_to_rerun(&baseline, cut) {
                    for (model, before) in baseline[window].iter().enumerate() {
                        let after = self.rerun(&panel, model, window, cut)?;
                        let decided = before.partition_point(|one| one.decision.row <= cut);
                        let comparison = Comparison { window, model, cut: Some(cut), change: change.name() };
                        self.compare(&mut out, comparison, &before[..decided], &after);
                    }
                    self.check_cancelled()?;
                }
            }
        }
        Ok(out)
    }

    fn check_cancelled(&self) -> Result<()> {
        if (self.cancelled)() {
            fail!(Cancelled, "{CANCELLED}");
        }
        Ok(())
    }

    /// Adds to each decision of a model in a window its weights after constraints, from rows up to `last`.
    fn constrain(
        &self,
        panel: &Panel,
        of: (usize, usize),
        decisions: Vec<Decision>,
        last: usize,
    ) -> Result<Vec<ConstrainedDecision>> {
        let simulated = (self.simulate)(panel, of, &decisions, last)?;
        let at_row = |row: usize| simulated.iter().find(|(found, _)| *found == row).map(|(_, weights)| weights.clone());
        let constrained = |decision: Decision| ConstrainedDecision { weights: at_row(decision.row), decision };
        Ok(decisions.into_iter().map(constrained).collect())
    }

    /// The decisions up to `cut` of another run, on a panel that may be perturbed. An error after `cut` is ignored; one
    /// before it leaves decisions out, which [`compare`](Self::compare) reports.
    fn rerun(&self, panel: &Panel, model: usize, window: usize, cut: usize) -> Result<Vec<ConstrainedDecision>> {
        let WindowDecisions { mut decisions, failed } = (self.decide)(panel, model, window);
        if let Some(error) = failed.filter(|error| error.code() == Code::Cancelled) {
            return Err(error);
        }
        decisions.retain(|decision| decision.row <= cut);
        match self.constrain(panel, (model, window), decisions, cut) {
            Err(error) if error.code() == Code::Cancelled => Err(error),
            // The simulation failed on rows up to the cut: without weights every decision counts as moved.
            Err(_) => Ok(Vec::new()),
            found => found,
        }
    }

    /// Compares the decisions in `before` with those on the same rows in `after`, and keeps the first that differs.
    fn compare(
        &self,
        out: &mut Audit,
        comparison: Comparison,
        before: &[ConstrainedDecision],
        after: &[ConstrainedDecision],
    ) {
        for one in before {
            out.compared += 1;
            let row = one.decision.row;
            let other = after.iter().find(|other| other.decision.row == row);
            let Some(difference) = other.map_or(Some(f64::INFINITY), |other| largest_difference(one, other)) else {
                continue;
            };
            let dates = self.panel.dates();
            let moved = MovedDecision {
                date: dates[row],
                row,
                window: comparison.window,
                model: comparison.model,
                after: dates[comparison.cut.unwrap_or(row)],
                change: comparison.change,
                difference,
            };
            let key = (row, comparison.window, comparison.model);
            let earlier = |found: &MovedDecision| (found.row, found.window, found.model) <= key;
            if !out.moved.as_ref().is_some_and(earlier) {
                out.moved = Some(moved);
            }
        }
    }

    /// The rows after which the data are cut: in each window the first test decision, where a fit that read too far
    /// shows, and the middle one. Of these up to `most`, evenly spread.
    fn cut_rows(&self, baseline: &[Vec<Vec<ConstrainedDecision>>], most: usize) -> Vec<usize> {
        let mut all = Vec::new();
        for (window, of_models) in self.windows.iter().zip(baseline) {
            let first = window.test.rows.start.saturating_sub(1 + self.lag);
            let rows = of_models.iter().flatten().map(|one| one.decision.row);
            let mut tests: Vec<usize> = rows.filter(|row| *row >= first).collect();
            tests.sort_unstable();
            tests.dedup();
            all.extend(tests.first());
            all.extend(tests.get(tests.len() / 2));
        }
        all.sort_unstable();
        all.dedup();
        let count = all.len().min(most);
        (0..count).map(|index| all[if count == 1 { 0 } else { index * (all.len() - 1) / (count - 1) }]).collect()
    }

    /// The windows to run for a cut, the latest first: those that have decisions up to the cut and data after it, and
    /// the window that follows, in case a model keeps state from it.
    fn windows_to_rerun(&self, baseline: &[Vec<Vec<ConstrainedDecision>>], cut: usize) -> Vec<usize> {
        let crosses_cut = |window: usize| {
            baseline[window].iter().flatten().any(|one| one.decision.row <= cut)
                && self.windows[window].test.rows.end > cut + 1
        };
        let mut out: Vec<usize> = (0..self.windows.len()).filter(|&window| crosses_cut(window)).collect();
        if let Some(next) = out.last().map(|last| last + 1).filter(|next| *next < self.windows.len()) {
            out.push(next);
        }
        out.reverse();
        out
    }
}

/// What is compared with the baseline: a window of a model after a change to the rows after `cut`.
#[derive(Clone, Copy)]
struct Comparison {
    window: usize,
    model: usize,
    cut: Option<usize>,
    change: &'static str,
}

/// The largest difference between two decisions on the same row; `None` if they are equal bit for bit.
fn largest_difference(one: &ConstrainedDecision, two: &ConstrainedDecision) -> Option<f64> {
    let pairs = [
        (Some(&one.decision.target), Some(&two.decision.target)),
        (one.decision.scores.as_ref(), two.decision.scores.as_ref()),
        (one.weights.as_ref(), two.weights.as_ref()),
    ];
    let mut largest = (one.decision.shown != two.decision.shown).then_some(0.0_f64);
    for pair in pairs {
        match pair {
            (None, None) => (),
            (Some(one), Some(two)) if one.len() == two.len() => {
                for (one, two) in one.iter().zip(two).filter(|(one, two)| one.to_bits() != two.to_bits()) {
                    let difference = (one - two).abs();
                    let difference = if difference.is_nan() { f64::INFINITY } else { difference };
                    largest = Some(largest.unwrap_or(0.0).max(difference));
                }
            }
            _ => largest = Some(f64::INFINITY),
        }
    }
    largest
}

impl Run {
    /// Audits the models of the run for look-ahead. At up to `dates` dates the future is changed, and every earlier
    /// test decision must stay the same bit for bit. So must the validation decisions of a model that fits nothing; a
    /// model that is fitted may use its whole validation span.
    ///
    /// # Errors
    /// Errors of the run on the unchanged data; `Cancelled`.
    pub fn audit(&self, dates: usize) -> Result<Audit> {
        let decide = |panel: &Panel, model: usize, window: usize| self.decide_for_audit(panel, model, window);
        let simulate = |panel: &Panel, (model, window): (usize, usize), decisions: &[Decision], last: usize| {
            simulate_test_span(self.execution_of(model), panel, &self.windows[window], decisions, last)
        };
        let flag = self.cancel_flag();
        let outcome = Pipeline {
            panel: &self.panel,
            windows: &self.windows,
            models: self.models.len(),
            lag: self.execution.lag,
            decide: &decide,
            simulate: &simulate,
            cancelled: &|| flag.load(std::sync::atomic::Ordering::Relaxed),
        }
        .audit(dates);
        if outcome.as_ref().is_err_and(|error| error.code() == Code::Cancelled) {
            flag.store(false, std::sync::atomic::Ordering::Relaxed);
        }
        outcome
    }

    /// The decisions of a window that must not depend on later rows, up to the first error.
    fn decide_for_audit(&self, panel: &Panel, model: usize, window: usize) -> WindowDecisions {
        let mut out = WindowDecisions { decisions: Vec::new(), failed: None };
        let (entry, window) = (&self.models[model], &self.windows[window]);
        let context = |error: Error| error.context(format!("model '{}'", entry.name));
        let portfolio = &self.experiment.portfolio;
        let due = |row: usize| self.schedule.contains(row);
        let execution = self.execution_of(model).clone();
        let mut decided = Vec::new();
        let decide_all = || -> Result<()> {
            let fitted = fit_to_end(
                &self.experiment,
                panel,
                (&self.schedule, window),
                entry,
                &TrainingContext::new(panel, Arc::clone(&self.team), self.conventions.clone(), execution),
            )?;
            let mut rows = Vec::new();
            let usable = self.experiment.fit_rows(panel.dates(), window);
            if !fitted.needs_fit() {
                rows = decisions(usable.validation, portfolio.execution_lag, due)?;
            }
            rows.extend(decisions(window.test.rows.clone(), portfolio.execution_lag, due)?);
            let cancelled = || entry.context.cancelled();
            decide_rows(panel, &*fitted, (0, &rows), &cancelled, &mut decided)
        };
        out.failed = decide_all().map_err(context).err();
        out.decisions = decided.into_iter().map(|(decision, _)| decision).collect();
        out
    }
}

/// The weights after constraints on a path that starts in cash at a window's test span, from rows up to `last`.
fn simulate_test_span(
    execution: &ExecutionModel,
    panel: &Panel,
    window: &Window,
    decisions: &[Decision],
    last: usize,
) -> Result<WeightsByRow> {
    let rows = window.test.rows.clone();
    let first = rows.start.saturating_sub(1 + execution.lag);
    let test = &decisions[decisions.partition_point(|decision| decision.row < first)..];
    // The target of a decision at `last` is set when the next row begins, and nothing else of that row is used. Targets
    // of decisions before the span (several rows with a lag) are set when its first row begins.
    let stop = last.saturating_add(2).max(rows.start + 1);
    let mut simulated = execution.simulate_until(panel, &mut execution.cash(panel), test, rows, stop)?;
    simulated.targets.retain(|(row, _)| *row <= last);
    Ok(simulated.targets)
}
