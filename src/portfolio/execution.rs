//! From decisions to a net return path: constraints are applied to each target with what is known at its row, then it
//! is executed.

use std::ops::Range;

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

/// How decisions become holdings: constraints, costs and execution lag.
#[derive(Clone, Debug)]
pub struct ExecutionModel {
    /// The constraints on every target.
    pub constraints: Constraints,
    /// Trading cost in basis points of Σ|w − w⁻|.
    pub cost_bps: f64,
    /// Rows from decision to execution.
    pub lag: usize,
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
    /// An account in cash.
    pub fn cash(&self, panel: &Panel) -> Account {
        Account::new(panel.assets().len(), self.cost_bps, self.lag)
    }

    /// Simulates `rows`. Decisions that would first be held after them are ignored.
    ///
    /// # Errors
    /// `Infeasible` with the date of the decision if the constraints cannot be met; `InvalidData` if the portfolio
    /// loses everything.
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
        let mut due = decisions.iter().filter(|decision| decision.row + 1 + self.lag < rows.end).peekable();
        for row in rows.start..rows.end.min(stop) {
            while let Some(decision) = due.next_if(|decision| decision.row < row) {
                self.decide(panel, account, decision, &mut out)?;
            }
            account.step(row, panel, &mut out.path)?;
        }
        Ok(out)
    }

    /// Applies the constraints to one decision and orders the result.
    fn decide(&self, panel: &Panel, account: &mut Account, decision: &Decision, out: &mut SimulatedPath) -> Result<()> {
        let mut weights = decision.target.clone();
        let context = ConstraintContext {
            members: panel.members(decision.row),
            shown: &decision.shown,
            scores: decision.scores.as_deref(),
            before: account.drifted(decision.row),
        };
        let changes = self
            .constraints
            .apply(&mut weights, &context)
            .map_err(|error| error.context(format!("the decision of {}", panel.dates()[decision.row])))?;
        out.changes.extend(changes.into_iter().map(|change| (decision.row, change)));
        out.targets.push((decision.row, weights.clone()));
        account.order(decision.row, weights);
        Ok(())
    }
}
