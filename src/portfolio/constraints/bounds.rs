//! The exact Euclidean projection onto {Σw = 1, low ≤ w ≤ high}.

/// Projects the eligible assets. The projection is w = clamp(v − λ, low, high). Σw is piecewise linear and decreasing
/// in λ, with a breakpoint where a weight meets a bound, so λ is exact between two neighbouring breakpoints. A
/// portfolio within the bounds must exist.
pub(super) fn project(target: &mut [f64], eligible: &[bool], low: f64, high: f64) {
    let values: Vec<f64> =
        target.iter().zip(eligible).filter(|(_, eligible)| **eligible).map(|(value, _)| *value).collect();
    let total = |shift: f64| values.iter().map(|value| (value - shift).clamp(low, high)).sum::<f64>();
    let mut breakpoints: Vec<f64> = values.iter().flat_map(|value| [value - low, value - high]).collect();
    breakpoints.sort_by(f64::total_cmp);
    if breakpoints.is_empty() {
        return;
    }
    // The last breakpoint at which the sum is at least 1. At the first one every weight is `high`, so only rounding can
    // make its sum smaller.
    let index = breakpoints.partition_point(|shift| total(*shift) >= 1.0).saturating_sub(1);
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
    let shift = if free > 0.0 { (sum - 1.0) / free } else { below };
    for (weight, _) in target.iter_mut().zip(eligible).filter(|(_, eligible)| **eligible) {
        *weight = (*weight - shift).clamp(low, high);
    }
}
