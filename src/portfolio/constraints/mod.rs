//! Constraints on target weights, the same for every model: forced exits, a choice of assets, bounds, a turnover limit.
//! Every change is told, with the rule and the weight that it moved.

mod bounds;
mod groups;
mod turnover;

use crate::error::{Result, fail};
use crate::settings::choices;
use groups::Solver;

/// How far the sum of weights may be from the budget, and a weight from its bound, before a target is changed.
const TOLERANCE: f64 = 1e-12;
/// The same for what a solver found.
const SOLVED: f64 = 1e-9;

/// Bounds on the sum of the weights of some assets.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub assets: Vec<usize>,
    /// Least sum.
    pub min: f64,
    /// Largest sum.
    pub max: f64,
}

choices! {
    /// By what the `top_k` assets are chosen.
    pub enum TopBy {
        /// The model's weights.
        Weight = "weight",
        /// The model's scores.
        Score = "score",
    }
}

/// What every model's target is held to.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraints {
    /// Whether weights are at least 0; else they are at least -`max_weight`.
    pub long_only: bool,
    /// Largest weight of one asset, above 0 and at most 1.
    pub max_weight: f64,
    /// A smaller weight, unless it is 0, is not held.
    pub min_weight: f64,
    /// Most assets held; `None` for any number.
    pub top_k: Option<usize>,
    /// By what they are chosen.
    pub top_by: TopBy,
    /// Largest ½ Σ|w − w⁻| of a rebalance but the first; `None` for any.
    pub max_turnover: Option<f64>,
    /// Bounds on sums.
    pub groups: Vec<Group>,
}

/// Long-only, nothing else.
impl Default for Constraints {
    fn default() -> Self {
        Self {
            long_only: true,
            max_weight: 1.0,
            min_weight: 0.0,
            top_k: None,
            top_by: TopBy::Weight,
            max_turnover: None,
            groups: Vec::new(),
        }
    }
}

/// What is known when a target is held to the constraints; every slice is `[assets]`.
#[derive(Clone, Copy, Debug)]
pub struct ConstraintContext<'a> {
    /// Who may be held.
    pub members: &'a [bool],
    /// Whom the model was shown; others stay at exactly 0.
    pub shown: &'a [bool],
    /// The model's scores, where it gives any.
    pub scores: Option<&'a [f64]>,
    /// The weights held at the decision row, after their drift; all 0 in cash.
    pub before: &'a [f64],
}

/// A change that a rule made to a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstraintChange {
    /// `membership`, `top_k`, `min_weight`, `bounds`, `turnover`, or `drift` where the turnover limit keeps a holding
    /// beyond a bound, or above 0 what is outside the `top_k`, below `min_weight` or not shown to the model.
    pub rule: &'static str,
    /// Σ|after − before|; for `membership` the weight sold, for `drift` the weight beyond the bounds.
    pub moved: f64,
}

/// The rules of one decision: which assets may be held at all.
struct Eligibility {
    open: Vec<bool>,
}

impl Constraints {
    /// Holds `target`, `[assets]`, to the constraints, in this order: non-members leave; assets outside the `top_k` and
    /// below `min_weight` get an upper bound of 0; the Euclidean projection onto {Σw = 1, bounds, groups}; the largest
    /// step towards it from what is held that keeps `max_turnover`. A target inside already is left as it is, bit for
    /// bit.
    ///
    /// # Errors
    /// `Infeasible` with the constraints and figures where no portfolio satisfies them; `InvalidSetting` where scores are
    /// asked for that the model does not give.
    pub fn apply(&self, target: &mut [f64], known: &ConstraintContext) -> Result<Vec<ConstraintChange>> {
        let mut changes = Vec::new();
        Self::exits(target, known, &mut changes);
        let mut choice =
            Eligibility { open: known.members.iter().zip(known.shown).map(|(one, two)| *one && *two).collect() };
        self.choose_top(target, known, &mut choice, &mut changes)?;
        let cut = changes.last().is_some_and(|change| change.rule == "top_k");
        self.project(target, cut, &mut choice, &mut changes)?;
        if let Some(limit) = self.max_turnover {
            turnover::limit(limit, target, known, &mut changes);
            let beyond = self.beyond(target) + self.unwanted(target, &choice.open);
            if beyond > SOLVED {
                changes.push(ConstraintChange { rule: "drift", moved: beyond });
            }
        }
        Ok(changes)
    }

    fn exits(target: &mut [f64], known: &ConstraintContext, changes: &mut Vec<ConstraintChange>) {
        let mut sold = 0.0;
        for ((weight, before), member) in target.iter_mut().zip(known.before).zip(known.members) {
            if !member {
                sold += before.abs().max(weight.abs());
                *weight = 0.0;
            }
        }
        if sold > 0.0 {
            changes.push(ConstraintChange { rule: "membership", moved: sold });
        }
    }

    fn choose_top(
        &self,
        target: &mut [f64],
        known: &ConstraintContext,
        choice: &mut Eligibility,
        changes: &mut Vec<ConstraintChange>,
    ) -> Result<()> {
        let Some(top) = self.top_k else { return Ok(()) };
        let rank = match (self.top_by, known.scores) {
            (TopBy::Weight, _) => target.iter().map(|weight| weight.abs()).collect(),
            (TopBy::Score, Some(scores)) => scores.to_vec(),
            (TopBy::Score, None) => {
                fail!(InvalidSetting, "setting 'portfolio.top_k_by': found \"score\", but the model gives no scores")
            }
        };
        let mut order: Vec<usize> = (0..target.len()).filter(|&asset| choice.open[asset]).collect();
        // Stable: equal ones in order of their names.
        order.sort_by(|&one, &two| rank[two].total_cmp(&rank[one]));
        let closed = order.split_off(top.min(order.len()));
        close("top_k", &closed, target, choice, changes);
        Ok(())
    }

    /// Projects, and leaves out what is below `min_weight` until nothing is. Where the choice of the `top_k` cut the
    /// target, that is judged of what the chosen come to: of many assets each may be small, and of the few left none is.
    fn project(
        &self,
        target: &mut [f64],
        cut: bool,
        choice: &mut Eligibility,
        changes: &mut Vec<ConstraintChange>,
    ) -> Result<()> {
        let small = |weights: &[f64], open: &[bool]| -> Vec<usize> {
            let below = |asset: &usize| open[*asset] && weights[*asset].abs() < self.min_weight - TOLERANCE;
            (0..weights.len()).filter(below).collect()
        };
        let mut judged = !cut;
        loop {
            if self.min_weight > 0.0 && std::mem::replace(&mut judged, true) {
                close("min_weight", &small(target, &choice.open), target, choice, changes);
            }
            self.feasible(&choice.open)?;
            if self.beyond(target) <= TOLERANCE && (target.iter().sum::<f64>() - 1.0).abs() <= TOLERANCE {
                return Ok(());
            }
            let before = target.to_vec();
            let solver = Solver::new(self, &choice.open);
            solver.project(target)?;
            let moved = before.iter().zip(&*target).map(|(before, after)| (after - before).abs()).sum();
            changes.push(ConstraintChange { rule: "bounds", moved });
            if self.min_weight == 0.0 || small(target, &choice.open).is_empty() {
                return Ok(());
            }
        }
    }

    /// By how much a target is beyond its bounds, Σ over assets and groups; the budget is not looked at.
    fn beyond(&self, target: &[f64]) -> f64 {
        let single: f64 = target.iter().map(|&weight| outside(weight, self.least(), self.max_weight)).sum();
        let summed = |group: &Group| group.assets.iter().map(|&asset| target[asset]).sum::<f64>();
        single + self.groups.iter().map(|group| outside(summed(group), group.min, group.max)).sum::<f64>()
    }

    /// The weight that is held where none should be: of assets that rules closed, and below `min_weight`.
    fn unwanted(&self, target: &[f64], open: &[bool]) -> f64 {
        let small = |weight: f64| weight.abs() < self.min_weight - TOLERANCE;
        let unwanted = target.iter().zip(open).filter(|(weight, open)| !**open || small(**weight));
        unwanted.map(|(weight, _)| weight.abs()).sum()
    }

    /// The lower bound of an asset.
    fn least(&self) -> f64 {
        if self.long_only { 0.0 } else { -self.max_weight }
    }

    /// What can be told without a solver, with its figures.
    fn feasible(&self, open: &[bool]) -> Result<()> {
        let count = open.iter().filter(|open| **open).count();
        if count as f64 * self.max_weight < 1.0 - TOLERANCE {
            fail!(
                Infeasible,
                "{count} assets of at most portfolio.max_weight = {} each cannot add up to 1{}",
                self.max_weight,
                self.chosen_by()
            );
        }
        for group in &self.groups {
            let inside = group.assets.iter().filter(|&&asset| open[asset]).count() as f64;
            if inside * self.max_weight < group.min - TOLERANCE {
                fail!(
                    Infeasible,
                    "group '{}' has {inside} assets of at most portfolio.max_weight = {} each, which cannot add up to its \
                     min of {}{}",
                    group.name,
                    self.max_weight,
                    group.min,
                    self.chosen_by()
                );
            }
        }
        Ok(())
    }

    /// The rules that close assets, for messages.
    fn chosen_by(&self) -> String {
        let mut rules = Vec::new();
        if let Some(top) = self.top_k {
            rules.push(format!("portfolio.top_k = {top}"));
        }
        if self.min_weight > 0.0 {
            rules.push(format!("portfolio.min_weight = {}", self.min_weight));
        }
        if rules.is_empty() {
            "; members that the model was shown count".to_owned()
        } else {
            format!("; {} left them", rules.join(" and "))
        }
    }
}

fn outside(value: f64, low: f64, high: f64) -> f64 {
    (low - value).max(value - high).max(0.0)
}

/// Gives assets an upper bound of 0.
fn close(
    rule: &'static str,
    closed: &[usize],
    target: &mut [f64],
    choice: &mut Eligibility,
    changes: &mut Vec<ConstraintChange>,
) {
    let mut moved = 0.0;
    for &asset in closed {
        moved += target[asset].abs();
        target[asset] = 0.0;
        choice.open[asset] = false;
    }
    if moved > 0.0 {
        changes.push(ConstraintChange { rule, moved });
    }
}

#[cfg(test)]
mod tests {
    use super::{ConstraintChange, ConstraintContext, Constraints, Group, TopBy};
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
    fn near(ours: &[f64], expected: &[f64]) {
        assert!(
            ours.iter().zip(expected).all(|(one, two)| (one - two).abs() < 1e-9),
            "{ours:?}, expected {expected:?}"
        );
    }

    #[test]
    fn a_target_inside_is_left_alone_and_a_non_member_leaves() {
        let mut target = [0.3, 0.7];
        let constraints = Constraints { max_weight: 0.8, ..Constraints::default() };
        assert_eq!(apply(&constraints, &mut target, &[0.0; 2]).unwrap(), []);
        assert_eq!(target, [0.3, 0.7]);
        let mut target = [0.25, 0.25, 0.5];
        let known = ConstraintContext {
            members: &[true, true, false],
            shown: &[true; 3],
            scores: None,
            before: &[0.0, 0.0, 0.4],
        };
        let changes = constraints.apply(&mut target, &known).unwrap();
        assert_eq!(target, [0.5, 0.5, 0.0]);
        assert_eq!(rules(&changes), ["membership", "bounds"]);
        assert!((changes[0].moved - 0.5).abs() < 1e-15 && (changes[1].moved - 0.5).abs() < 1e-15);
    }

    #[test]
    fn what_the_model_was_not_shown_stays_at_exactly_zero() {
        let constraints = Constraints { max_weight: 0.5, ..Constraints::default() };
        let mut target = [0.9, 0.1, 0.0, 0.0];
        let known = ConstraintContext {
            members: &[true; 4],
            shown: &[true, true, true, false],
            scores: None,
            before: &[0.0; 4],
        };
        constraints.apply(&mut target, &known).unwrap();
        near(&target, &[0.5, 0.3, 0.2, 0.0]);
        assert_eq!(target[3], 0.0);
    }

    #[test]
    fn the_largest_are_kept_by_weight_or_by_score() {
        let constraints = Constraints { top_k: Some(2), ..Constraints::default() };
        let mut target = [0.4, 0.1, 0.3, 0.2];
        assert_eq!(rules(&apply(&constraints, &mut target, &[0.0; 4]).unwrap()), ["top_k", "bounds"]);
        near(&target, &[0.55, 0.0, 0.45, 0.0]);
        let by_score = Constraints { top_by: TopBy::Score, ..constraints };
        let mut target = [0.4, 0.1, 0.3, 0.2];
        let scores = [0.0, 3.0, 1.0, 2.0];
        let known =
            ConstraintContext { members: &[true; 4], shown: &[true; 4], scores: Some(&scores), before: &[0.0; 4] };
        by_score.apply(&mut target, &known).unwrap();
        near(&target, &[0.0, 0.45, 0.0, 0.55]);
        let error = apply(&by_score, &mut target, &[0.0; 4]).unwrap_err();
        assert!(error.to_string().contains("gives no scores"), "{error}");
    }

    #[test]
    fn nothing_below_the_least_weight_is_held_at_the_end() {
        let constraints = Constraints { min_weight: 0.15, max_weight: 0.4, ..Constraints::default() };
        let mut target = [0.7, 0.16, 0.13, 0.01];
        let error = apply(&constraints, &mut target, &[0.0; 4]).unwrap_err();
        assert!(error.to_string().contains("2 assets of at most portfolio.max_weight = 0.4"), "{error}");
        let groups = vec![Group { name: "bonds".into(), assets: vec![1, 2], min: 0.0, max: 0.3 }];
        let constraints = Constraints { min_weight: 0.2, groups, ..Constraints::default() };
        // The group's bound pushes both of its assets to 0.15; they leave.
        let mut target = [0.4, 0.3, 0.3];
        let changes = apply(&constraints, &mut target, &[0.0; 3]).unwrap();
        near(&target, &[1.0, 0.0, 0.0]);
        assert_eq!(rules(&changes), ["bounds", "min_weight", "bounds"]);
    }

    #[test]
    fn a_cap_spreads_the_rest_evenly() {
        let mut target = [0.6, 0.3, 0.1];
        let constraints = Constraints { max_weight: 0.5, ..Constraints::default() };
        apply(&constraints, &mut target, &[0.0; 3]).unwrap();
        near(&target, &[0.5, 0.35, 0.15]);
    }

    #[test]
    fn group_bounds_are_met_by_the_nearest_portfolio() {
        // Nearest to v under w1 + w2 = 0.5 (active) and w3 + w4 = 0.5: each pair is shifted evenly.
        let groups = vec![Group { name: "tech".into(), assets: vec![0, 1], min: 0.0, max: 0.5 }];
        let constraints = Constraints { groups, ..Constraints::default() };
        let mut target = [0.5, 0.3, 0.15, 0.05];
        apply(&constraints, &mut target, &[0.0; 4]).unwrap();
        near(&target, &[0.35, 0.15, 0.3, 0.2]);
        assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn short_positions_are_allowed_where_the_user_says_so() {
        let constraints = Constraints { long_only: false, max_weight: 0.8, ..Constraints::default() };
        let mut target = [0.9, 0.4, -0.3];
        apply(&constraints, &mut target, &[0.0; 3]).unwrap();
        near(&target, &[0.8, 0.45, -0.25]);
    }

    #[test]
    fn of_many_assets_the_chosen_few_are_not_too_small_for_the_least_weight() {
        let constraints = Constraints { min_weight: 0.1, top_k: Some(4), ..Constraints::default() };
        let mut target = [0.02; 50];
        let changes = apply(&constraints, &mut target, &[0.0; 50]).unwrap();
        near(&target[..5], &[0.25, 0.25, 0.25, 0.25, 0.0]);
        assert_eq!(rules(&changes), ["top_k", "bounds"]);
        // Of the chosen, one is too small still.
        let mut target = [0.5, 0.3, 0.13, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01];
        let changes = apply(&constraints, &mut target, &[0.0; 9]).unwrap();
        near(&target[..4], &[0.5 + 0.07 / 3.0, 0.3 + 0.07 / 3.0, 0.13 + 0.07 / 3.0, 0.0]);
        assert_eq!(rules(&changes), ["top_k", "bounds", "min_weight", "bounds"]);
    }

    #[test]
    fn what_the_turnover_limit_keeps_beyond_top_k_and_min_weight_is_told_as_drift() {
        let before = [0.4, 0.4, 0.2];
        let drift = |constraints: &Constraints, target: [f64; 3], shown: [bool; 3]| {
            let mut target = target;
            let known = ConstraintContext { members: &[true; 3], shown: &shown, scores: None, before: &before };
            let changes = constraints.apply(&mut target, &known).unwrap();
            (target, changes.into_iter().find(|change| change.rule == "drift").map_or(0.0, |change| change.moved))
        };
        let limited = Constraints { max_turnover: Some(0.1), ..Constraints::default() };
        let all = [true; 3];
        // Half of the third one's 0.2 may be sold.
        let top = Constraints { top_k: Some(2), ..limited.clone() };
        let (weights, told) = drift(&top, [0.5, 0.4, 0.1], all);
        assert!((weights[2] - 0.1).abs() < 1e-12 && (told - weights[2]).abs() < 1e-12, "{weights:?} {told}");
        let small = Constraints { min_weight: 0.15, ..limited.clone() };
        let (weights, told) = drift(&small, [0.5, 0.5, 0.0], all);
        assert!((weights[2] - 0.1).abs() < 1e-12 && (told - weights[2]).abs() < 1e-12, "{weights:?} {told}");
        let (weights, told) = drift(&limited, [0.5, 0.5, 0.0], [true, true, false]);
        assert!((told - weights[2]).abs() < 1e-12 && weights[2] > 0.05, "{weights:?} {told}");
        assert_eq!(drift(&limited, [0.5, 0.4, 0.1], all).1, 0.0);
    }

    #[test]
    fn a_group_whose_members_all_left_is_no_matter_unless_it_must_hold_something() {
        let group = |min| vec![Group { name: "gone".into(), assets: vec![2, 3], min, max: 0.5 }];
        let known = ConstraintContext {
            members: &[true, true, false, false],
            shown: &[true; 4],
            scores: None,
            before: &[0.0, 0.0, 1.0, 0.0],
        };
        let constraints = Constraints { max_weight: 0.6, groups: group(0.0), ..Constraints::default() };
        let mut target = [0.7, 0.3, 0.0, 0.0];
        constraints.apply(&mut target, &known).unwrap();
        near(&target, &[0.6, 0.4, 0.0, 0.0]);
        let must = Constraints { groups: group(0.1), ..constraints };
        let error = must.apply(&mut [0.7, 0.3, 0.0, 0.0], &known).unwrap_err();
        assert_eq!(error.code(), Code::Infeasible);
        assert!(error.to_string().contains("group 'gone' has 0 assets"), "{error}");
    }

    #[test]
    fn bounds_nobody_can_meet_are_told() {
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
            apply(
                &Constraints { top_k: Some(1), max_weight: 0.5, ..Constraints::default() },
                &mut [0.5, 0.5],
                &[0.0; 2]
            )
            .unwrap_err()
            .to_string()
            .contains("portfolio.top_k = 1 left them")
        );
    }

    proptest! {
        #[test]
        fn a_projection_is_feasible_and_nearer_than_any_other(
            start in proptest::collection::vec(-1.0..2.0_f64, 6..12), cap in 0.26..1.0_f64,
            other in proptest::collection::vec(0.0..1.0_f64, 12), grouped in any::<bool>(), share in 0.4..0.8_f64,
        ) {
            let group = Group { name: "half".into(), assets: (0..start.len() / 2).collect(), min: share - 0.3, max: share };
            let groups = if grouped { vec![group] } else { Vec::new() };
            let constraints = Constraints { max_weight: cap, groups, ..Constraints::default() };
            let mut target = start.clone();
            let outcome = apply(&constraints, &mut target, &vec![0.0; start.len()]);
            prop_assume!(outcome.is_ok());
            prop_assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(constraints.beyond(&target) < 1e-9);
            prop_assert!(target.iter().all(|weight| *weight >= 0.0));
            // The projection p of v onto a convex set satisfies (v − p)·(q − p) ≤ 0 for each q in it.
            let sum: f64 = other[..start.len()].iter().sum();
            let mix: Vec<f64> = other[..start.len()].iter().map(|value| value / sum).collect();
            prop_assume!(constraints.beyond(&mix) == 0.0);
            let product: f64 =
                start.iter().zip(&target).zip(&mix).map(|((v, p), q)| (v - p) * (q - p)).sum();
            prop_assert!(product <= 1e-7, "{product}");
        }
    }
}
