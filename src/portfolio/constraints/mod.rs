//! Constraints on target weights, the same for every model: forced exits, limits on the assets held, bounds, a turnover
//! limit. Everything that changed is recorded, with the rule and the weight that it moved.

mod bounds;
mod groups;
mod turnover;

use crate::error::{Result, fail};
use crate::settings::choices;
use groups::Solver;

/// The tolerance for the sum of weights and for their bounds, within which a target is left alone.
pub(super) const TOLERANCE: f64 = 1e-12;
/// The same tolerance for the result of the solver.
const SOLVER_TOLERANCE: f64 = 1e-9;

/// Bounds on the sum of the weights of some assets.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The name, for messages.
    pub name: String,
    /// The columns of its assets, in ascending order.
    pub assets: Vec<usize>,
    /// Smallest sum.
    pub min: f64,
    /// Largest sum.
    pub max: f64,
}

choices! {
    /// How assets are ranked for `top_k`.
    pub enum TopBy {
        /// By the absolute weights of the model.
        Weight = "weight",
        /// By the scores of the model.
        Score = "score",
    }
}

/// The constraints on the target weights of every model.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraints {
    /// Whether weights are at least 0; otherwise they are at least -`max_weight`.
    pub long_only: bool,
    /// Largest weight of one asset, above 0 and at most 1.
    pub max_weight: f64,
    /// Smallest absolute weight that is held; smaller weights become 0.
    pub min_weight: f64,
    /// Largest number of assets held; `None` for no limit.
    pub top_k: Option<usize>,
    /// How assets are ranked for `top_k`.
    pub top_by: TopBy,
    /// Largest turnover ½ Σ|w − w⁻| of a rebalance, except for the first purchase; `None` for no limit.
    pub max_turnover: Option<f64>,
    /// Bounds on sums of weights.
    pub groups: Vec<Group>,
}

/// Long-only and fully invested, without further limits.
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

/// What is known about the assets when constraints are applied. Every slice is `[assets]`.
#[derive(Clone, Copy, Debug)]
pub struct ConstraintContext<'a> {
    /// Which assets may be held.
    pub members: &'a [bool],
    /// Which assets the model saw; the others get no weight.
    pub shown: &'a [bool],
    /// The model's scores; `None` if it has none.
    pub scores: Option<&'a [f64]>,
    /// The drifted weights held at the decision row; all 0 in cash.
    pub before: &'a [f64],
}

/// A change that one rule made to a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstraintChange {
    /// `membership`, `top_k`, `min_weight`, `bounds`, `turnover` or `drift`. The last one means that the turnover limit
    /// keeps weights that another rule forbids: beyond a bound, outside the `top_k`, below `min_weight`, or of assets
    /// that the model did not see.
    pub rule: &'static str,
    /// Σ|after − before|; for `membership` the weight sold, for `drift` the forbidden weight.
    pub moved: f64,
}

impl Constraints {
    /// Applies the constraints to `target`, `[assets]`, in this order:
    ///
    /// 1. non-members are sold;
    /// 2. assets outside the `top_k`, or below `min_weight`, become ineligible and get the weight 0;
    /// 3. the target is projected onto {Σw = 1, bounds, groups}, in the Euclidean norm;
    /// 4. the step from the held weights to the target is shortened to keep `max_turnover`.
    ///
    /// A target that satisfies the constraints stays bit for bit as it is.
    ///
    /// # Errors
    /// `Infeasible` with the constraints and their values if no portfolio satisfies them; `InvalidSetting` if `top_by`
    /// needs scores and the model has none.
    pub fn apply(&self, target: &mut [f64], context: &ConstraintContext) -> Result<Vec<ConstraintChange>> {
        let mut changes = Vec::new();
        Self::sell_non_members(target, context, &mut changes);
        let mut eligible: Vec<bool> =
            context.members.iter().zip(context.shown).map(|(member, shown)| *member && *shown).collect();
        self.keep_top(target, context, &mut eligible, &mut changes)?;
        let was_cut = changes.last().is_some_and(|change| change.rule == "top_k");
        self.project(target, was_cut, &mut eligible, &mut changes)?;
        if let Some(limit) = self.max_turnover {
            turnover::limit(limit, target, context, &mut changes);
            let forbidden = self.violation(target) + self.ineligible_weight(target, &eligible);
            if forbidden > SOLVER_TOLERANCE {
                changes.push(ConstraintChange { rule: "drift", moved: forbidden });
            }
        }
        Ok(changes)
    }

    fn sell_non_members(target: &mut [f64], context: &ConstraintContext, changes: &mut Vec<ConstraintChange>) {
        let mut sold = 0.0;
        for ((weight, before), member) in target.iter_mut().zip(context.before).zip(context.members) {
            if !member {
                sold += before.abs().max(weight.abs());
                *weight = 0.0;
            }
        }
        if sold > 0.0 {
            changes.push(ConstraintChange { rule: "membership", moved: sold });
        }
    }

    fn keep_top(
        &self,
        target: &mut [f64],
        context: &ConstraintContext,
        eligible: &mut [bool],
        changes: &mut Vec<ConstraintChange>,
    ) -> Result<()> {
        let Some(top) = self.top_k else { return Ok(()) };
        let rank = match (self.top_by, context.scores) {
            (TopBy::Weight, _) => target.iter().map(|weight| weight.abs()).collect(),
            (TopBy::Score, Some(scores)) => scores.to_vec(),
            (TopBy::Score, None) => {
                fail!(InvalidSetting, "setting 'portfolio.top_k_by': found \"score\", but the model gives no scores")
            }
        };
        let mut order: Vec<usize> = (0..target.len()).filter(|&asset| eligible[asset]).collect();
        // The sort is stable, so ties stay in the order of names.
        order.sort_by(|&one, &two| rank[two].total_cmp(&rank[one]));
        let rest = order.split_off(top.min(order.len()));
        exclude("top_k", &rest, target, eligible, changes);
        Ok(())
    }

    /// Projects the target and excludes weights below `min_weight`, in turns, until there are none. If `top_k` cut the
    /// target, it is projected first: weights spread over many assets are small, and those of the assets that are kept
    /// grow.
    fn project(
        &self,
        target: &mut [f64],
        was_cut: bool,
        eligible: &mut [bool],
        changes: &mut Vec<ConstraintChange>,
    ) -> Result<()> {
        let small = |weights: &[f64], eligible: &[bool]| -> Vec<usize> {
            let is_small = |asset: &usize| eligible[*asset] && self.is_small(weights[*asset]);
            (0..weights.len()).filter(is_small).collect()
        };
        let mut exclude_small = !was_cut;
        loop {
            if self.min_weight > 0.0 && std::mem::replace(&mut exclude_small, true) {
                exclude("min_weight", &small(target, eligible), target, eligible, changes);
            }
            self.check_feasible(eligible)?;
            if self.violation(target) <= TOLERANCE && (target.iter().sum::<f64>() - 1.0).abs() <= TOLERANCE {
                return Ok(());
            }
            let before = target.to_vec();
            Solver::new(self, eligible).project(target)?;
            let moved = before.iter().zip(&*target).map(|(before, after)| (after - before).abs()).sum();
            changes.push(ConstraintChange { rule: "bounds", moved });
            if self.min_weight == 0.0 || small(target, eligible).is_empty() {
                return Ok(());
            }
        }
    }

    /// By how much a target violates the bounds, summed over assets and groups. The sum of all weights is not checked.
    fn violation(&self, target: &[f64]) -> f64 {
        let assets: f64 = target.iter().map(|&weight| distance(weight, self.lower_bound(), self.max_weight)).sum();
        let sum = |group: &Group| group.assets.iter().map(|&asset| target[asset]).sum::<f64>();
        assets + self.groups.iter().map(|group| distance(sum(group), group.min, group.max)).sum::<f64>()
    }

    /// By how much weights that were held before stand beyond the bounds, the groups and the number of assets: a trade
    /// without a price is not done.
    pub(super) fn beyond(&self, weights: &[f64]) -> f64 {
        let held = weights.iter().filter(|weight| **weight != 0.0).count();
        let too_many = held.saturating_sub(self.top_k.unwrap_or(held));
        // The smallest ones count as those that are too many.
        let mut sizes: Vec<f64> = weights.iter().map(|weight| weight.abs()).filter(|size| *size > 0.0).collect();
        sizes.sort_by(f64::total_cmp);
        self.violation(weights) + sizes[..too_many].iter().sum::<f64>()
    }

    /// The weight of assets that are not eligible or whose weight is below `min_weight`.
    fn ineligible_weight(&self, target: &[f64], eligible: &[bool]) -> f64 {
        let ineligible =
            target.iter().zip(eligible).filter(|(weight, eligible)| !**eligible || self.is_small(**weight));
        ineligible.map(|(weight, _)| weight.abs()).sum()
    }

    fn is_small(&self, weight: f64) -> bool {
        weight.abs() < self.min_weight - TOLERANCE
    }

    /// The lower bound on the weight of an asset.
    fn lower_bound(&self) -> f64 {
        if self.long_only { 0.0 } else { -self.max_weight }
    }

    /// Checks what needs no solver: whether the eligible assets can reach the sums.
    fn check_feasible(&self, eligible: &[bool]) -> Result<()> {
        let count = eligible.iter().filter(|eligible| **eligible).count();
        if count as f64 * self.max_weight < 1.0 - TOLERANCE {
            fail!(
                Infeasible,
                "{count} assets of at most portfolio.max_weight = {} each cannot add up to 1{}",
                self.max_weight,
                self.excluded_by()
            );
        }
        for group in &self.groups {
            let inside = group.assets.iter().filter(|&&asset| eligible[asset]).count() as f64;
            if inside * self.max_weight < group.min - TOLERANCE {
                fail!(
                    Infeasible,
                    "group '{}' has {inside} assets of at most portfolio.max_weight = {} each, which cannot add up to \
                     its min of {}{}",
                    group.name,
                    self.max_weight,
                    group.min,
                    self.excluded_by()
                );
            }
        }
        Ok(())
    }

    /// The end of a message that too few assets are left, such as `; portfolio.top_k = 1 may exclude others`.
    fn excluded_by(&self) -> String {
        let mut rules = Vec::new();
        if let Some(top) = self.top_k {
            rules.push(format!("portfolio.top_k = {top}"));
        }
        if self.min_weight > 0.0 {
            rules.push(format!("portfolio.min_weight = {}", self.min_weight));
        }
        if rules.is_empty() {
            "; only assets in the universe that the model was shown can be held".to_owned()
        } else {
            format!("; {} may exclude others", rules.join(" and "))
        }
    }
}

/// The distance of a value from an interval; 0 inside.
fn distance(value: f64, low: f64, high: f64) -> f64 {
    (low - value).max(value - high).max(0.0)
}

/// Makes assets ineligible and sets their weights to 0.
fn exclude(
    rule: &'static str,
    excluded: &[usize],
    target: &mut [f64],
    eligible: &mut [bool],
    changes: &mut Vec<ConstraintChange>,
) {
    let mut moved = 0.0;
    for &asset in excluded {
        moved += target[asset].abs();
        target[asset] = 0.0;
        eligible[asset] = false;
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
        let context = ConstraintContext {
            members: &[true, true, false],
            shown: &[true; 3],
            scores: None,
            before: &[0.0, 0.0, 0.4],
        };
        let changes = constraints.apply(&mut target, &context).unwrap();
        assert_eq!(target, [0.5, 0.5, 0.0]);
        assert_eq!(rules(&changes), ["membership", "bounds"]);
        assert!((changes[0].moved - 0.5).abs() < 1e-15 && (changes[1].moved - 0.5).abs() < 1e-15);
    }

    #[test]
    fn an_asset_that_the_model_did_not_see_stays_at_exactly_zero() {
        let constraints = Constraints { max_weight: 0.5, ..Constraints::default() };
        let mut target = [0.9, 0.1, 0.0, 0.0];
        let context = ConstraintContext {
            members: &[true; 4],
            shown: &[true, true, true, false],
            scores: None,
            before: &[0.0; 4],
        };
        constraints.apply(&mut target, &context).unwrap();
        assert_near(&target, &[0.5, 0.3, 0.2, 0.0]);
        assert_eq!(target[3], 0.0);
    }

    #[test]
    fn top_k_keeps_the_largest_by_weight_or_by_score() {
        let constraints = Constraints { top_k: Some(2), ..Constraints::default() };
        let mut target = [0.4, 0.1, 0.3, 0.2];
        assert_eq!(rules(&apply(&constraints, &mut target, &[0.0; 4]).unwrap()), ["top_k", "bounds"]);
        assert_near(&target, &[0.55, 0.0, 0.45, 0.0]);
        let by_score = Constraints { top_by: TopBy::Score, ..constraints };
        let mut target = [0.4, 0.1, 0.3, 0.2];
        let scores = [0.0, 3.0, 1.0, 2.0];
        let context =
            ConstraintContext { members: &[true; 4], shown: &[true; 4], scores: Some(&scores), before: &[0.0; 4] };
        by_score.apply(&mut target, &context).unwrap();
        assert_near(&target, &[0.0, 0.45, 0.0, 0.55]);
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
        // The bound of the group reduces both of its assets to 0.15, so they are excluded.
        let mut target = [0.4, 0.3, 0.3];
        let changes = apply(&constraints, &mut target, &[0.0; 3]).unwrap();
        assert_near(&target, &[1.0, 0.0, 0.0]);
        assert_eq!(rules(&changes), ["bounds", "min_weight", "bounds"]);
    }

    #[test]
    fn the_excess_over_max_weight_is_spread_evenly() {
        let mut target = [0.6, 0.3, 0.1];
        let constraints = Constraints { max_weight: 0.5, ..Constraints::default() };
        apply(&constraints, &mut target, &[0.0; 3]).unwrap();
        assert_near(&target, &[0.5, 0.35, 0.15]);
    }

    #[test]
    fn the_projection_onto_group_bounds_is_the_nearest_portfolio() {
        // w1 + w2 = 0.5 is active, so w3 + w4 = 0.5, and each pair is shifted evenly.
        let groups = vec![Group { name: "tech".into(), assets: vec![0, 1], min: 0.0, max: 0.5 }];
        let constraints = Constraints { groups, ..Constraints::default() };
        let mut target = [0.5, 0.3, 0.15, 0.05];
        apply(&constraints, &mut target, &[0.0; 4]).unwrap();
        assert_near(&target, &[0.35, 0.15, 0.3, 0.2]);
        assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn short_positions_are_allowed_without_long_only() {
        let constraints = Constraints { long_only: false, max_weight: 0.8, ..Constraints::default() };
        let mut target = [0.9, 0.4, -0.3];
        apply(&constraints, &mut target, &[0.0; 3]).unwrap();
        assert_near(&target, &[0.8, 0.45, -0.25]);
    }

    #[test]
    fn min_weight_applies_to_the_weights_after_top_k() {
        let constraints = Constraints { min_weight: 0.1, top_k: Some(4), ..Constraints::default() };
        let mut target = [0.02; 50];
        let changes = apply(&constraints, &mut target, &[0.0; 50]).unwrap();
        assert_near(&target[..5], &[0.25, 0.25, 0.25, 0.25, 0.0]);
        assert_eq!(rules(&changes), ["top_k", "bounds"]);
        // One of the four is still too small.
        let mut target = [0.5, 0.3, 0.13, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01];
        let changes = apply(&constraints, &mut target, &[0.0; 9]).unwrap();
        assert_near(&target[..4], &[0.5 + 0.07 / 3.0, 0.3 + 0.07 / 3.0, 0.13 + 0.07 / 3.0, 0.0]);
        assert_eq!(rules(&changes), ["top_k", "bounds", "min_weight", "bounds"]);
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
            apply(
                &Constraints { top_k: Some(1), max_weight: 0.5, ..Constraints::default() },
                &mut [0.5, 0.5],
                &[0.0; 2]
            )
            .unwrap_err()
            .to_string()
            .contains("portfolio.top_k = 1 may exclude others")
        );
    }

    proptest! {
        #[test]
        fn a_projection_is_feasible_and_the_nearest_portfolio(
            start in proptest::collection::vec(-1.0..2.0_f64, 6..12), cap in 0.26..1.0_f64,
            other in proptest::collection::vec(0.0..1.0_f64, 12), grouped in any::<bool>(), share in 0.4..0.8_f64,
        ) {
            let assets = (0..start.len() / 2).collect();
            let group = Group { name: "half".into(), assets, min: share - 0.3, max: share };
            let groups = if grouped { vec![group] } else { Vec::new() };
            let constraints = Constraints { max_weight: cap, groups, ..Constraints::default() };
            let mut target = start.clone();
            let outcome = apply(&constraints, &mut target, &vec![0.0; start.len()]);
            prop_assume!(outcome.is_ok());
            prop_assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(constraints.violation(&target) < 1e-9);
            prop_assert!(target.iter().all(|weight| *weight >= 0.0));
            // The projection p of v onto a convex set satisfies (v − p)·(q − p) ≤ 0 for each q in it.
            let sum: f64 = other[..start.len()].iter().sum();
            let mix: Vec<f64> = other[..start.len()].iter().map(|value| value / sum).collect();
            prop_assume!(constraints.violation(&mix) == 0.0);
            let product: f64 =
                start.iter().zip(&target).zip(&mix).map(|((v, p), q)| (v - p) * (q - p)).sum();
            prop_assert!(product <= 1e-7, "{product}");
        }
    }
}
