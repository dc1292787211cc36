//! The turnover limit: the longest step from the held weights to the target that keeps it.

use super::{ConstraintChange, ConstraintContext, TOLERANCE};

/// Replaces `target` by w₀ + θ(w − w₀) with the largest θ in [0, 1] for which ½ Σ|w₀ + θ(w − w₀) − w⁻| is at most
/// `limit`. Here w⁻ are the held weights and w₀ the same after forced exits, whose weight is spread over the rest in
/// proportion to |w⁻|; where there is none, they are all cash. If the forced exits alone exceed the limit, θ is 0. A
/// purchase from cash is exempt.
pub(super) fn limit(limit: f64, target: &mut [f64], context: &ConstraintContext, changes: &mut Vec<ConstraintChange>) {
    // In proportion to |w⁻|, because with short positions the sum of w⁻ may be near 0.
    let (mut kept, mut sold) = (0.0, 0.0);
    for (held, member) in context.before.iter().zip(context.members) {
        if *member { kept += held.abs() } else { sold += held }
    }
    if context.before.iter().all(|held| *held == 0.0) {
        return;
    }
    let start: Vec<f64> = context
        .before
        .iter()
        .zip(context.members)
        .map(|(held, member)| match member {
            true if kept > TOLERANCE => held + sold * held.abs() / kept,
            true => *held,
            false => 0.0,
        })
        .collect();
    // The terms of the turnover are |offset + θ · slope|.
    let terms: Vec<(f64, f64)> = start
        .iter()
        .zip(&*target)
        .zip(context.before)
        .map(|((start, target), before)| (start - before, target - start))
        .collect();
    let turnover = |theta: f64| 0.5 * terms.iter().map(|(offset, slope)| (offset + theta * slope).abs()).sum::<f64>();
    if turnover(1.0) <= limit + TOLERANCE {
        return;
    }
    let theta = largest_step(&terms, limit);
    let mut moved = 0.0;
    for (weight, start) in target.iter_mut().zip(&start) {
        let after = start + theta * (*weight - start);
        moved += (after - *weight).abs();
        *weight = after;
    }
    changes.push(ConstraintChange { rule: "turnover", moved });
}

/// The largest θ in [0, 1) with ½ Σ|offset + θ · slope| ≤ limit, given that θ = 1 exceeds it; 0 if there is none. The
/// sum is convex and piecewise linear, with breakpoints where a term is 0, so it is followed down from θ = 1 from one
/// breakpoint to the next until it meets the limit or rises.
fn largest_step(terms: &[(f64, f64)], limit: f64) -> f64 {
    let mut breakpoints: Vec<f64> = terms
        .iter()
        .filter(|(_, slope)| *slope != 0.0)
        .map(|(offset, slope)| -offset / slope)
        .filter(|theta| (0.0..1.0).contains(theta))
        .collect();
    breakpoints.push(0.0);
    breakpoints.sort_by(|one, two| two.total_cmp(one));
    let turnover = |theta: f64| 0.5 * terms.iter().map(|(offset, slope)| (offset + theta * slope).abs()).sum::<f64>();
    let (mut right, mut right_turnover) = (1.0, turnover(1.0));
    for left in breakpoints {
        let left_turnover = turnover(left);
        if left_turnover <= limit {
            let share = (limit - left_turnover) / (right_turnover - left_turnover);
            return (left + share * (right - left)).clamp(0.0, 1.0);
        }
        if left_turnover > right_turnover {
            break;
        }
        (right, right_turnover) = (left, left_turnover);
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::{ConstraintChange, ConstraintContext, limit};
    use proptest::prelude::*;

    fn limited(
        max_turnover: f64,
        target: &[f64],
        before: &[f64],
        members: &[bool],
    ) -> (Vec<f64>, Vec<ConstraintChange>) {
        let (mut target, mut changes) = (target.to_vec(), Vec::new());
        let shown = vec![true; before.len()];
        let context = ConstraintContext { members, shown: &shown, scores: None, before };
        limit(max_turnover, &mut target, &context, &mut changes);
        (target, changes)
    }

    #[test]
    fn a_step_is_shortened_to_the_limit_unless_it_is_the_first_purchase() {
        let (weights, changes) = limited(0.1, &[1.0, 0.0], &[0.5, 0.5], &[true; 2]);
        assert_eq!(weights, [0.6, 0.4]);
        assert!((changes[0].moved - 0.8).abs() < 1e-15);
        assert_eq!(limited(0.1, &[1.0, 0.0], &[0.0, 0.0], &[true; 2]), (vec![1.0, 0.0], vec![]));
        assert_eq!(limited(0.5, &[1.0, 0.0], &[0.5, 0.5], &[true; 2]), (vec![1.0, 0.0], vec![]));
    }

    #[test]
    fn forced_exits_count_towards_the_limit() {
        // A forced exit of 0.2, spread over the rest, gives (0.5, 0.5, 0) and a turnover of 0.2.
        let (weights, _) = limited(0.3, &[1.0, 0.0, 0.0], &[0.4, 0.4, 0.2], &[true, true, false]);
        assert!((weights[0] - 0.7).abs() < 1e-12 && weights[2] == 0.0, "{weights:?}");
        let (weights, _) = limited(0.1, &[1.0, 0.0, 0.0], &[0.4, 0.4, 0.2], &[true, true, false]);
        assert_eq!(weights, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn exits_are_spread_without_leverage_over_short_positions() {
        // 0.98 is sold. The rest sums to 0.02; spreading in proportion to w⁻ / 0.02 would give weights of 25 and -24.
        let (weights, _) = limited(0.3, &[0.0, 1.0, 0.0], &[0.5, -0.48, 0.98], &[true, true, false]);
        assert!(weights.iter().zip([1.0, 0.0, 0.0]).all(|(one, two)| (one - two).abs() < 1e-12), "{weights:?}");
    }

    proptest! {
        #[test]
        fn the_step_is_the_longest_within_the_limit(
            target in proptest::collection::vec(0.0..1.0_f64, 6), before in proptest::collection::vec(0.01..1.0_f64, 6),
            member in proptest::collection::vec(any::<bool>(), 6), max_turnover in 0.01..0.6_f64,
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
                (0..6)
                    .map(|asset| (start[asset] + theta * (target[asset] - start[asset]) - before[asset]).abs())
                    .sum::<f64>()
                    / 2.0
            };
            // The longest step on a fine grid.
            let grid = (0..=10_000).map(|step| f64::from(step) / 1e4);
            let expected = grid.filter(|&theta| turnover(theta) <= max_turnover).fold(0.0, f64::max);
            let (found, _) = limited(max_turnover, &target, &before, &member);
            let change = |asset: usize| (target[asset] - start[asset]).abs();
            let largest = (0..6).max_by(|&one, &two| change(one).total_cmp(&change(two))).unwrap();
            prop_assume!(change(largest) > 1e-3);
            let theta = (found[largest] - start[largest]) / (target[largest] - start[largest]);
            prop_assert!(theta >= expected - 1e-9 && theta <= expected + 1.1e-4, "{theta} {expected}");
            prop_assert!(turnover(theta) <= max_turnover + 1e-9 || theta < 1e-9);
        }
    }
}
