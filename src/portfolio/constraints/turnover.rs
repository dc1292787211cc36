//! The turnover limit: the largest step from what is held towards the target.

use super::{ConstraintChange, ConstraintContext, TOLERANCE};

/// Replaces `target` by w₀ + θ(w − w₀) with the largest θ in [0, 1] for which ½ Σ|w₀ + θ(w − w₀) − w⁻| is at most
/// `limit`; w₀ is w⁻ after forced exits, spread over the rest in proportion to |w⁻|. The first purchase is exempt. Where even
/// the forced exits alone are beyond the limit, θ is 0.
pub(super) fn limit(limit: f64, target: &mut [f64], known: &ConstraintContext, changes: &mut Vec<ConstraintChange>) {
    // Shares of |w|: with short positions the weights that stay may add up to nothing, and each would grow without end.
    let (mut kept, mut sold) = (0.0, 0.0);
    for (held, member) in known.before.iter().zip(known.members) {
        if *member { kept += held.abs() } else { sold += held }
    }
    if kept <= TOLERANCE {
        return;
    }
    let start: Vec<f64> = known
        .before
        .iter()
        .zip(known.members)
        .map(|(held, member)| if *member { held + sold * held.abs() / kept } else { 0.0 })
        .collect();
    // Each term of the turnover is |offset + θ slope|.
    let terms: Vec<(f64, f64)> = start
        .iter()
        .zip(&*target)
        .zip(known.before)
        .map(|((start, target), before)| (start - before, target - start))
        .collect();
    let turnover = |theta: f64| 0.5 * terms.iter().map(|(offset, slope)| (offset + theta * slope).abs()).sum::<f64>();
    if turnover(1.0) <= limit + TOLERANCE {
        return;
    }
    let theta = largest(&terms, limit);
    let mut moved = 0.0;
    for (weight, start) in target.iter_mut().zip(&start) {
        let after = start + theta * (*weight - start);
        moved += (after - *weight).abs();
        *weight = after;
    }
    changes.push(ConstraintChange { rule: "turnover", moved });
}

/// The largest θ in [0, 1] with ½ Σ|offset + θ slope| ≤ limit, which is not 1; 0 where there is none. The sum is convex and bends
/// where a term is 0, so from θ = 1 downwards it falls along straight pieces until it meets the limit or rises again.
fn largest(terms: &[(f64, f64)], limit: f64) -> f64 {
    let mut bends: Vec<f64> = terms
        .iter()
        .filter(|(_, slope)| *slope != 0.0)
        .map(|(offset, slope)| -offset / slope)
        .filter(|bend| (0.0..1.0).contains(bend))
        .collect();
    bends.push(0.0);
    bends.sort_by(|one, two| two.total_cmp(one));
    let turnover = |theta: f64| 0.5 * terms.iter().map(|(offset, slope)| (offset + theta * slope).abs()).sum::<f64>();
    let (mut right, mut at_right) = (1.0, turnover(1.0));
    for bend in bends {
        let here = turnover(bend);
        if here <= limit {
            let share = (limit - here) / (at_right - here);
            return (bend + share * (right - bend)).clamp(0.0, 1.0);
        }
        if here > at_right {
            break;
        }
        (right, at_right) = (bend, here);
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::{ConstraintChange, ConstraintContext, limit};
    use proptest::prelude::*;

    fn limited(most: f64, target: &[f64], before: &[f64], members: &[bool]) -> (Vec<f64>, Vec<ConstraintChange>) {
        let (mut target, mut changes) = (target.to_vec(), Vec::new());
        let shown = vec![true; before.len()];
        limit(most, &mut target, &ConstraintContext { members, shown: &shown, scores: None, before }, &mut changes);
        (target, changes)
    }

    #[test]
    fn a_step_goes_as_far_as_the_limit_and_the_first_purchase_all_the_way() {
        let (weights, changes) = limited(0.1, &[1.0, 0.0], &[0.5, 0.5], &[true; 2]);
        assert_eq!(weights, [0.6, 0.4]);
        assert!((changes[0].moved - 0.8).abs() < 1e-15);
        assert_eq!(limited(0.1, &[1.0, 0.0], &[0.0, 0.0], &[true; 2]), (vec![1.0, 0.0], vec![]));
        assert_eq!(limited(0.5, &[1.0, 0.0], &[0.5, 0.5], &[true; 2]), (vec![1.0, 0.0], vec![]));
    }

    #[test]
    fn forced_exits_count_and_leave_the_rest_of_the_limit() {
        // 0.2 must be sold; spread over the rest the portfolio is (0.5, 0.5, 0), a turnover of 0.2 in itself.
        let (weights, _) = limited(0.3, &[1.0, 0.0, 0.0], &[0.4, 0.4, 0.2], &[true, true, false]);
        assert!((weights[0] - 0.7).abs() < 1e-12 && weights[2] == 0.0, "{weights:?}");
        let (weights, _) = limited(0.1, &[1.0, 0.0, 0.0], &[0.4, 0.4, 0.2], &[true, true, false]);
        assert_eq!(weights, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn with_short_positions_what_was_sold_is_spread_without_leverage() {
        // 0.98 is sold; what stays adds up to 0.02, and dividing by that would hold 25 and -24 times the wealth.
        let (weights, _) = limited(0.3, &[0.0, 1.0, 0.0], &[0.5, -0.48, 0.98], &[true, true, false]);
        assert!(weights.iter().zip([1.0, 0.0, 0.0]).all(|(one, two)| (one - two).abs() < 1e-12), "{weights:?}");
    }

    proptest! {
        #[test]
        fn the_step_is_inside_the_limit_and_no_longer_one_is(
            target in proptest::collection::vec(0.0..1.0_f64, 6), before in proptest::collection::vec(0.01..1.0_f64, 6),
            member in proptest::collection::vec(any::<bool>(), 6), most in 0.01..0.6_f64,
        ) {
            prop_assume!(member.iter().any(|member| *member));
            let sum: f64 = target.iter().zip(&member).map(|(weight, member)| if *member { *weight } else { 0.0 }).sum();
            prop_assume!(sum > 0.1);
            let target: Vec<f64> =
                target.iter().zip(&member).map(|(weight, member)| if *member { weight / sum } else { 0.0 }).collect();
            let total: f64 = before.iter().sum();
            let before: Vec<f64> = before.iter().map(|weight| weight / total).collect();
            let kept: f64 = before.iter().zip(&member).map(|(held, member)| if *member { *held } else { 0.0 }).sum();
            let start: Vec<f64> =
                before.iter().zip(&member).map(|(held, member)| if *member { held / kept } else { 0.0 }).collect();
            let turnover = |theta: f64| -> f64 {
                (0..6).map(|at| (start[at] + theta * (target[at] - start[at]) - before[at]).abs()).sum::<f64>() / 2.0
            };
            // The best of a fine grid of steps.
            let best = (0..=10_000).map(|step| f64::from(step) / 1e4).filter(|&step| turnover(step) <= most).fold(0.0, f64::max);
            let (ours, _) = limited(most, &target, &before, &member);
            let wide = (0..6).max_by(|&one, &two| (target[one] - start[one]).abs().total_cmp(&(target[two] - start[two]).abs())).unwrap();
            prop_assume!((target[wide] - start[wide]).abs() > 1e-3);
            let theta = (ours[wide] - start[wide]) / (target[wide] - start[wide]);
            prop_assert!(theta >= best - 1e-9 && theta <= best + 1.1e-4, "{theta} {best}");
            prop_assert!(turnover(theta) <= most + 1e-9 || theta < 1e-9);
        }
    }
}
