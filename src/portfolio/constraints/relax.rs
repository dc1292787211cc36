//! Constraints that are relaxed for one decision, one after the other, until a portfolio satisfies them.

use super::{ConstraintChange, ConstraintContext, Constraints, Group, distance};
use crate::error::{Code, Result};

/// Relaxes a constraint, given the number of assets that can be held; returns whether there was anything to relax.
type Relax = fn(&mut Constraints, usize) -> bool;

/// What is relaxed, in this order, and the name under which it is listed.
const STEPS: [(&str, Relax); 5] = [
    ("relaxed_min_weight", |constraints, _| std::mem::take(&mut constraints.min_weight) > 0.0),
    ("relaxed_top_k", |constraints, _| constraints.top_k.take().is_some()),
    ("relaxed_group_min", |constraints, _| relax(&mut constraints.groups, |group| &mut group.min, f64::NEG_INFINITY)),
    ("relaxed_group_max", |constraints, _| relax(&mut constraints.groups, |group| &mut group.max, f64::INFINITY)),
    ("relaxed_max_weight", |constraints, open| {
        let enough = constraints.budget.abs() / open as f64;
        let is_raised = open > 0 && enough > constraints.max_weight;
        if is_raised {
            constraints.max_weight = enough;
        }
        is_raised
    }),
];

/// Moves a bound of every group to where it is none.
fn relax(groups: &mut [Group], bound: fn(&mut Group) -> &mut f64, none: f64) -> bool {
    let mut is_relaxed = false;
    for group in groups {
        is_relaxed |= std::mem::replace(bound(group), none).is_finite();
    }
    is_relaxed
}

impl Constraints {
    /// Applies the constraints, relaxed as far as it takes. What was relaxed is listed first.
    pub(super) fn apply_relaxed(
        &self,
        target: &mut [f64],
        context: &ConstraintContext,
    ) -> Result<Vec<ConstraintChange>> {
        let wanted = target.to_vec();
        let mut outcome = self.apply_strictly(target, context);
        let open = context.members.iter().zip(context.shown).filter(|(member, shown)| **member && **shown).count();
        let (mut relaxed, mut rules) = (self.clone(), Vec::new());
        for (rule, relax) in STEPS {
            if outcome.as_ref().err().is_none_or(|error| error.code() != Code::Infeasible) {
                break;
            }
            if relax(&mut relaxed, open) {
                rules.push(rule);
                target.copy_from_slice(&wanted);
                outcome = relaxed.apply_strictly(target, context);
            }
        }
        let list = |rule| ConstraintChange { rule, moved: self.weight_beyond(rule, target) };
        let listed = rules.into_iter().map(list);
        outcome.map(|changes| listed.chain(changes).collect())
    }

    /// The weight that stands beyond what a relaxed rule allows.
    fn weight_beyond(&self, rule: &str, target: &[f64]) -> f64 {
        let sum = |group: &Group| group.assets.iter().map(|&asset| target[asset]).sum::<f64>();
        match rule {
            "relaxed_min_weight" => {
                target.iter().filter(|weight| self.is_small(**weight)).map(|weight| weight.abs()).sum()
            }
            "relaxed_top_k" => self.beyond_top(target),
            "relaxed_group_min" => self.groups.iter().map(|group| (group.min - sum(group)).max(0.0)).sum(),
            "relaxed_group_max" => self.groups.iter().map(|group| (sum(group) - group.max).max(0.0)).sum(),
            _ => target.iter().map(|&weight| distance(weight, self.lower_bound(), self.max_weight)).sum(),
        }
    }
}
