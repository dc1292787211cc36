//! Portfolios with bounds on sums of weights: a quadratic program, solved by the Clarabel crate.

use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettingsBuilder, DefaultSolver, IPSolver, NonnegativeConeT, SolverStatus, SupportedConeT, ZeroConeT,
};

use super::{Constraints, Group, SOLVER_TOLERANCE};
use crate::error::{Code, Error, Result, fail};

/// A weight below this part of the largest one is not held: the solver cannot tell it from rounding.
const LEAST_PART: f64 = 1e-12;

/// A variable of the program: a weight is the sum of its variables, each at least 0 times its factor.
struct Variable {
    asset: usize,
    factor: f64,
}

/// The program of one decision: minimise Σ q (w − v)² over Σw = budget, bounds, groups and gross exposure.
pub(super) struct Program<'a> {
    constraints: &'a Constraints,
    /// The weights of the model, v.
    values: &'a [f64],
    variables: Vec<Variable>,
    /// Per asset, q.
    importance: Vec<f64>,
}

impl<'a> Program<'a> {
    /// The nearest portfolio of open assets: q = 1.
    pub(super) fn nearest(constraints: &'a Constraints, values: &'a [f64], open: &[bool]) -> Self {
        let open = (0..values.len()).filter(|&asset| open[asset]);
        let signs: &[f64] = if constraints.long_only { &[1.0] } else { &[1.0, -1.0] };
        let of = |asset| signs.iter().map(move |&factor| Variable { asset, factor });
        Self { constraints, values, variables: open.flat_map(of).collect(), importance: vec![1.0; values.len()] }
    }

    /// The portfolio of what is held: q = 1/|v|, and no weight changes its sign. Variables are multiples of |v|.
    pub(super) fn held(constraints: &'a Constraints, values: &'a [f64]) -> Self {
        let largest = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let is_held = |asset: &usize| values[*asset].abs() > LEAST_PART * largest;
        let variable = |asset: usize| Variable { asset, factor: values[asset] };
        let variables = (0..values.len()).filter(is_held).map(variable).collect();
        let importance = values.iter().map(|value| if *value == 0.0 { 0.0 } else { 1.0 / value.abs() }).collect();
        Self { constraints, values, variables, importance }
    }

    /// The weights `[assets]`; `None` if no portfolio satisfies the constraints.
    ///
    /// # Errors
    /// `Internal` if the solver does not come to an end.
    pub(super) fn solve(&self) -> Result<Option<Vec<f64>>> {
        if self.variables.is_empty() {
            return Ok(None);
        }
        let Some(solution) = self.run()? else { return Ok(None) };
        let (low, high) = (self.constraints.lower_bound(), self.constraints.max_weight);
        let mut out = vec![0.0; self.values.len()];
        for (variable, value) in self.variables.iter().zip(solution) {
            out[variable.asset] += variable.factor * value.max(0.0);
        }
        for weight in &mut out {
            *weight = weight.clamp(low, high);
        }
        self.restore_sum(&mut out);
        if self.constraints.violation(&out) > SOLVER_TOLERANCE {
            fail!(Internal, "the portfolio of the solver breaks its bounds by {}", self.constraints.violation(&out));
        }
        Ok(Some(out))
    }

    /// The variables of the solution.
    fn run(&self) -> Result<Option<Vec<f64>>> {
        let (count, constraints) = (self.variables.len(), self.constraints);
        let sum = |sign: f64, of: &dyn Fn(&Variable) -> Option<f64>| -> Vec<(usize, f64)> {
            let entries = self.variables.iter().enumerate();
            entries.filter_map(|(index, variable)| Some((index, sign * of(variable)?))).collect()
        };
        let all = |variable: &Variable| Some(variable.factor);
        // Each row is a sum of factors times variables, at most its right-hand side; the first one is an equation.
        let mut rows: Vec<(Vec<(usize, f64)>, f64)> = vec![(sum(1.0, &all), constraints.budget)];
        for (index, variable) in self.variables.iter().enumerate() {
            rows.push((vec![(index, variable.factor.abs())], constraints.max_weight));
            rows.push((vec![(index, -variable.factor.abs())], 0.0));
        }
        if let Some(gross) = constraints.max_gross {
            rows.push((sum(1.0, &|variable| Some(variable.factor.abs())), gross));
        }
        for Group { assets, min, max, .. } in &constraints.groups {
            let inside = |variable: &Variable| assets.binary_search(&variable.asset).is_ok().then_some(variable.factor);
            for (sign, bound) in [(1.0, *max), (-1.0, -min)] {
                if bound.is_finite() {
                    rows.push((sum(sign, &inside), bound));
                }
            }
        }
        let mut columns: Vec<Vec<(usize, f64)>> = vec![Vec::new(); count];
        for (row, (entries, _)) in rows.iter().enumerate() {
            for &(variable, factor) in entries {
                columns[variable].push((row, factor));
            }
        }
        let limits: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let linear: Vec<f64> = self
            .variables
            .iter()
            .map(|variable| -self.importance[variable.asset] * self.values[variable.asset] * variable.factor)
            .collect();
        let cones: [SupportedConeT<f64>; 2] = [ZeroConeT(1), NonnegativeConeT(rows.len() - 1)];
        let internal = |message: String| Error::new(Code::Internal, format!("the solver for group bounds: {message}"));
        let settings = DefaultSettingsBuilder::default()
            .verbose(false)
            .tol_gap_abs(1e-13)
            .tol_gap_rel(1e-13)
            .tol_feas(1e-13)
            .build()
            .map_err(|error| internal(error.to_string()))?;
        let (matrix, quadratic) = (sparse(rows.len(), &columns), sparse(count, &self.quadratic()));
        let mut solver = DefaultSolver::new(&quadratic, &linear, &matrix, &limits, &cones, settings)
            .map_err(|error| internal(error.to_string()))?;
        solver.solve();
        match solver.solution.status {
            SolverStatus::Solved | SolverStatus::AlmostSolved | SolverStatus::InsufficientProgress => {
                Ok(Some(solver.solution.x.clone()))
            }
            SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => Ok(None),
            other => Err(internal(format!("it ended as {other:?}"))),
        }
    }

    /// The columns of the upper triangle of the quadratic form: variables of one asset are neighbours.
    fn quadratic(&self) -> Vec<Vec<(usize, f64)>> {
        let entry = |one: &Variable, two: &Variable| self.importance[one.asset] * one.factor * two.factor;
        let column = |index: usize| {
            let variable = &self.variables[index];
            let before = index.checked_sub(1).filter(|before| self.variables[*before].asset == variable.asset);
            let rows = before.into_iter().chain([index]);
            rows.map(|row| (row, entry(&self.variables[row], variable))).collect()
        };
        (0..self.variables.len()).map(column).collect()
    }

    /// Makes the sum exactly that of the budget by shifting the weights that are not at a bound, and in no group at a bound
    /// if there are any.
    fn restore_sum(&self, weights: &mut [f64]) {
        let constraints = self.constraints;
        let (low, high) = (constraints.lower_bound(), constraints.max_weight);
        let is_at_bound = |group: &&Group| {
            let sum: f64 = group.assets.iter().map(|&asset| weights[asset]).sum();
            sum > group.max - 1e-7 || sum < group.min + 1e-7
        };
        let tight: Vec<&Group> = constraints.groups.iter().filter(is_at_bound).collect();
        let movable = |strict: bool| -> Vec<usize> {
            let inside = |asset: usize| {
                weights[asset] > low + 1e-7 && weights[asset] < high - 1e-7 && weights[asset].abs() > 1e-7
            };
            let is_fixed = |asset: usize| tight.iter().any(|group| group.assets.binary_search(&asset).is_ok());
            (0..weights.len()).filter(|&asset| inside(asset) && !(strict && is_fixed(asset))).collect()
        };
        let strict = movable(true);
        let movable = if strict.is_empty() { movable(false) } else { strict };
        if movable.is_empty() {
            return;
        }
        let missing = constraints.budget - weights.iter().sum::<f64>();
        for &asset in &movable {
            weights[asset] += missing / movable.len() as f64;
        }
    }
}

/// A matrix from the entries of its columns.
fn sparse(rows: usize, columns: &[Vec<(usize, f64)>]) -> CscMatrix {
    let mut starts = vec![0];
    let (mut indices, mut factors) = (Vec::new(), Vec::new());
    for column in columns {
        indices.extend(column.iter().map(|entry| entry.0));
        factors.extend(column.iter().map(|entry| entry.1));
        starts.push(indices.len());
    }
    CscMatrix::new(rows, columns.len(), starts, indices, factors)
}
