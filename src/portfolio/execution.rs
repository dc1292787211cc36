//! From decisions to a net return path: each target is held to the constraints with what is known at its row, then executed.

use std::ops::Range;

use super::{Account, ConstraintChange, ConstraintContext, Constraints, Path};
use crate::error::Result;
use crate::panel::Panel;

/// What a model decided at a row, before constraints; vectors are `[assets]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The row.
    pub row: usize,
    /// Weights; 0 for assets that the model was not shown.
    pub target: Vec<f64>,
    /// Which assets the model was shown.
    pub shown: Vec<bool>,
    /// The model's scores, NaN for assets that it was not shown; `None` where it outputs none.
    pub scores: Option<Vec<f64>>,
}

/// How decisions become holdings: constraints, costs and execution lag.
#[derive(Clone, Debug)]
pub struct ExecutionModel {
    /// What every target is held to.
    pub constraints: Constraints,
    /// Cost in basis points of Σ|w − w⁻|.
    pub cost_bps: f64,
    /// Rows from decision to execution.
    pub lag: usize,
}

/// A path and the targets and constraint changes that led to it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedPath {
    /// The path.
    pub path: Path,
    /// Decision rows and the weights ordered there, `[assets]`.
    pub targets: Vec<(usize, Vec<f64>)>,
    /// Decision rows and what constraints changed there.
    pub changes: Vec<(usize, ConstraintChange)>,
}

impl ExecutionModel {
    /// An account in cash.
    pub fn cash(&self, panel: &Panel) -> Account {
        Account::new(panel.assets().len(), self.cost_bps, self.lag)
    }

    /// Simulates `rows` with the decisions that are held in them; a decision that is first held after them is not made.
    ///
    /// # Errors
    /// `Infeasible` with the decision's date where the constraints cannot be met; `InvalidData` where everything is lost.
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

    /// The same, stopped before the row `stop`.
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

    /// Holds one decision to the constraints and orders it.
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
