//! From decisions to a path: each target held to the constraints with what is known at its row, then executed, earned
//! and charged row by row.

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
    /// Which assets it was shown.
    pub shown: Vec<bool>,
    /// Its scores, NaN for assets that it was not shown; `None` where it gives none.
    pub scores: Option<Vec<f64>>,
}

/// What a path depends on beside the decisions.
#[derive(Clone, Debug)]
pub struct ExecutionModel {
    /// What every target is held to.
    pub constraints: Constraints,
    /// Cost in basis points of Σ|w − w⁻|.
    pub cost_bps: f64,
    /// Rows from decision to execution.
    pub lag: usize,
}

/// A path and how it came about.
#[derive(Clone, Debug, Default)]
pub struct SimulatedPath {
    /// The path.
    pub path: Path,
    /// Decision rows and the weights that were ordered there.
    pub targets: Vec<(usize, Vec<f64>)>,
    /// Decision rows and what constraints changed there.
    pub changes: Vec<(usize, ConstraintChange)>,
}

impl ExecutionModel {
    /// A book in cash.
    pub fn cash(&self, panel: &Panel) -> Account {
        Account::new(panel.assets().len(), self.cost_bps, self.lag)
    }

    /// Goes through `rows` with the decisions that are held in them; one that is first held after them is not made.
    ///
    /// # Errors
    /// `Infeasible` with the decision's date where the constraints cannot be met; `InvalidData` where everything is
    /// lost.
    pub fn simulate(
        &self,
        panel: &Panel,
        book: &mut Account,
        decisions: &[Decision],
        rows: Range<usize>,
    ) -> Result<SimulatedPath> {
        let end = rows.end;
        self.simulate_until(panel, book, decisions, rows, end)
    }

    /// The same, stopped before the row `stop`.
    pub fn simulate_until(
        &self,
        panel: &Panel,
        book: &mut Account,
        decisions: &[Decision],
        rows: Range<usize>,
        stop: usize,
    ) -> Result<SimulatedPath> {
        let assets = panel.assets().len();
        let mut out = SimulatedPath::default();
        let mut due = decisions.iter().filter(|decision| decision.row + 1 + self.lag < rows.end).peekable();
        for row in rows.start..rows.end.min(stop) {
            while let Some(decision) = due.next_if(|decision| decision.row < row) {
                let mut weights = decision.target.clone();
                let known = ConstraintContext {
                    members: panel.members(decision.row),
                    shown: &decision.shown,
                    scores: decision.scores.as_deref(),
                    before: book.drifted(decision.row),
                };
                let changes = self
                    .constraints
                    .apply(&mut weights, &known)
                    .map_err(|error| error.context(format!("the decision of {}", panel.dates()[decision.row])))?;
                out.changes.extend(changes.into_iter().map(|change| (decision.row, change)));
                out.targets.push((decision.row, weights.clone()));
                book.decide(decision.row, weights);
            }
            book.advance(row, &panel.held_returns()[row * assets..][..assets], &mut out.path)?;
        }
        Ok(out)
    }
}
