//! From decisions to a net return path: constraints are applied to each target with what is known at its row, then it
//! is executed.

use std::ops::Range;
use std::sync::Arc;

use super::account::Execution;
use super::constraints::TOLERANCE;
use super::terms::Terms;
use super::{Account, ConstraintChange, ConstraintContext, Constraints, Path};
use crate::error::Result;
use crate::panel::Panel;

/// The decision of a model at a row, before constraints. Vectors are `[assets]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The row.
    pub row: usize,
    /// Target weights; 0 for assets that the model did not see.
    pub target: Vec<f64>,
    /// Which assets the model saw.
    pub shown: Vec<bool>,
    /// The model's scores, NaN for assets that it did not see; `None` if it has no scores.
    pub scores: Option<Vec<f64>>,
}

/// How decisions become holdings: constraints, execution lag, costs, and what becomes of series that end.
#[derive(Clone, Debug)]
pub struct ExecutionModel {
    /// The constraints on every target.
    pub constraints: Constraints,
    /// Rows from decision to execution.
    pub lag: usize,
    /// Costs and returns beside those of assets.
    pub terms: Arc<Terms>,
    /// The return per row, `[dates]`, of what is no portfolio of the panel's assets and costs nothing: decisions are then
    /// ignored. `None` for a portfolio.
    pub index: Option<Arc<[f64]>>,
}

/// A path, with the targets and constraint changes that led to it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedPath {
    /// The path.
    pub path: Path,
    /// Decision rows with the weights `[assets]` ordered there, after constraints.
    pub targets: Vec<(usize, Vec<f64>)>,
    /// Decision rows with the changes by constraints there.
    pub changes: Vec<(usize, ConstraintChange)>,
}

impl ExecutionModel {
    /// With trading costs of `cost_bps` basis points of Σ|w − w⁻|, and no other cost.
    pub fn new(constraints: Constraints, cost_bps: f64, lag: usize) -> Self {
        Self { constraints, lag, terms: Arc::new(Terms::costs(cost_bps)), index: None }
    }

    /// The same without constraints, for a benchmark: membership, prices, costs and lag hold for it too.
    #[must_use]
    pub fn without_constraints(&self) -> Self {
        Self { constraints: Constraints::none(), ..self.clone() }
    }

    /// An account in cash.
    pub fn cash(&self, panel: &Panel) -> Account {
        Account::new(panel.assets().len(), Arc::clone(&self.terms), self.lag, self.constraints.budget)
    }

    /// Simulates `rows`. Decisions that would first be held after them are ignored. The path ends where everything is
    /// lost, and is empty where it was before.
    ///
    /// # Errors
    /// `Infeasible` with the date of the decision if the constraints cannot be met.
    pub fn simulate(
        &self,
        panel: &Panel,
        account: &mut Account,
        decisions: &[Decision],
        rows: Range<usize>,
    ) -> Result<SimulatedPath> {
        let end = rows.end;
        self.simulate_until(panel, account, decisions, rows, end)
    }

    /// As [`ExecutionModel::simulate`], but stops before the row `stop`.
    ///
    /// # Errors
    /// Errors of [`ExecutionModel::simulate`].
    pub fn simulate_until(
        &self,
        panel: &Panel,
        account: &mut Account,
        decisions: &[Decision],
        rows: Range<usize>,
        stop: usize,
    ) -> Result<SimulatedPath> {
        let mut out = SimulatedPath::default();
        if let Some(index) = &self.index {
            out.path = Path::without_costs(rows.start..rows.end.min(stop), index);
            return Ok(out);
        }
        let mut due = decisions.iter().filter(|decision| decision.row + 1 + self.lag < rows.end).peekable();
        for row in rows.start..rows.end.min(stop) {
            if account.is_ruined() {
                break;
            }
            while let Some(decision) = due.next_if(|decision| decision.row < row) {
                self.decide(panel, account, decision, &mut out)?;
            }
            let executions = account.advance(row, panel, &mut out.path);
            self.note(executions, &mut out);
        }
        Ok(out)
    }

    /// Applies the constraints to one decision and orders the result.
    fn decide(&self, panel: &Panel, account: &mut Account, decision: &Decision, out: &mut SimulatedPath) -> Result<()> {
        let mut weights = decision.target.clone();
        let (book, executions) = account.book(decision.row, panel);
        self.note(executions, out);
        let context = ConstraintContext {
            members: panel.members(decision.row),
            shown: &decision.shown,
            scores: decision.scores.as_deref(),
            before: &book,
        };
        let changes = self
            .constraints
            .at(decision.row)
            .apply(&mut weights, &context)
            .map_err(|error| error.context(format!("the decision of {}", panel.dates()[decision.row])))?;
        out.changes.extend(changes.into_iter().map(|change| (decision.row, change)));
        out.targets.push((decision.row, weights.clone()));
        let is_limited = book.iter().any(|weight| *weight != 0.0);
        account.order(decision.row, weights, self.constraints.max_turnover.filter(|_| is_limited));
        Ok(())
    }

    /// Lists what executions came to beyond the constraints: those of a target hold for what is ordered.
    fn note(&self, executions: Vec<Execution>, out: &mut SimulatedPath) {
        for Execution { decided, weights, turnover, limit, is_blocked } in executions {
            let mut push = |rule, moved: f64| {
                if moved > TOLERANCE {
                    out.changes.push((decided, ConstraintChange { rule, moved }));
                }
            };
            push("turnover_beyond", limit.map_or(0.0, |limit| turnover - limit));
            if is_blocked {
                push("drift", self.constraints.at(decided).beyond(&weights));
            }
        }
    }
}
