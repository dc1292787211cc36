//! The projection where sums of weights are bounded too: a quadratic program, solved by the Clarabel crate.

use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettingsBuilder, DefaultSolver, IPSolver, NonnegativeConeT, SolverStatus, SupportedConeT, ZeroConeT,
};

use super::{Constraints, SOLVED, bounds};
use crate::error::{Code, Error, Result, fail};

/// Projects one decision's target.
pub(super) struct Solver<'a> {
    constraints: &'a Constraints,
    open: &'a [bool],
}

impl<'a> Solver<'a> {
    pub(super) fn new(constraints: &'a Constraints, open: &'a [bool]) -> Self {
        Self { constraints, open }
    }

    /// Replaces `target` by the nearest portfolio inside the bounds; closed assets are 0.
    pub(super) fn project(&self, target: &mut [f64]) -> Result<()> {
        let (low, high) = (self.constraints.least(), self.constraints.max_weight);
        if self.constraints.groups.is_empty() {
            bounds::project(target, self.open, low, high);
            return Ok(());
        }
        let free: Vec<usize> = (0..target.len()).filter(|&asset| self.open[asset]).collect();
        let solved = self.solve(&free, &free.iter().map(|&asset| target[asset]).collect::<Vec<_>>())?;
        for (&asset, weight) in free.iter().zip(&solved) {
            target[asset] = weight.clamp(low, high);
        }
        self.settle(&free, target);
        if self.constraints.beyond(target) > SOLVED {
            fail!(Internal, "the solver's portfolio is {} beyond its bounds", self.constraints.beyond(target));
        }
        Ok(())
    }

    /// Minimises ½‖w − v‖² subject to Σw = 1, bounds and groups.
    fn solve(&self, free: &[usize], values: &[f64]) -> Result<Vec<f64>> {
        let (count, constraints) = (free.len(), self.constraints);
        let mut rows: Vec<(Vec<(usize, f64)>, f64)> = vec![((0..count).map(|place| (place, 1.0)).collect(), 1.0)];
        for place in 0..count {
            rows.push((vec![(place, 1.0)], constraints.max_weight));
            rows.push((vec![(place, -1.0)], -constraints.least()));
        }
        for group in &constraints.groups {
            let inside = |sign: f64| {
                let members = free.iter().enumerate().filter(|(_, asset)| group.assets.binary_search(asset).is_ok());
                members.map(|(place, _)| (place, sign)).collect::<Vec<_>>()
            };
            rows.push((inside(1.0), group.max));
            rows.push((inside(-1.0), -group.min));
        }
        let mut columns: Vec<Vec<(usize, f64)>> = vec![Vec::new(); count];
        for (row, (entries, _)) in rows.iter().enumerate() {
            for &(place, factor) in entries {
                columns[place].push((row, factor));
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
        let fault = |what: String| Error::new(Code::Internal, format!("the solver for group bounds: {what}"));
        let settings = DefaultSettingsBuilder::default()
            .verbose(false)
            .tol_gap_abs(1e-13)
            .tol_gap_rel(1e-13)
            .tol_feas(1e-13)
            .build()
            .map_err(|error| fault(error.to_string()))?;
        let mut solver = DefaultSolver::new(&CscMatrix::identity(count), &linear, &matrix, &limits, &cones, settings)
            .map_err(|error| fault(error.to_string()))?;
        solver.solve();
        match solver.solution.status {
            SolverStatus::Solved | SolverStatus::AlmostSolved | SolverStatus::InsufficientProgress => {
                Ok(solver.solution.x.clone())
            }
            SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => Err(self.infeasible(count)),
            other => Err(fault(format!("it ended as {other:?}"))),
        }
    }

    /// Brings the sum to 1 to the last digits, by the assets that are not at a bound and in no group that is at one.
    fn settle(&self, free: &[usize], target: &mut [f64]) {
        let (low, high) = (self.constraints.least(), self.constraints.max_weight);
        let at_bound = |group: &super::Group| {
            let sum: f64 = group.assets.iter().map(|&asset| target[asset]).sum();
            sum > group.max - 1e-7 || sum < group.min + 1e-7
        };
        let tight: Vec<&super::Group> = self.constraints.groups.iter().filter(|group| at_bound(group)).collect();
        let loose = |strict: bool| -> Vec<usize> {
            let inside = |asset: usize| target[asset] > low + 1e-7 && target[asset] < high - 1e-7;
            let grouped = |asset: usize| tight.iter().any(|group| group.assets.binary_search(&asset).is_ok());
            free.iter().copied().filter(|&asset| inside(asset) && !(strict && grouped(asset))).collect()
        };
        let strict = loose(true);
        let movable = if strict.is_empty() { loose(false) } else { strict };
        if movable.is_empty() {
            return;
        }
        let missing = 1.0 - target.iter().sum::<f64>();
        for &asset in &movable {
            target[asset] += missing / movable.len() as f64;
        }
    }

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
