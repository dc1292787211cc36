//! What is relaxed where no portfolio satisfies all constraints, and in which order.

use super::{ConstraintChange, ConstraintContext, Constraints, Group, Infeasible};
use crate::error::{Code, Result};

/// Applies relaxed constraints to four members.
fn apply(constraints: Constraints, target: [f64; 4]) -> Result<([f64; 4], Vec<ConstraintChange>)> {
    let constraints = Constraints { infeasible: Infeasible::Relax, ..constraints };
    let context = ConstraintContext { members: &[true; 4], shown: &[true; 4], scores: None, before: &[0.0; 4] };
    let mut target = target;
    let changes = constraints.apply(&mut target, &context)?;
    Ok((target, changes))
}

#[track_caller]
fn relaxed(constraints: Constraints, target: [f64; 4], expected: [f64; 4], rules: &[(&'static str, f64)]) {
    let (found, changes) = apply(constraints, target).unwrap();
    assert!(found.iter().zip(&expected).all(|(one, two)| (one - two).abs() < 1e-9), "{found:?} {expected:?}");
    let relaxed: Vec<_> = changes.iter().filter(|change| change.rule.starts_with("relaxed_")).collect();
    assert_eq!(
        relaxed.iter().map(|change| change.rule).collect::<Vec<_>>(),
        rules.iter().map(|rule| rule.0).collect::<Vec<_>>()
    );
    for (found, expected) in relaxed.iter().zip(rules) {
        assert!((found.moved - expected.1).abs() < 1e-9, "{found:?} {expected:?}");
    }
}

fn group(assets: Vec<usize>, min: f64, max: f64) -> Vec<Group> {
    vec![Group { name: "some".into(), assets, min, max }]
}

#[test]
fn each_constraint_is_relaxed_in_its_turn_and_no_further_than_it_takes() {
    let half = Constraints { max_weight: 0.5, ..Constraints::default() };
    // What can be satisfied is not relaxed.
    relaxed(half.clone(), [0.7, 0.1, 0.1, 0.1], [0.5, 1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0], &[]);
    // Only the first is at least 0.3, and holds at most 0.5: the others are kept below 0.3.
    let small = Constraints { min_weight: 0.3, ..half.clone() };
    relaxed(small, [0.6, 0.2, 0.1, 0.1], [0.5, 0.25, 0.125, 0.125], &[("relaxed_min_weight", 0.5)]);
    // One asset cannot hold 1: all are held, three more than one.
    let top = Constraints { top_k: Some(1), ..half.clone() };
    relaxed(top.clone(), [0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], &[("relaxed_top_k", 0.6)]);
    // The two that are kept are not of the group: top_k goes first, then the minimum is met.
    let kept = Constraints { top_k: Some(2), groups: group(vec![3], 0.2, 1.0), ..half.clone() };
    relaxed(kept, [0.5, 0.5, 0.0, 0.0], [0.4, 0.4, 0.0, 0.2], &[("relaxed_top_k", 0.2)]);
    // One asset of at most 0.5 cannot reach 0.6.
    let least = Constraints { groups: group(vec![0], 0.6, 1.0), ..half.clone() };
    relaxed(least, [0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], &[("relaxed_group_min", 0.1)]);
    // All four hold at most 0.8 together.
    let most = Constraints { groups: group(vec![0, 1, 2, 3], f64::NEG_INFINITY, 0.8), ..half };
    relaxed(most, [0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], &[("relaxed_group_max", 0.2)]);
    // Four of at most 0.2: raised to a quarter each, after everything else.
    let tight = Constraints { max_weight: 0.2, min_weight: 0.1, top_k: Some(3), ..Constraints::default() };
    let rules = [("relaxed_min_weight", 0.0), ("relaxed_top_k", 0.25), ("relaxed_max_weight", 0.2)];
    relaxed(tight, [0.7, 0.1, 0.1, 0.1], [0.25; 4], &rules);
}

#[test]
fn without_an_asset_there_is_nothing_to_relax_to() {
    let constraints = Constraints { infeasible: Infeasible::Relax, ..Constraints::default() };
    let context = ConstraintContext { members: &[false; 2], shown: &[true; 2], scores: None, before: &[0.0; 2] };
    assert_eq!(constraints.apply(&mut [0.5, 0.5], &context).unwrap_err().code(), Code::Infeasible);
}
