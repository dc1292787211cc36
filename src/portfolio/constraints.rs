//! Constraints on target weights: forced exits of non-members, then the nearest portfolio inside the bounds.

use crate::error::{Result, fail};

/// How far the sum of weights may be from the budget, and a weight from its bound, before a target is changed.
const TOLERANCE: f64 = 1e-12;

/// The bounds every model's target is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constraints {
    /// Largest weight of one asset, above 0 and at most 1. Weights are long-only: at least 0.
    pub max_weight: f64,
}

/// A change that a rule made to a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// `membership` or `bounds`.
    pub rule: &'static str,
    /// Σ|after − before|.
    pub moved: f64,
}

impl Constraints {
    /// Holds `target`, `[assets]`, to the constraints: weights of non-members become 0, then the Euclidean projection
    /// onto {Σw = 1, 0 ≤ w ≤ `max_weight`} over the members. A target inside already is left as it is, bit for bit.
    ///
    /// # Errors
    /// `Infeasible` with the figures where no portfolio of the members satisfies the bounds.
    pub fn apply(self, target: &mut [f64], members: &[bool]) -> Result<Vec<Change>> {
        let count = members.iter().filter(|member| **member).count();
        if count as f64 * self.max_weight < 1.0 - TOLERANCE {
            fail!(
                Infeasible,
                "{count} members of at most portfolio.max_weight = {} each cannot add up to 1; a max_weight of at least \
                 1/{count} can",
                self.max_weight
            );
        }
        let mut changes = Vec::new();
        let mut exits = 0.0;
        for (weight, member) in target.iter_mut().zip(members) {
            if !member {
                exits += weight.abs();
                *weight = 0.0;
            }
        }
        if exits > 0.0 {
            changes.push(Change { rule: "membership", moved: exits });
        }
        let sum: f64 = target.iter().sum();
        let inside = (sum - 1.0).abs() <= TOLERANCE
            && target.iter().all(|weight| (-TOLERANCE..=self.max_weight + TOLERANCE).contains(weight));
        if !inside {
            changes.push(Change { rule: "bounds", moved: self.project(target, members) });
        }
        Ok(changes)
    }

    /// w = clamp(v − λ, 0, max): Σw falls with λ and bends where a weight meets a bound, so λ is found exactly between
    /// two neighbouring bends. Returns Σ|w − v|.
    fn project(self, target: &mut [f64], members: &[bool]) -> f64 {
        let values: Vec<f64> =
            target.iter().zip(members).filter(|(_, member)| **member).map(|(value, _)| *value).collect();
        let total = |shift: f64| values.iter().map(|value| (value - shift).clamp(0.0, self.max_weight)).sum::<f64>();
        let mut bends: Vec<f64> = values.iter().flat_map(|value| [*value, value - self.max_weight]).collect();
        bends.sort_by(f64::total_cmp);
        // The last bend at which the sum is still at least 1; feasibility makes it the first one at worst.
        let at = bends.partition_point(|bend| total(*bend) >= 1.0).saturating_sub(1);
        let (low, high) = (bends[at], bends.get(at + 1).copied().unwrap_or(bends[at]));
        let middle = f64::midpoint(low, high);
        let (mut free, mut sum) = (0.0, 0.0);
        for value in &values {
            let shifted = value - middle;
            if shifted >= self.max_weight {
                sum += self.max_weight;
            } else if shifted > 0.0 {
                free += 1.0;
                sum += value;
            }
        }
        let shift = if free > 0.0 { (sum - 1.0) / free } else { low };
        let mut moved = 0.0;
        for (weight, _) in target.iter_mut().zip(members).filter(|(_, member)| **member) {
            let after = (*weight - shift).clamp(0.0, self.max_weight);
            moved += (after - *weight).abs();
            *weight = after;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::Constraints;
    use crate::error::Code;
    use proptest::prelude::*;

    #[test]
    fn a_target_inside_is_left_alone_and_a_non_member_leaves() {
        let mut target = [0.3, 0.7];
        let constraints = Constraints { max_weight: 0.8 };
        assert_eq!(constraints.apply(&mut target, &[true, true]).unwrap(), []);
        assert_eq!(target, [0.3, 0.7]);
        let mut target = [0.25, 0.25, 0.5];
        let changes = constraints.apply(&mut target, &[true, true, false]).unwrap();
        assert_eq!(target, [0.5, 0.5, 0.0]);
        assert_eq!(changes.iter().map(|change| change.rule).collect::<Vec<_>>(), ["membership", "bounds"]);
    }

    #[test]
    fn a_cap_spreads_the_rest_evenly() {
        let mut target = [0.6, 0.3, 0.1];
        Constraints { max_weight: 0.5 }.apply(&mut target, &[true; 3]).unwrap();
        for (ours, expected) in target.iter().zip([0.5, 0.35, 0.15]) {
            assert!((ours - expected).abs() < 1e-15, "{target:?}");
        }
    }

    #[test]
    fn bounds_nobody_can_meet_are_told() {
        let error = Constraints { max_weight: 0.3 }.apply(&mut [0.5, 0.5, 0.0], &[true, true, true]).unwrap_err();
        assert_eq!(error.code(), Code::Infeasible);
        assert!(error.to_string().contains("3 members of at most portfolio.max_weight = 0.3"), "{error}");
        assert!(Constraints { max_weight: 1.0 }.apply(&mut [0.5], &[false]).is_err());
    }

    proptest! {
        #[test]
        fn a_projection_is_feasible_and_nearer_than_any_other(
            start in proptest::collection::vec(-1.0..2.0_f64, 4..12), cap in 0.26..1.0_f64,
            other in proptest::collection::vec(0.0..1.0_f64, 12),
        ) {
            let members = vec![true; start.len()];
            let constraints = Constraints { max_weight: cap };
            let mut target = start.clone();
            constraints.apply(&mut target, &members).unwrap();
            prop_assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(target.iter().all(|weight| (0.0..=cap).contains(weight)));
            // The projection p of v onto a convex set satisfies (v − p)·(q − p) ≤ 0 for each q in it.
            let sum: f64 = other[..start.len()].iter().sum();
            let mix: Vec<f64> = other[..start.len()].iter().map(|value| value / sum).collect();
            prop_assume!(mix.iter().all(|weight| *weight <= cap));
            let product: f64 =
                start.iter().zip(&target).zip(&mix).map(|((v, p), q)| (v - p) * (q - p)).sum();
            prop_assert!(product <= 1e-12, "{product}");
        }
    }
}
