//! Constraints on target weights, the same for every model: forced exits, limits on the assets held, bounds, a turnover
//! limit. Everything that changed is recorded, with the rule and the weight that it moved.

mod bounds;
mod feasibility;
mod groups;
mod program;
mod relax;
#[cfg(test)]
mod relax_tests;
#[cfg(test)]
mod tests;
mod turnover;

use crate::error::{Code, Error, Result, fail};
use crate::settings::choices;
use program::Program;

pub(crate) use feasibility::Feasibility;
pub(super) use groups::{DatedGroup, Group};

/// The tolerance for the sum of weights and for their bounds, within which a target is left alone.
pub(super) const TOLERANCE: f64 = 1e-12;
/// The same tolerance for the result of the solver.
const SOLVER_TOLERANCE: f64 = 1e-9;

choices! {
    /// How assets are ranked for `top_k`.
    pub enum TopBy {
        /// By the absolute weights of the model.
        Weight = "weight",
        /// By the scores of the model.
        Score = "score",
    }
}

choices! {
    /// What takes the weight that bounds cut off.
    pub enum Excess {
        /// The assets that the model holds, in proportion to their weights.
        Held = "held",
        /// All assets, so that the portfolio is the nearest one.
        Nearest = "nearest",
    }
}

choices! {
    /// What becomes of a decision at which no portfolio satisfies the constraints.
    pub enum Infeasible {
        /// The run is refused before it begins; what depends on the choice of a model ends that model.
        Error = "error",
        /// The constraints of that decision are relaxed one after the other until there is one.
        Relax = "relax",
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
    /// Bounds on sums of weights of assets that change from row to row.
    pub dated_groups: Vec<DatedGroup>,
    /// The sum of the weights; what is left is cash.
    pub budget: f64,
    /// Largest sum of absolute weights; `None` for no limit.
    pub max_gross: Option<f64>,
    /// What takes the weight that bounds cut off.
    pub excess: Excess,
    /// What becomes of a decision at which no portfolio satisfies the constraints.
    pub infeasible: Infeasible,
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
            dated_groups: Vec::new(),
            budget: 1.0,
            max_gross: None,
            excess: Excess::Held,
            infeasible: Infeasible::Error,
        }
    }
}

impl Constraints {
    /// No limit but membership, for a benchmark.
    pub fn none() -> Self {
        Self { long_only: false, max_weight: f64::INFINITY, ..Self::default() }
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
    /// `membership`, `top_k`, `min_weight`, `bounds`, `spread`, `turnover`, `drift`, `turnover_beyond`, or `relaxed_` and
    /// what was relaxed, as no portfolio satisfied all constraints: `min_weight`, `top_k`, `group_min`, `group_max` or
    /// `max_weight`. `spread` is `bounds` where the assets that the model holds could not take what is cut off. `drift` means that the turnover
    /// limit, or a missing price, keeps weights that another rule forbids: beyond a bound, outside the `top_k`, below
    /// `min_weight`, or of assets that the model did not see.
    pub rule: &'static str,
    /// Σ|after − before|; for `membership` the weight sold, for `drift` the forbidden weight, for what was relaxed the
    /// weight beyond what it allows, which may be 0.
    pub moved: f64,
}

impl Constraints {
    /// Applies the constraints to `target`, `[assets]`, in this order:
    ///
    /// 1. non-members are sold;
    /// 2. assets outside the `top_k`, or below `min_weight`, are closed: their weight is 0;
    /// 3. a target v that breaks the budget, a bound, a group or the gross exposure becomes the w that minimises
    ///    Σ(w − v)²/|v| over what v holds ([`Excess::Held`]), or, where there is none or with [`Excess::Nearest`],
    ///    Σ(w − v)² over all open assets. The smallest weight that ends below `min_weight` is closed, and this is done
    ///    once more;
    /// 4. the step from the held weights to the target is shortened to keep `max_turnover`.
    ///
    /// A target that satisfies the constraints stays bit for bit as it is. Groups that change from row to row must have
    /// been resolved, see [`Constraints::at`].
    ///
    /// # Errors
    /// `Infeasible` with the constraints and their values if no portfolio satisfies them and they are not to be relaxed,
    /// or if there is no asset to hold; `InvalidSetting` if `top_by` needs scores and the model has none.
    pub fn apply(&self, target: &mut [f64], context: &ConstraintContext) -> Result<Vec<ConstraintChange>> {
        match self.infeasible {
            Infeasible::Error => self.apply_strictly(target, context),
            Infeasible::Relax => self.apply_relaxed(target, context),
        }
    }

    /// Applies the constraints as they are.
    fn apply_strictly(&self, target: &mut [f64], context: &ConstraintContext) -> Result<Vec<ConstraintChange>> {
        let mut changes = Vec::new();
        Self::sell_non_members(target, context, &mut changes);
        let mut open: Vec<bool> =
            context.members.iter().zip(context.shown).map(|(member, shown)| *member && *shown).collect();
        self.keep_top(target, context, &mut open, &mut changes)?;
        self.close_small(target, &mut open, &mut changes);
        self.settle(target, &mut open, &mut changes)?;
        if let Some(limit) = self.max_turnover {
            turnover::limit(limit, target, context, &mut changes);
            let forbidden = self.violation(target) + self.closed_weight(target, &open);
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
        open: &mut [bool],
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
        let mut order: Vec<usize> = (0..target.len()).filter(|&asset| open[asset]).collect();
        // The sort is stable, so ties stay in the order of names.
        order.sort_by(|&one, &two| rank[two].total_cmp(&rank[one]));
        let rest = order.split_off(top.min(order.len()));
        close("top_k", &rest, target, open, changes);
        Ok(())
    }

    /// Closes weights below `min_weight`. Where `top_k` closed some, weights that were spread over many assets grow with
    /// the rest, so they are judged as they are scaled to the budget.
    fn close_small(&self, target: &mut [f64], open: &mut [bool], changes: &mut Vec<ConstraintChange>) {
        if self.min_weight == 0.0 {
            return;
        }
        let sum: f64 = target.iter().sum();
        let was_cut = changes.last().is_some_and(|change| change.rule == "top_k");
        let scale = if was_cut && sum.abs() > TOLERANCE { (self.budget / sum).abs() } else { 1.0 };
        let is_small = |asset: &usize| open[*asset] && self.is_small(target[*asset] * scale);
        let small: Vec<usize> = (0..target.len()).filter(is_small).collect();
        close("min_weight", &small, target, open, changes);
    }

    /// Brings the target within budget, bounds, groups and gross exposure.
    fn settle(&self, target: &mut [f64], open: &mut [bool], changes: &mut Vec<ConstraintChange>) -> Result<()> {
        loop {
            let (settled, rule) = self.settled(target, open)?;
            let is_small = |asset: &usize| settled[*asset] != 0.0 && self.is_small(settled[*asset]);
            let size = |asset: &usize| settled[*asset].abs();
            // Of equal ones the first by name.
            let smallest = (0..settled.len()).filter(is_small).min_by(|one, two| size(one).total_cmp(&size(two)));
            if let Some(asset) = smallest {
                close("min_weight", &[asset], target, open, changes);
                continue;
            }
            let moved: f64 = settled.iter().zip(&*target).map(|(after, before)| (after - before).abs()).sum();
            if let Some(rule) = rule.filter(|_| moved > 0.0) {
                changes.push(ConstraintChange { rule, moved });
            }
            target.copy_from_slice(&settled);
            return Ok(());
        }
    }

    /// The portfolio for a target, and the rule that changed it.
    fn settled(&self, target: &[f64], open: &[bool]) -> Result<(Vec<f64>, Option<&'static str>)> {
        let sum: f64 = target.iter().sum();
        if (sum - self.budget).abs() <= SOLVER_TOLERANCE && self.violation(target) <= TOLERANCE {
            return Ok((target.to_vec(), None));
        }
        if self.excess == Excess::Held
            && let Some(held) = self.held(target)?
        {
            return Ok((held, Some("bounds")));
        }
        let rule = if self.excess == Excess::Held { "spread" } else { "bounds" };
        self.check_feasible(open)?;
        let needs_program = !self.groups.is_empty() || (self.max_gross.is_some() && !self.long_only);
        if needs_program {
            return match Program::nearest(self, target, open).solve()? {
                Some(nearest) => Ok((nearest, Some(rule))),
                None => Err(self.infeasible(open)),
            };
        }
        let mut out = target.to_vec();
        bounds::nearest(&mut out, open, (self.lower_bound(), self.max_weight), self.budget);
        Ok((out, Some(rule)))
    }

    /// The portfolio of what the target holds; `None` if there is none.
    fn held(&self, target: &[f64]) -> Result<Option<Vec<f64>>> {
        // A long-only target cannot be made of weights below 0.
        let positive: Vec<f64> = target.iter().map(|weight| weight.max(0.0)).collect();
        let values = if self.long_only { &positive } else { target };
        if !self.groups.is_empty() {
            return Program::held(self, values).solve();
        }
        Ok(match self.max_gross {
            Some(gross) => bounds::held_within_gross(values, self.max_weight, self.budget, gross),
            None => bounds::held(values, self.max_weight, self.budget),
        })
    }

    /// The error where no portfolio satisfies groups and bounds.
    fn infeasible(&self, open: &[bool]) -> Error {
        let count = open.iter().filter(|open| **open).count();
        let mut limits = vec![format!("portfolio.max_weight = {}", self.max_weight)];
        limits.extend(self.max_gross.map(|gross| format!("portfolio.max_gross = {gross}")));
        limits.extend(self.groups.iter().map(Group::bounds));
        Error::new(
            Code::Infeasible,
            format!(
                "no portfolio of {count} assets with the sum {} satisfies all of {}{}",
                self.budget,
                limits.join(", "),
                self.excluded_by()
            ),
        )
    }

    /// By how much a target violates bounds, groups and gross exposure, summed. The sum of all weights is not checked.
    fn violation(&self, target: &[f64]) -> f64 {
        let assets: f64 = target.iter().map(|&weight| distance(weight, self.lower_bound(), self.max_weight)).sum();
        let sum = |group: &Group| group.assets.iter().map(|&asset| target[asset]).sum::<f64>();
        let gross = target.iter().map(|weight| weight.abs()).sum::<f64>() - self.max_gross.unwrap_or(f64::INFINITY);
        assets
            + gross.max(0.0)
            + self.groups.iter().map(|group| distance(sum(group), group.min, group.max)).sum::<f64>()
    }

    /// By how much weights that were held before stand beyond the bounds, the groups and the number of assets: a trade
    /// without a price is not done.
    pub(super) fn beyond(&self, weights: &[f64]) -> f64 {
        self.violation(weights) + self.beyond_top(weights)
    }

    /// The weight of the smallest holdings that are more than `top_k`.
    fn beyond_top(&self, weights: &[f64]) -> f64 {
        let mut sizes: Vec<f64> = weights.iter().map(|weight| weight.abs()).filter(|size| *size > 0.0).collect();
        let too_many = sizes.len().saturating_sub(self.top_k.unwrap_or(sizes.len()));
        sizes.sort_by(f64::total_cmp);
        sizes[..too_many].iter().sum()
    }

    /// The weight of assets that are closed or whose weight is below `min_weight`.
    fn closed_weight(&self, target: &[f64], open: &[bool]) -> f64 {
        let closed = target.iter().zip(open).filter(|(weight, open)| !**open || self.is_small(**weight));
        closed.map(|(weight, _)| weight.abs()).sum()
    }

    fn is_small(&self, weight: f64) -> bool {
        weight.abs() < self.min_weight - TOLERANCE
    }

    /// The lower bound on the weight of an asset.
    fn lower_bound(&self) -> f64 {
        if self.long_only { 0.0 } else { -self.max_weight }
    }

    /// Checks what needs no solver: whether the open assets can reach the sums.
    fn check_feasible(&self, open: &[bool]) -> Result<()> {
        let count = open.iter().filter(|open| **open).count();
        if count as f64 * self.max_weight < self.budget.abs() - TOLERANCE {
            fail!(
                Infeasible,
                "{count} assets of at most portfolio.max_weight = {} each cannot add up to {}{}",
                self.max_weight,
                self.budget,
                self.excluded_by()
            );
        }
        for group in &self.groups {
            let inside = group.assets.iter().filter(|&&asset| open[asset]).count() as f64;
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

/// Closes assets: their weight is 0.
fn close(
    rule: &'static str,
    closed: &[usize],
    target: &mut [f64],
    open: &mut [bool],
    changes: &mut Vec<ConstraintChange>,
) {
    let mut moved = 0.0;
    for &asset in closed {
        moved += target[asset].abs();
        target[asset] = 0.0;
        open[asset] = false;
    }
    if moved > 0.0 {
        changes.push(ConstraintChange { rule, moved });
    }
}
