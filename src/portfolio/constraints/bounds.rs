//! The Euclidean projection onto {Σw = 1, low ≤ w ≤ high}, exactly.

/// w = clamp(v − λ, low, high): Σw falls with λ and bends where a weight meets a bound, so λ is found exactly between
/// two neighbouring bends. Only `open` assets move; feasibility is the caller's care.
pub(super) fn project(target: &mut [f64], open: &[bool], low: f64, high: f64) {
    let values: Vec<f64> = target.iter().zip(open).filter(|(_, open)| **open).map(|(value, _)| *value).collect();
    let total = |shift: f64| values.iter().map(|value| (value - shift).clamp(low, high)).sum::<f64>();
    let mut bends: Vec<f64> = values.iter().flat_map(|value| [value - low, value - high]).collect();
    bends.sort_by(f64::total_cmp);
    if bends.is_empty() {
        return;
    }
    // The last bend at which the sum is still at least 1; feasibility makes it the first one at worst.
    let at = bends.partition_point(|bend| total(*bend) >= 1.0).saturating_sub(1);
    let (below, above) = (bends[at], bends.get(at + 1).copied().unwrap_or(bends[at]));
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
    for (weight, _) in target.iter_mut().zip(open).filter(|(_, open)| **open) {
        *weight = (*weight - shift).clamp(low, high);
    }
}
