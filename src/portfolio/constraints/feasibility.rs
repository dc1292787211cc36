//! Whether any portfolio satisfies the constraints, before a model has chosen one.

use std::collections::BTreeMap;

use super::program::Program;
use super::{Constraints, TOLERANCE};
use crate::error::{Code, Result, fail};

/// Checks sets of assets against constraints. What groups allow depends only on how many of the assets are in which
/// groups, so each such count is worked out once.
#[derive(Debug)]
pub(crate) struct Feasibility<'a> {
    constraints: &'a Constraints,
    /// Reasons by the number of assets per set of groups; `None` where there is a portfolio.
    known: BTreeMap<Vec<(Vec<usize>, usize)>, Option<String>>,
}

impl<'a> Feasibility<'a> {
    /// For these constraints.
    pub(crate) fn new(constraints: &'a Constraints) -> Self {
        Self { constraints, known: BTreeMap::new() }
    }

    /// Why no portfolio of the assets of `open`, `[assets]`, satisfies the constraints on a decision at `row`; `None` if
    /// one does.
    ///
    /// # Errors
    /// `Internal` if the solver does not come to an end.
    pub(crate) fn reason(&mut self, row: usize, open: &[bool]) -> Result<Option<String>> {
        let constraints = self.constraints.at(row);
        let key = constraints.open_by_groups(open);
        if let Some(reason) = self.known.get(&key) {
            return Ok(reason.clone());
        }
        let reason = match constraints.check_any(open) {
            Ok(()) => None,
            Err(error) if error.code() == Code::Infeasible => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        self.known.insert(key, reason.clone());
        Ok(reason)
    }
}

impl Constraints {
    /// The number of open assets per set of groups that they are in.
    fn open_by_groups(&self, open: &[bool]) -> Vec<(Vec<usize>, usize)> {
        let mut out: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for asset in (0..open.len()).filter(|&asset| open[asset]) {
            let is_inside = |group: &usize| self.groups[*group].assets.binary_search(&asset).is_ok();
            *out.entry((0..self.groups.len()).filter(is_inside).collect()).or_default() += 1;
        }
        out.into_iter().collect()
    }

    /// Refuses a set of assets of which no portfolio satisfies the constraints. `top_k` and `min_weight` count as
    /// numbers of assets: which ones a model chooses is not known.
    fn check_any(&self, open: &[bool]) -> Result<()> {
        let count = open.iter().filter(|open| **open).count();
        let (most, budget) = (self.top_k.map_or(count, |top| top.min(count)), self.budget.abs());
        if (most as f64) * self.max_weight < budget - TOLERANCE {
            let top =
                self.top_k.filter(|top| *top < count).map(|top| format!(" of {count} with portfolio.top_k = {top}"));
            fail!(
                Infeasible,
                "{most} assets{} of at most portfolio.max_weight = {} each cannot add up to {}",
                top.unwrap_or_default(),
                self.max_weight,
                self.budget
            );
        }
        let fewest = (budget / self.max_weight - TOLERANCE).ceil();
        if self.long_only && fewest * self.min_weight > budget + TOLERANCE {
            fail!(
                Infeasible,
                "it takes {fewest} assets of at most portfolio.max_weight = {} to add up to {}, and {fewest} of at least \
                 portfolio.min_weight = {} add up to more",
                self.max_weight,
                self.budget,
                self.min_weight
            );
        }
        if self.groups.is_empty() {
            return Ok(());
        }
        // Which assets top_k or min_weight leave is the choice of the model.
        let free = Self { top_k: None, min_weight: 0.0, ..self.clone() };
        free.check_feasible(open)?;
        match Program::nearest(&free, &vec![0.0; open.len()], open).solve()? {
            Some(_) => Ok(()),
            None => Err(free.infeasible(open)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Constraints, Feasibility};
    use crate::portfolio::constraints::{DatedGroup, Group};

    #[track_caller]
    fn check(constraints: &Constraints, open: usize, expected: Option<&str>) {
        let open: Vec<bool> = (0..8).map(|asset| asset < open).collect();
        let reason = Feasibility::new(constraints).reason(0, &open).unwrap();
        match (reason, expected) {
            (None, None) => (),
            (Some(reason), Some(expected)) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bounds_and_counts_are_checked_before_a_model_chooses() {
        let bounded = Constraints { max_weight: 0.25, ..Constraints::default() };
        check(&bounded, 4, None);
        check(&bounded, 3, Some("3 assets of at most portfolio.max_weight = 0.25 each cannot add up to 1"));
        check(&Constraints { budget: 0.75, ..bounded.clone() }, 3, None);
        let top = Constraints { top_k: Some(3), ..bounded.clone() };
        check(&top, 8, Some("3 assets of 8 with portfolio.top_k = 3 of at most portfolio.max_weight = 0.25"));
        // Three of at most 0.4 are needed: of at least 0.3 each they fit, of at least 0.35 they add up to 1.05.
        let small = |min_weight| Constraints { max_weight: 0.4, min_weight, ..Constraints::default() };
        check(&small(0.3), 8, None);
        check(&small(0.35), 8, Some("it takes 3 assets of at most portfolio.max_weight = 0.4"));
        check(&Constraints { long_only: false, ..small(0.35) }, 8, None);
        check(&Constraints { budget: -1.0, long_only: false, ..bounded }, 3, Some("cannot add up to -1"));
    }

    #[test]
    fn groups_are_checked_together_with_the_bounds() {
        let group = |name: &str, assets, min, max| Group { name: name.into(), assets, min, max };
        // The first two may hold 0.4 together, the others 0.5.
        let groups = vec![group("a", vec![0, 1], 0.0, 0.4), group("b", vec![2, 3, 4, 5, 6, 7], 0.0, 0.5)];
        let capped = Constraints { groups, ..Constraints::default() };
        check(
            &capped,
            8,
            Some("no portfolio of 8 assets with the sum 1 satisfies all of portfolio.max_weight = 1, group 'a'"),
        );
        let least = vec![group("a", vec![6, 7], 0.3, f64::INFINITY)];
        let least = Constraints { groups: least, max_weight: 0.25, ..Constraints::default() };
        check(&least, 8, None);
        check(&least, 7, Some("group 'a' has 1 assets of at most portfolio.max_weight = 0.25"));
        // On row 0 the group has no assets.
        let dated = DatedGroup { name: "c".into(), members: vec![(0, 1..2)], min: 0.1, max: 0.2 };
        let dated = Constraints { dated_groups: vec![dated], ..Constraints::default() };
        let mut feasibility = Feasibility::new(&dated);
        assert!(feasibility.reason(0, &[true; 8]).unwrap().is_some());
        assert!(feasibility.reason(1, &[true; 8]).unwrap().is_none());
    }
}
