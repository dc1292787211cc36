//! The look-ahead audit: the same decisions, made once with the data as they are and once with another future. Calendar,
//! windows and schedule stay; the contents of every row after a date are changed or removed. A weight decided up to
//! that date that is not the same to the last bit was decided with what nobody could know.

use jiff::civil::Date;

use crate::error::{Code, Error, Result, fail};
use crate::job::CANCELLED;
use crate::job::{decide, fit_to_end};
use crate::panel::{Panel, Perturbation};
use crate::portfolio::{Decision, ExecutionModel};
use crate::run::runner::Run;
use crate::windows::{Window, decisions};

/// How many dates a run is cut at where the caller does not say.
pub const DEFAULT_DATES: usize = 24;

/// A weight that moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// The decision's date.
    pub date: Date,
    /// The decision's row.
    pub row: usize,
    /// The window whose model decided.
    pub window: usize,
    /// The model.
    pub model: usize,
    /// The last date that was left as it was; for `order` the decision's own.
    pub after: Date,
    /// What was done to the rows after it: `altered`, `removed`, or `order` where only the order of the windows was
    /// turned round: the model keeps something between its calls that it should not.
    pub change: &'static str,
    /// Largest |difference| of a weight; infinite where no weights came at all.
    pub difference: f64,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Dates at which the data were cut.
    pub dates: usize,
    /// Decisions that were compared.
    pub compared: usize,
    /// The first one that moved: the earliest date, then window, then model.
    pub moved: Option<Moved>,
}

/// Decision rows and the weights that were ordered there, `[assets]`.
pub type Weighed = Vec<(usize, Vec<f64>)>;

/// What a pipeline decided in a window, as far as it came.
pub struct Decided {
    /// Decisions in the order of their rows, those that must not depend on later rows.
    pub decisions: Vec<Decision>,
    /// Why there are no more, if that is so.
    pub failed: Option<Error>,
}

/// Weighs the decisions of a window, by its number, with a panel and no row after the one given.
pub type Weigh<'a> = dyn Fn(&Panel, usize, &[Decision], usize) -> Result<Weighed> + 'a;

/// What is audited: something that makes decisions of a panel.
pub struct Pipeline<'a> {
    /// The data.
    pub panel: &'a Panel,
    /// The windows.
    pub windows: &'a [Window],
    /// Number of models.
    pub models: usize,
    /// Rows between decision and execution.
    pub lag: usize,
    /// What a model decides in a window, given a panel with these windows.
    pub decide: &'a dyn Fn(&Panel, usize, usize) -> Decided,
    /// The weights that a decision comes to, `[assets]`, by decision, as far as they follow from rows up to the one given.
    pub weigh: &'a Weigh<'a>,
    /// Asked now and then: whether the caller wants the audit to stop.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// What is compared of a decision: its row, what the model gave, and the weights after constraints.
struct Evidence {
    decision: Decision,
    weights: Option<Vec<f64>>,
}

impl Pipeline<'_> {
    /// Audits at up to `dates` dates, spread over the windows; at least 1.
    ///
    /// # Errors
    /// What the pipeline gives with the data as they are; `Cancelled`.
    pub fn audit(&self, dates: usize) -> Result<Audit> {
        let mut base = Vec::with_capacity(self.windows.len());
        for window in 0..self.windows.len() {
            let of_models = (0..self.models).map(|model| {
                let Decided { decisions, failed } = (self.decide)(self.panel, model, window);
                match failed {
                    Some(error) => Err(error.context(format!("window {window}"))),
                    None => self.evidence(self.panel, window, decisions, usize::MAX),
                }
            });
            base.push(of_models.collect::<Result<Vec<_>>>()?);
            self.go_on()?;
        }
        let mut out = Audit { dates: 0, compared: 0, moved: None };
        // The same data, windows in reverse: whatever a model remembers of a later window shows in an earlier one.
        for window in (0..self.windows.len()).rev() {
            for (model, before) in base[window].iter().enumerate() {
                let after = self.changed(self.panel, model, window, usize::MAX)?;
                let place = Place { window, model, cut: None, change: "order" };
                self.compare(&mut out, place, before, &after);
            }
            self.go_on()?;
        }
        for cut in self.cuts(&base, dates.max(1)) {
            out.dates += 1;
            for change in Perturbation::ALL {
                let panel = self.panel.perturbed_after(cut, change, 0x5eed);
                for window in self.touched(&base, cut) {
                    for (model, before) in base[window].iter().enumerate() {
                        let after = self.changed(&panel, model, window, cut)?;
                        let known = before.partition_point(|evidence| evidence.decision.row <= cut);
                        let place = Place { window, model, cut: Some(cut), change: change.name() };
                        self.compare(&mut out, place, &before[..known], &after);
                    }
                    self.go_on()?;
                }
            }
        }
        Ok(out)
    }

    fn go_on(&self) -> Result<()> {
        if (self.cancelled)() {
            fail!(Cancelled, "{CANCELLED}");
        }
        Ok(())
    }

    /// Decisions and the weights they come to, as far as rows up to `last` tell.
    fn evidence(&self, panel: &Panel, window: usize, decisions: Vec<Decision>, last: usize) -> Result<Vec<Evidence>> {
        let weighed = (self.weigh)(panel, window, &decisions, last)?;
        let of_row = |row: usize| weighed.iter().find(|(found, _)| *found == row).map(|(_, weights)| weights.clone());
        Ok(decisions.into_iter().map(|decision| Evidence { weights: of_row(decision.row), decision }).collect())
    }

    /// The same of a changed panel. That it fails later is no matter; where it fails before `cut`, decisions are missing.
    fn changed(&self, panel: &Panel, model: usize, window: usize, cut: usize) -> Result<Vec<Evidence>> {
        let Decided { mut decisions, failed } = (self.decide)(panel, model, window);
        if let Some(error) = failed.filter(|error| error.code() == Code::Cancelled) {
            return Err(error);
        }
        decisions.retain(|decision| decision.row <= cut);
        match self.evidence(panel, window, decisions, cut) {
            Err(error) if error.code() == Code::Cancelled => Err(error),
            // Where the books fail on a changed past row nothing is left to compare, which compare() tells.
            Err(_) => Ok(Vec::new()),
            found => found,
        }
    }

    fn compare(&self, out: &mut Audit, place: Place, before: &[Evidence], after: &[Evidence]) {
        for evidence in before {
            out.compared += 1;
            let row = evidence.decision.row;
            let other = after.iter().find(|other| other.decision.row == row);
            let Some(difference) = other.map_or(Some(f64::INFINITY), |other| differs(evidence, other)) else {
                continue;
            };
            let dates = self.panel.dates();
            let moved = Moved {
                date: dates[row],
                row,
                window: place.window,
                model: place.model,
                after: dates[place.cut.unwrap_or(row)],
                change: place.change,
                difference,
            };
            let earlier = |found: &Moved| (found.row, found.window, found.model) <= (row, place.window, place.model);
            if !out.moved.as_ref().is_some_and(earlier) {
                out.moved = Some(moved);
            }
        }
    }

    /// Rows to cut after: of each window the first test decision, where a fit may have reached too far, and the one in
    /// the middle; of these up to `most`, evenly spread.
    fn cuts(&self, base: &[Vec<Vec<Evidence>>], most: usize) -> Vec<usize> {
        let mut all = Vec::new();
        for (window, of_models) in self.windows.iter().zip(base) {
            let first = window.test.rows.start.saturating_sub(1 + self.lag);
            let rows = of_models.iter().flatten().map(|evidence| evidence.decision.row);
            let mut tests: Vec<usize> = rows.filter(|row| *row >= first).collect();
            tests.sort_unstable();
            tests.dedup();
            all.extend(tests.first());
            all.extend(tests.get(tests.len() / 2));
        }
        all.sort_unstable();
        all.dedup();
        let count = all.len().min(most);
        (0..count).map(|place| all[if count == 1 { 0 } else { place * (all.len() - 1) / (count - 1) }]).collect()
    }

    /// The windows to walk for a cut, later ones first: those that decide something by then and whose data go on after
    /// it, and the one that follows, in case a model remembers it.
    fn touched(&self, base: &[Vec<Vec<Evidence>>], cut: usize) -> Vec<usize> {
        let decides = |window: usize| {
            base[window].iter().flatten().any(|evidence| evidence.decision.row <= cut)
                && self.windows[window].test.rows.end > cut + 1
        };
        let mut out: Vec<usize> = (0..self.windows.len()).filter(|&window| decides(window)).collect();
        if let Some(next) = out.last().map(|last| last + 1).filter(|next| *next < self.windows.len()) {
            out.push(next);
        }
        out.reverse();
        out
    }
}

/// Where a comparison stands.
#[derive(Clone, Copy)]
struct Place {
    window: usize,
    model: usize,
    cut: Option<usize>,
    change: &'static str,
}

/// The largest difference of two decisions on the same row; `None` where every bit is the same.
fn differs(one: &Evidence, two: &Evidence) -> Option<f64> {
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
                    let apart = (one - two).abs();
                    largest = Some(largest.unwrap_or(0.0).max(if apart.is_nan() { f64::INFINITY } else { apart }));
                }
            }
            _ => largest = Some(f64::INFINITY),
        }
    }
    largest
}

impl Run {
    /// Audits the run's models: at up to `dates` dates the future is changed, and every test decision before must be
    /// the same to the last bit, as must the validation decisions of a model that fits nothing. (One that does may
    /// choose by its whole validation span.)
    ///
    /// # Errors
    /// What the walk gives with the data as they are; `Cancelled`.
    pub fn audit(&self, dates: usize) -> Result<Audit> {
        let decide = |panel: &Panel, model: usize, window: usize| self.decide_for_audit(panel, model, window);
        let weigh = |panel: &Panel, window: usize, decisions: &[Decision], last: usize| {
            weigh(&self.execution, panel, &self.windows[window], decisions, last)
        };
        let flag = self.cancel_flag();
        let outcome = Pipeline {
            panel: &self.panel,
            windows: &self.windows,
            models: self.models.len(),
            lag: self.execution.lag,
            decide: &decide,
            weigh: &weigh,
            cancelled: &|| flag.load(std::sync::atomic::Ordering::Relaxed),
        }
        .audit(dates);
        if outcome.as_ref().is_err_and(|error| error.code() == Code::Cancelled) {
            flag.store(false, std::sync::atomic::Ordering::Relaxed);
        }
        outcome
    }

    /// The decisions of a window that must not depend on later rows, one after the other as far as they come.
    fn decide_for_audit(&self, panel: &Panel, model: usize, window: usize) -> Decided {
        let mut out = Decided { decisions: Vec::new(), failed: None };
        let (entry, window) = (&self.models[model], &self.windows[window]);
        let name = |error: Error| error.context(format!("model '{}'", entry.name));
        let portfolio = &self.experiment.portfolio;
        let dates = panel.dates();
        let due = |row: usize| portfolio.is_due(dates, row);
        let mut walk = || -> Result<()> {
            let fitted = fit_to_end(&self.experiment, panel, window, entry)?;
            let mut rows = Vec::new();
            if !fitted.needs_fit() {
                rows = decisions(window.validation.rows.clone(), portfolio.execution_lag, due)?;
            }
            rows.extend(decisions(window.test.rows.clone(), portfolio.execution_lag, due)?);
            for row in rows {
                out.decisions.push(decide(panel, &*fitted, 0, row)?.0);
            }
            Ok(())
        };
        out.failed = walk().map_err(name).err();
        out
    }
}

/// The weights after constraints on a path from cash over a window's test span, as far as rows up to `last` tell.
fn weigh(
    execution: &ExecutionModel,
    panel: &Panel,
    window: &Window,
    decisions: &[Decision],
    last: usize,
) -> Result<Weighed> {
    let rows = window.test.rows.clone();
    let first = (rows.start).saturating_sub(1 + execution.lag);
    let test = &decisions[decisions.partition_point(|decision| decision.row < first)..];
    // A decision at `last` is weighed when the row after it begins, of which nothing else is looked at; those before the
    // span, of which there are several rows with a lag, when its first row does.
    let stop = last.saturating_add(2).max(rows.start + 1);
    let mut walked = execution.simulate_until(panel, &mut execution.cash(panel), test, rows, stop)?;
    walked.targets.retain(|(row, _)| *row <= last);
    Ok(walked.targets)
}
