//! Portfolios with a given sum within bounds of single assets, exactly: Σw is piecewise linear in one multiplier.

/// Replaces the open ones of `target` by the nearest weights, minimising Σ(w − v)² over Σw = `budget` and low ≤ w ≤ high.
/// That is w = clamp(v − λ, low, high). Σw decreases in λ, with a breakpoint where a weight meets a bound, so λ is exact
/// between two neighbouring breakpoints. A portfolio within the bounds must exist.
pub(super) fn nearest(target: &mut [f64], open: &[bool], (low, high): (f64, f64), budget: f64) {
    let values: Vec<f64> = target.iter().zip(open).filter(|(_, open)| **open).map(|(value, _)| *value).collect();
    let total = |shift: f64| values.iter().map(|value| (value - shift).clamp(low, high)).sum::<f64>();
    let mut breakpoints: Vec<f64> = values.iter().flat_map(|value| [value - low, value - high]).collect();
    breakpoints.sort_by(f64::total_cmp);
    if breakpoints.is_empty() {
        return;
    }
    // The last breakpoint at which the sum is at least the budget. At the first one every weight is `high`, so only
    // rounding can make its sum smaller.
    let index = breakpoints.partition_point(|shift| total(*shift) >= budget).saturating_sub(1);
    let (below, above) = (breakpoints[index], breakpoints.get(index + 1).copied().unwrap_or(breakpoints[index]));
    let middle = f64::midpoint(below, above);
    let (mut free, mut sum) = (0.0, 0.0);
    for value in &values {
        let shifted = value - middle;
        if shifted >= high {
            sum += high;
        } else if shifted > low {
            free += 1.0;
            sum += value;
        } else {
            sum += low;
        }
    }
    let shift = if free > 0.0 { (sum - budget) / free } else { below };
    for (weight, _) in target.iter_mut().zip(open).filter(|(_, open)| **open) {
        *weight = (*weight - shift).clamp(low, high);
    }
}

/// The weights that take what is cut off from what is held: they minimise Σ(w − v)²/|v| over Σw = `budget` and |w| ≤
/// `high`, with w = 0 where v = 0 and no weight of another sign than v. That is w = v (1 ± λ), cut at 0 and `high`: in a
/// long-only portfolio all weights grow by one factor. `None` if there are no such weights.
pub(super) fn held(values: &[f64], high: f64, budget: f64) -> Option<Vec<f64>> {
    const ROUNDING: f64 = 1e-12;
    let longs = values.iter().filter(|value| **value > 0.0).count() as f64;
    let shorts = values.iter().filter(|value| **value < 0.0).count() as f64;
    if budget > longs * high + ROUNDING || budget < -shorts * high - ROUNDING {
        return None;
    }
    let sized =
        |value: f64, shift: f64| (value.abs() * (1.0 + shift * value.signum())).clamp(0.0, high) * value.signum();
    let total = |shift: f64| values.iter().map(|value| sized(*value, shift)).sum::<f64>();
    let mut breakpoints: Vec<f64> = values
        .iter()
        .filter(|value| **value != 0.0)
        .flat_map(|value| [-value.signum(), (high / value.abs() - 1.0) * value.signum()])
        .collect();
    breakpoints.sort_by(f64::total_cmp);
    let (Some(&first), Some(&last)) = (breakpoints.first(), breakpoints.last()) else {
        return (budget.abs() <= ROUNDING).then(|| values.to_vec());
    };
    // The sum grows with the multiplier: the first breakpoint at which it is at least the budget, and the one before.
    let index = breakpoints.partition_point(|shift| total(*shift) < budget);
    let above = breakpoints.get(index).copied().unwrap_or(last);
    let below = if index == 0 { first } else { breakpoints[index - 1] };
    let middle = f64::midpoint(below, above);
    let (mut fixed, mut sum, mut size) = (0.0, 0.0, 0.0);
    for value in values.iter().filter(|value| **value != 0.0) {
        let now = value.abs() * (1.0 + middle * value.signum());
        if now > 0.0 && now < high {
            sum += value;
            size += value.abs();
        } else {
            fixed += sized(*value, middle);
        }
    }
    let shift = if size > 0.0 { (budget - fixed - sum) / size } else { middle };
    Some(values.iter().map(|value| if *value == 0.0 { 0.0 } else { sized(*value, shift) }).collect())
}

/// As [`held`], with Σ|w| ≤ `gross`, which is at least |budget|. Where that is met, long and short positions have sums of
/// their own.
pub(super) fn held_within_gross(values: &[f64], high: f64, budget: f64, gross: f64) -> Option<Vec<f64>> {
    let out = held(values, high, budget)?;
    if out.iter().map(|weight| weight.abs()).sum::<f64>() <= gross {
        return Some(out);
    }
    let side = |sign: f64| values.iter().map(|value| (value * sign).max(0.0)).collect::<Vec<f64>>();
    let long = held(&side(1.0), high, f64::midpoint(gross, budget))?;
    let short = held(&side(-1.0), high, f64::midpoint(gross, -budget))?;
    Some(long.iter().zip(short).map(|(long, short)| long - short).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{held, held_within_gross, nearest};

    #[track_caller]
    fn assert_near(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(one, two)| (one - two).abs() < 1e-15), "{found:?} {expected:?}");
    }

    #[test]
    fn what_is_cut_off_goes_to_what_is_held() {
        assert_near(&held(&[0.5, 0.3, 0.2, 0.0], 0.4, 1.0).unwrap(), &[0.4, 0.36, 0.24, 0.0]);
        assert_near(&held(&[0.9, 0.08, 0.02], 0.4, 1.0).unwrap(), &[0.4, 0.4, 0.2]);
        assert_near(&held(&[0.5, 0.25, 0.25], 1.0, 0.6).unwrap(), &[0.3, 0.15, 0.15]);
        // Longs grow as shorts shrink: 0.6 (1 + λ) + 0.2 (1 + λ) - 0.4 (1 - λ) = 1 has λ = 0.5.
        assert_near(&held(&[0.6, 0.2, -0.4], 1.0, 1.0).unwrap(), &[0.9, 0.3, -0.2]);
        assert_near(&held(&[0.6, 0.2, -0.4], 0.7, 1.0).unwrap(), &[0.7, 0.2 + 0.2 * 5.0 / 6.0, -0.4 / 6.0]);
        assert_eq!(held(&[0.5, 0.5, 0.0], 0.4, 1.0), None);
        assert_eq!(held(&[0.0, 0.0], 1.0, 1.0), None);
        assert_near(&held(&[0.2, 0.2], 0.5, 1.0).unwrap(), &[0.5, 0.5]);
        assert_near(&held(&[0.5, -0.5], 1.0, 0.0).unwrap(), &[0.5, -0.5]);
    }

    #[test]
    fn a_limit_of_gross_exposure_sizes_both_sides() {
        // 1.3 long and 0.3 short is 1.6 in all; of 1.4, 1.2 are long and 0.2 short.
        let found = held_within_gross(&[1.0, 0.3, -0.3], 2.0, 1.0, 1.4).unwrap();
        assert_near(&found, &[12.0 / 13.0, 3.6 / 13.0, -0.2]);
        assert_near(&held_within_gross(&[1.0, 0.3, -0.3], 2.0, 1.0, 1.7).unwrap(), &[1.0, 0.3, -0.3]);
        assert_near(&held_within_gross(&[1.0, 0.3, -0.3], 2.0, 1.0, 1.0).unwrap(), &[10.0 / 13.0, 3.0 / 13.0, 0.0]);
    }

    /// Σ(w − v)²/|v| over what is held.
    fn distance(weights: &[f64], values: &[f64]) -> f64 {
        weights.iter().zip(values).filter(|(_, v)| **v != 0.0).map(|(w, v)| (w - v).powi(2) / v.abs()).sum()
    }

    proptest! {
        #[test]
        fn no_other_portfolio_of_what_is_held_is_nearer(
            values in proptest::collection::vec(-1.0..1.0_f64, 2..9), high in 0.3..1.0_f64, budget in -0.3..1.0_f64,
            moves in proptest::collection::vec((0..9_usize, 0..9_usize, 0.0..0.2_f64), 40), room in 0.0..1.0_f64,
        ) {
            let gross = budget.abs() + room;
            let Some(found) = held_within_gross(&values, high, budget, gross) else { return Ok(()) };
            let sum = |weights: &[f64]| weights.iter().sum::<f64>();
            let size = |weights: &[f64]| weights.iter().map(|weight| weight.abs()).sum::<f64>();
            prop_assert!((sum(&found) - budget).abs() < 1e-12 && size(&found) < gross + 1e-12);
            let allowed = |w: f64, v: f64| w * v >= 0.0 && w.abs() <= high + 1e-12;
            prop_assert!(found.iter().zip(&values).all(|(w, v)| allowed(*w, *v)));
            // Weight moved from one asset to another, where both stay allowed.
            for (from, to, weight) in moves {
                let (from, to) = (from % values.len(), to % values.len());
                let mut other = found.clone();
                other[from] -= weight;
                other[to] += weight;
                if allowed(other[from], values[from]) && allowed(other[to], values[to]) && size(&other) <= gross {
                    prop_assert!(distance(&other, &values) > distance(&found, &values) - 1e-9);
                }
            }
        }

        #[test]
        fn the_nearest_weights_have_the_sum_of_the_budget(
            values in proptest::collection::vec(-1.0..2.0_f64, 4..9), budget in 0.2..1.5_f64,
        ) {
            let (mut target, open) = (values.clone(), vec![true; values.len()]);
            nearest(&mut target, &open, (-0.4, 0.4), budget);
            prop_assert!((target.iter().sum::<f64>() - budget).abs() < 1e-12);
        }
    }
}
