//! The Euclidean projection with bounds on sums of weights: a quadratic program, solved by the Clarabel crate.

use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettingsBuilder, DefaultSolver, IPSolver, NonnegativeConeT, SolverStatus, SupportedConeT, ZeroConeT,
};

use super::{Constraints, SOLVER_TOLERANCE, bounds};
use crate::error::{Code, Error, Result, fail};

/// Projects the target of one decision.
pub(super) struct Solver<'a> {
    constraints: &'a Constraints,
    eligible: &'a [bool],
}

impl<'a> Solver<'a> {
    pub(super) fn new(constraints: &'a Constraints, eligible: &'a [bool]) -> Self {
        Self { constraints, eligible }
    }

    /// Replaces `target` by the nearest portfolio within the bounds; assets that are not eligible must be 0.
    pub(super) fn project(&self, target: &mut [f64]) -> Result<()> {
        let (low, high) = (self.constraints.lower_bound(), self.constraints.max_weight);
        if self.constraints.groups.is_empty() {
            bounds::project(target, self.eligible, low, high);
            return Ok(());
        }
        let free: Vec<usize> = (0..target.len()).filter(|&asset| self.eligible[asset]).collect();
        let solved = self.solve(&free, &free.iter().map(|&asset| target[asset]).collect::<Vec<_>>())?;
        for (&asset, weight) in free.iter().zip(&solved) {
            target[asset] = weight.clamp(low, high);
        }
        self.restore_sum(&free, target);
        if self.constraints.violation(target) > SOLVER_TOLERANCE {
            fail!(Internal, "the portfolio of the solver breaks its bounds by {}", self.constraints.violation(target));
        }
        Ok(())
    }

    /// Minimises ½‖w − v‖² subject to Σw = 1, bounds and groups.
    fn solve(&self, free: &[usize], values: &[f64]) -> Result<Vec<f64>> {
        let (count, constraints) = (free.len(), self.constraints);
        // Each row is a sum of factors times variables, with its right-hand side.
        let mut rows: Vec<(Vec<(usize, f64)>, f64)> = vec![((0..count).map(|variable| (variable, 1.0)).collect(), 1.0)];
        for variable in 0..count {
            rows.push((vec![(variable, 1.0)], constraints.max_weight));
            rows.push((vec![(variable, -1.0)], -constraints.lower_bound()));
        }
        for group in &constraints.groups {
            let sum = |sign: f64| {
                let members = free.iter().enumerate().filter(|(_, asset)| group.assets.binary_search(asset).is_ok());
                members.map(|(variable, _)| (variable, sign)).collect::<Vec<_>>()
            };
            rows.push((sum(1.0), group.max));
            rows.push((sum(-1.0), -group.min));
        }
        let mut columns: Vec<Vec<(usize, f64)>> = vec![Vec::new(); count];
        for (row, (entries, _)) in rows.iter().enumerate() {
            for &(variable, factor) in entries {
                columns[variable].push((row, factor));
            }
        }
        let mut starts = vec![0];
        let (mut indices, mut factors) = (Vec::new(), Vec::new());
        for column in &columns {
            indices.extend(column.iter().map(|entry| entry.0));
            factors.extend(column.iter().map(|entry| entry.1));
            starts.push(indices.len());
        }
        let matrix = CscMatrix::new(rows.len(), count, starts, indices, factors);
        let limits: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let linear: Vec<f64> = values.iter().map(|value| -value).collect();
        let cones: [SupportedConeT<f64>; 2] = [ZeroConeT(1), NonnegativeConeT(rows.len() - 1)];
        let internal = |message: String| Error::new(Code::Internal, format!("the solver for group bounds: {message}"));
        let settings = DefaultSettingsBuilder::default()
            .verbose(false)
            .tol_gap_abs(1e-13)
            .tol_gap_rel(1e-13)
            .tol_feas(1e-13)
            .build()
            .map_err(|error| internal(error.to_string()))?;
        let mut solver = DefaultSolver::new(&CscMatrix::identity(count), &linear, &matrix, &limits, &cones, settings)
            .map_err(|error| internal(error.to_string()))?;
        solver.solve();
        match solver.solution.status {
            SolverStatus::Solved | SolverStatus::AlmostSolved | SolverStatus::InsufficientProgress => {
                Ok(solver.solution.x.clone())
            }
            SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => Err(self.infeasible(count)),
            other => Err(internal(format!("it ended as {other:?}"))),
        }
    }

    /// Makes the sum exactly 1 by shifting the assets that are not at a bound, and in no group at a bound if there are
    /// any.
    fn restore_sum(&self, free: &[usize], target: &mut [f64]) {
        let (low, high) = (self.constraints.lower_bound(), self.constraints.max_weight);
        let is_at_bound = |group: &super::Group| {
            let sum: f64 = group.assets.iter().map(|&asset| target[asset]).sum();
            sum > group.max - 1e-7 || sum < group.min + 1e-7
        };
        let tight: Vec<&super::Group> = self.constraints.groups.iter().filter(|group| is_at_bound(group)).collect();
        let movable = |strict: bool| -> Vec<usize> {
            let inside = |asset: usize| target[asset] > low + 1e-7 && target[asset] < high - 1e-7;
            let is_fixed = |asset: usize| tight.iter().any(|group| group.assets.binary_search(&asset).is_ok());
            free.iter().copied().filter(|&asset| inside(asset) && !(strict && is_fixed(asset))).collect()
        };
        let strict = movable(true);
        let movable = if strict.is_empty() { movable(false) } else { strict };
        if movable.is_empty() {
            return;
        }
        let missing = 1.0 - target.iter().sum::<f64>();
        for &asset in &movable {
            target[asset] += missing / movable.len() as f64;
        }
    }

    /// The error for groups that no portfolio of `count` assets satisfies.
    fn infeasible(&self, count: usize) -> Error {
        let constraints = self.constraints;
        let groups: Vec<String> = constraints
            .groups
            .iter()
            .map(|group| format!("group '{}' of {} to {}", group.name, group.min, group.max))
            .collect();
        Error::new(
            Code::Infeasible,
            format!(
                "no portfolio of {count} assets satisfies all of portfolio.max_weight = {}, {}",
                constraints.max_weight,
                groups.join(", ")
            ),
        )
    }
}
