//! Hand-worked targets under each constraint, and random ones against other portfolios.

use super::{ConstraintChange, ConstraintContext, Constraints, Excess, Group, TopBy};
use crate::error::{Code, Result};
use proptest::prelude::*;

fn apply(constraints: &Constraints, target: &mut [f64], before: &[f64]) -> Result<Vec<ConstraintChange>> {
    let all = vec![true; target.len()];
    constraints.apply(target, &ConstraintContext { members: &all, shown: &all, scores: None, before })
}

fn rules(changes: &[ConstraintChange]) -> Vec<&'static str> {
    changes.iter().map(|change| change.rule).collect()
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64]) {
    assert!(
        found.iter().zip(expected).all(|(one, two)| (one - two).abs() < 1e-9),
        "found {found:?}, expected {expected:?}"
    );
}

#[test]
fn a_feasible_target_is_left_alone_and_a_non_member_is_sold() {
    let mut target = [0.3, 0.7];
    let constraints = Constraints { max_weight: 0.8, ..Constraints::default() };
    assert_eq!(apply(&constraints, &mut target, &[0.0; 2]).unwrap(), []);
    assert_eq!(target, [0.3, 0.7]);
    let mut target = [0.25, 0.25, 0.5];
    let context =
        ConstraintContext { members: &[true, true, false], shown: &[true; 3], scores: None, before: &[0.0, 0.0, 0.4] };
    let changes = constraints.apply(&mut target, &context).unwrap();
    assert_eq!(target, [0.5, 0.5, 0.0]);
    assert_eq!(rules(&changes), ["membership", "bounds"]);
    assert!((changes[0].moved - 0.5).abs() < 1e-15 && (changes[1].moved - 0.5).abs() < 1e-15);
}

#[test]
fn an_asset_that_the_model_did_not_see_stays_at_exactly_zero() {
    let constraints = Constraints { max_weight: 0.5, ..Constraints::default() };
    let mut target = [1.0, 0.0, 0.0, 0.0];
    let context =
        ConstraintContext { members: &[true; 4], shown: &[true, true, true, false], scores: None, before: &[0.0; 4] };
    constraints.apply(&mut target, &context).unwrap();
    assert_near(&target, &[0.5, 0.25, 0.25, 0.0]);
    assert_eq!(target[3], 0.0);
}

#[test]
fn top_k_keeps_the_largest_by_weight_or_by_score() {
    let constraints = Constraints { top_k: Some(2), ..Constraints::default() };
    let mut target = [0.4, 0.1, 0.3, 0.2];
    assert_eq!(rules(&apply(&constraints, &mut target, &[0.0; 4]).unwrap()), ["top_k", "bounds"]);
    assert_near(&target, &[4.0 / 7.0, 0.0, 3.0 / 7.0, 0.0]);
    let by_score = Constraints { top_by: TopBy::Score, ..constraints };
    let mut target = [0.4, 0.1, 0.3, 0.2];
    let scores = [0.0, 3.0, 1.0, 2.0];
    let context =
        ConstraintContext { members: &[true; 4], shown: &[true; 4], scores: Some(&scores), before: &[0.0; 4] };
    by_score.apply(&mut target, &context).unwrap();
    assert_near(&target, &[0.0, 1.0 / 3.0, 0.0, 2.0 / 3.0]);
    let error = apply(&by_score, &mut target, &[0.0; 4]).unwrap_err();
    assert!(error.to_string().contains("gives no scores"), "{error}");
}

#[test]
fn no_weight_below_min_weight_remains() {
    let constraints = Constraints { min_weight: 0.15, max_weight: 0.4, ..Constraints::default() };
    let mut target = [0.7, 0.16, 0.13, 0.01];
    let error = apply(&constraints, &mut target, &[0.0; 4]).unwrap_err();
    assert!(error.to_string().contains("2 assets of at most portfolio.max_weight = 0.4"), "{error}");
    let groups = vec![Group { name: "bonds".into(), assets: vec![1, 2], min: 0.0, max: 0.3 }];
    let constraints = Constraints { min_weight: 0.2, groups, ..Constraints::default() };
    // The bound of the group reduces both of its assets to 0.15, so the first of them is closed.
    let mut target = [0.4, 0.3, 0.3];
    let changes = apply(&constraints, &mut target, &[0.0; 3]).unwrap();
    assert_near(&target, &[0.7, 0.0, 0.3]);
    assert_eq!(rules(&changes), ["min_weight", "bounds"]);
}

#[test]
fn the_excess_over_max_weight_goes_to_what_is_held_or_to_all() {
    let settled = |constraints: &Constraints, target: [f64; 4]| {
        let mut target = target;
        let changes = apply(constraints, &mut target, &[0.0; 4]).unwrap();
        (target, rules(&changes))
    };
    let held = Constraints { max_weight: 0.4, ..Constraints::default() };
    let (weights, changed) = settled(&held, [0.5, 0.3, 0.2, 0.0]);
    assert_near(&weights, &[0.4, 0.36, 0.24, 0.0]);
    assert_eq!((weights[3], changed), (0.0, vec!["bounds"]));
    let nearest = Constraints { excess: Excess::Nearest, ..held.clone() };
    let (weights, changed) = settled(&nearest, [0.5, 0.3, 0.2, 0.0]);
    let share = 0.1 / 3.0;
    assert_near(&weights, &[0.4, 0.3 + share, 0.2 + share, share]);
    assert_eq!(changed, ["bounds"]);
    // Two assets cannot take it.
    let (weights, changed) = settled(&held, [0.6, 0.4, 0.0, 0.0]);
    assert_near(&weights, &[0.4, 0.4, 0.1, 0.1]);
    assert_eq!(changed, ["spread"]);
}

#[test]
fn budget_and_gross_exposure_are_kept() {
    let settled = |constraints: Constraints, target: [f64; 3]| {
        let mut target = target;
        apply(&constraints, &mut target, &[0.0; 3]).unwrap();
        target
    };
    let constraints = Constraints { budget: 0.5, max_weight: 0.3, ..Constraints::default() };
    assert_near(&settled(constraints, [0.6, 0.3, 0.1]), &[0.3, 0.15, 0.05]);
    let open = Constraints { long_only: false, ..Constraints::default() };
    let gross = Constraints { max_gross: Some(1.4), max_weight: 1.0, ..open.clone() };
    assert_near(&settled(gross.clone(), [1.0, 0.3, -0.3]), &[12.0 / 13.0, 3.6 / 13.0, -0.2]);
    // As the nearest portfolio, the program has a variable per side: shorts shrink by 0.1, longs too.
    let nearest = Constraints { excess: Excess::Nearest, ..gross };
    assert_near(&settled(nearest, [1.0, 0.3, -0.3]), &[0.95, 0.25, -0.2]);
    let neutral = Constraints { budget: 0.0, max_gross: Some(1.0), ..open };
    assert_near(&settled(neutral, [0.6, 0.2, -0.4]), &[0.375, 0.125, -0.5]);
    // Within 1e-9 of the budget a target is left bit for bit.
    let target = [0.5 + 4e-10, 0.3, 0.2];
    assert_eq!(settled(Constraints::default(), target), target);
    let moved = settled(Constraints::default(), [0.5 + 3e-9, 0.3, 0.2]);
    assert!((moved.iter().sum::<f64>() - 1.0).abs() < 1e-15 && moved[1] < 0.3);
}

#[test]
fn group_bounds_are_met_by_what_is_held_or_by_the_nearest_portfolio() {
    // w1 + w2 = 0.5 is active, so w3 + w4 = 0.5.
    let groups = vec![Group { name: "tech".into(), assets: vec![0, 1], min: 0.0, max: 0.5 }];
    let constraints = Constraints { groups, ..Constraints::default() };
    let mut target = [0.5, 0.3, 0.15, 0.05, 0.0];
    apply(&constraints, &mut target, &[0.0; 5]).unwrap();
    assert_near(&target, &[0.3125, 0.1875, 0.375, 0.125, 0.0]);
    assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-12 && target[4] == 0.0);
    let nearest = Constraints { excess: Excess::Nearest, ..constraints };
    let mut target = [0.5, 0.3, 0.15, 0.05];
    apply(&nearest, &mut target, &[0.0; 4]).unwrap();
    assert_near(&target, &[0.35, 0.15, 0.3, 0.2]);
    assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn short_positions_are_allowed_without_long_only() {
    let constraints = Constraints { long_only: false, max_weight: 0.8, ..Constraints::default() };
    let mut target = [0.9, 0.4, -0.3];
    apply(&constraints, &mut target, &[0.0; 3]).unwrap();
    assert_near(&target, &[0.8, 0.4 * 8.0 / 7.0, -0.3 * 6.0 / 7.0]);
}

#[test]
fn min_weight_applies_to_the_weights_after_top_k() {
    let constraints = Constraints { min_weight: 0.1, top_k: Some(4), ..Constraints::default() };
    let mut target = [0.02; 50];
    let changes = apply(&constraints, &mut target, &[0.0; 50]).unwrap();
    assert_near(&target[..5], &[0.25, 0.25, 0.25, 0.25, 0.0]);
    assert_eq!(rules(&changes), ["top_k", "bounds"]);
    // One of the four is still too small when they are scaled up.
    let mut target = [0.5, 0.3, 0.13, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01];
    let changes = apply(&constraints, &mut target, &[0.0; 9]).unwrap();
    assert_near(&target[..4], &[0.5 / 0.93, 0.3 / 0.93, 0.13 / 0.93, 0.0]);
    assert_eq!(rules(&changes), ["top_k", "min_weight", "bounds"]);
}

#[test]
fn weights_that_only_the_turnover_limit_keeps_are_recorded_as_drift() {
    let before = [0.4, 0.4, 0.2];
    let drift = |constraints: &Constraints, target: [f64; 3], shown: [bool; 3]| {
        let mut target = target;
        let context = ConstraintContext { members: &[true; 3], shown: &shown, scores: None, before: &before };
        let changes = constraints.apply(&mut target, &context).unwrap();
        (target, changes.into_iter().find(|change| change.rule == "drift").map_or(0.0, |change| change.moved))
    };
    let limited = Constraints { max_turnover: Some(0.1), ..Constraints::default() };
    let all = [true; 3];
    // The limit allows half of the third weight to be sold.
    let top = Constraints { top_k: Some(2), ..limited.clone() };
    let (weights, recorded) = drift(&top, [0.5, 0.4, 0.1], all);
    assert!((weights[2] - 0.1).abs() < 1e-12 && (recorded - weights[2]).abs() < 1e-12, "{weights:?} {recorded}");
    let small = Constraints { min_weight: 0.15, ..limited.clone() };
    let (weights, recorded) = drift(&small, [0.5, 0.5, 0.0], all);
    assert!((weights[2] - 0.1).abs() < 1e-12 && (recorded - weights[2]).abs() < 1e-12, "{weights:?} {recorded}");
    let (weights, recorded) = drift(&limited, [0.5, 0.5, 0.0], [true, true, false]);
    assert!((recorded - weights[2]).abs() < 1e-12 && weights[2] > 0.05, "{weights:?} {recorded}");
    assert_eq!(drift(&limited, [0.5, 0.4, 0.1], all).1, 0.0);
}

#[test]
fn a_group_without_eligible_assets_is_infeasible_only_with_a_positive_min() {
    let group = |min| vec![Group { name: "gone".into(), assets: vec![2, 3], min, max: 0.5 }];
    let context = ConstraintContext {
        members: &[true, true, false, false],
        shown: &[true; 4],
        scores: None,
        before: &[0.0, 0.0, 1.0, 0.0],
    };
    let constraints = Constraints { max_weight: 0.6, groups: group(0.0), ..Constraints::default() };
    let mut target = [0.7, 0.3, 0.0, 0.0];
    constraints.apply(&mut target, &context).unwrap();
    assert_near(&target, &[0.6, 0.4, 0.0, 0.0]);
    let infeasible = Constraints { groups: group(0.1), ..constraints };
    let error = infeasible.apply(&mut [0.7, 0.3, 0.0, 0.0], &context).unwrap_err();
    assert_eq!(error.code(), Code::Infeasible);
    assert!(error.to_string().contains("group 'gone' has 0 assets"), "{error}");
}

#[test]
fn infeasible_bounds_are_reported_with_their_values() {
    let constraints = Constraints { max_weight: 0.3, ..Constraints::default() };
    let error = apply(&constraints, &mut [0.5, 0.5, 0.0], &[0.0; 3]).unwrap_err();
    assert_eq!(error.code(), Code::Infeasible);
    assert!(error.to_string().contains("3 assets of at most portfolio.max_weight = 0.3"), "{error}");
    let group = |name: &str, assets, min, max| Group { name: name.into(), assets, min, max };
    let groups = vec![group("low", vec![0, 1], 0.0, 0.3), group("high", vec![2], 0.0, 0.4)];
    let constraints = Constraints { groups, ..Constraints::default() };
    let error = apply(&constraints, &mut [0.5, 0.5, 0.0], &[0.0; 3]).unwrap_err();
    assert_eq!(error.code(), Code::Infeasible);
    assert!(error.to_string().contains("group 'low' of 0 to 0.3, group 'high' of 0 to 0.4"), "{error}");
    let groups = vec![group("few", vec![0], 0.9, 1.0)];
    let constraints = Constraints { max_weight: 0.5, groups, ..Constraints::default() };
    let error = apply(&constraints, &mut [0.5, 0.5, 0.0], &[0.0; 3]).unwrap_err();
    assert!(error.to_string().contains("group 'few' has 1 assets"), "{error}");
    assert!(
        apply(&Constraints { top_k: Some(1), max_weight: 0.5, ..Constraints::default() }, &mut [0.5, 0.5], &[0.0; 2])
            .unwrap_err()
            .to_string()
            .contains("portfolio.top_k = 1 may exclude others")
    );
}

proptest! {
    #[test]
    fn no_other_portfolio_is_nearer(
        start in proptest::collection::vec(-1.0..2.0_f64, 6..12), cap in 0.26..1.0_f64, by_held in any::<bool>(),
        other in proptest::collection::vec(0.0..1.0_f64, 12), grouped in any::<bool>(), share in 0.4..0.8_f64,
    ) {
        let assets = (0..start.len() / 2).collect();
        let group = Group { name: "half".into(), assets, min: share - 0.3, max: share };
        let groups = if grouped { vec![group] } else { Vec::new() };
        let excess = if by_held { Excess::Held } else { Excess::Nearest };
        let constraints = Constraints { max_weight: cap, groups, excess, ..Constraints::default() };
        let mut target = start.clone();
        let outcome = apply(&constraints, &mut target, &vec![0.0; start.len()]);
        prop_assume!(outcome.is_ok());
        prop_assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        prop_assert!(constraints.violation(&target) < 1e-9);
        prop_assert!(target.iter().all(|weight| *weight >= 0.0));
        let is_held = by_held && !rules(&outcome.unwrap()).contains(&"spread");
        let holds = |value: f64| !is_held || value > 0.0;
        prop_assert!(start.iter().zip(&target).all(|(v, w)| holds(*v) || *w == 0.0));
        // The nearest p to v in a convex set satisfies Σ q (v − p)(r − p) ≤ 0 for each r in it.
        let mix: Vec<f64> = start.iter().zip(&other).map(|(v, r)| if holds(*v) { *r } else { 0.0 }).collect();
        let sum: f64 = mix.iter().sum();
        let mix: Vec<f64> = mix.iter().map(|value| value / sum).collect();
        prop_assume!(constraints.violation(&mix) == 0.0);
        let importance = |v: f64| if is_held { 1.0 / v.abs().max(1e-3) } else { 1.0 };
        let held = start.iter().zip(&target).zip(&mix).filter(|((v, _), _)| holds(**v) && v.abs() > 1e-3);
        let product: f64 = held.map(|((v, p), r)| importance(*v) * (v - p) * (r - p)).sum();
        prop_assert!(product <= 1e-6 || start.iter().any(|v| v.abs() <= 1e-3), "{product}");
    }
}
