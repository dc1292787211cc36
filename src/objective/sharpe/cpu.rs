//! The Sharpe loss on the CPU. It is not a mean over samples, so loss and gradient are computed for the whole batch at
//! once, whatever the micro-batches of the network.

use crate::objective::{BatchOutput, Chain, LossWorkspace};

/// Added to the standard deviation, so that the loss of equal returns is finite.
const EPSILON: f64 = 1e-6;

/// The Sharpe loss −mean/(std + ε) of a batch's returns (ddof 1, ε 10⁻⁶), and its gradient with respect to each return.
///
/// # Panics
/// With fewer than two returns, which is a bug in the caller.
pub fn sharpe(returns: &[f64]) -> (f64, Vec<f64>) {
    assert!(returns.len() > 1, "a standard deviation needs two returns");
    let count = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / count;
    let deviation = (returns.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let denominator = deviation + EPSILON;
    let gradient = |value: f64| {
        // The deviation is not differentiable at 0; its gradient is taken to be 0 there.
        let of_deviation = if deviation > 0.0 { (value - mean) / ((count - 1.0) * deviation) } else { 0.0 };
        (mean * of_deviation / denominator - 1.0 / count) / denominator
    };
    (-mean / denominator, returns.iter().map(|value| gradient(*value)).collect())
}

/// The Sharpe loss of weights. Writes its gradient with respect to the weights to `output_grad`. A non-finite label
/// counts as a return of 0. With turnover, the cost times Σ|Δw| between consecutive dates is subtracted from the
/// returns.
pub(in crate::objective) fn loss(batch: &BatchOutput, workspace: &mut LossWorkspace, output_grad: &mut [f32]) -> f64 {
    let BatchOutput { output: weights, labels, layout: (dates, assets), turnover } = *batch;
    let earned = |label: f32| if label.is_finite() { f64::from(label) } else { 0.0 };
    let rows = weights.len() / assets;
    let LossWorkspace { returns, turnover_grad } = workspace;
    let pairs = weights.chunks_exact(assets).zip(labels.chunks_exact(assets));
    for (value, (weights, labels)) in returns.iter_mut().zip(pairs) {
        *value = weights.iter().zip(labels).map(|(weight, label)| f64::from(*weight) * earned(*label)).sum();
    }
    if let Some((cost, chain)) = turnover {
        trades(weights, (dates, assets), chain, turnover_grad, |row, traded| returns[row] -= cost * traded);
    }
    let (loss, gradient) = sharpe(&returns[..rows]);
    let pairs = output_grad.chunks_exact_mut(assets).zip(labels.chunks_exact(assets));
    for (row, (output_grad, labels)) in pairs.enumerate() {
        for (slot, (output_grad, label)) in output_grad.iter_mut().zip(labels).enumerate() {
            let mut sum = gradient[row] * earned(*label);
            if let Some((cost, _)) = turnover {
                let index = 2 * (row * assets + slot);
                let next = gradient.get(row + 1).copied().unwrap_or(0.0);
                sum -= cost * gradient[row] * f64::from(turnover_grad[index]);
                sum -= cost * next * f64::from(turnover_grad[index + 1]);
            }
            *output_grad = sum as f32;
        }
    }
    loss
}

/// Calls `charge` with each row that is one date after the row before it, and with Σ|Δw| between the two. Writes the
/// derivatives to `gradient`, laid out as the workspace's `turnover_grad`.
fn trades(
    weights: &[f32],
    (dates, assets): (usize, usize),
    chain: Chain,
    gradient: &mut [f32],
    mut charge: impl FnMut(usize, f64),
) {
    gradient.fill(0.0);
    let slot_of = |sample: usize, column: i32| chain.slots[sample].iter().position(|slot| *slot == column);
    for row in 1..weights.len() / assets {
        let (sample, before) = (row / dates, (row - 1) / dates);
        if sample != before && (dates > 1 || !chain.consecutive[sample]) {
            continue;
        }
        let mut traded = 0.0;
        // One asset's trade, from its slot in the row before to its slot in this row; without a slot its weight is 0.
        let mut trade = |now: Option<usize>, then: Option<usize>| {
            let weight = |row: usize, slot: Option<usize>| slot.map_or(0.0, |slot| weights[row * assets + slot]);
            let change = weight(row, now) - weight(row - 1, then);
            traded += f64::from(change.abs());
            let sign = if change == 0.0 { 0.0 } else { change.signum() };
            if let Some(now) = now {
                gradient[2 * (row * assets + now)] = sign;
            }
            if let Some(then) = then {
                gradient[2 * ((row - 1) * assets + then) + 1] = -sign;
            }
        };
        for (now, &column) in chain.slots[sample].iter().enumerate().filter(|(_, column)| **column >= 0) {
            // Most assets keep their slot, which saves the search.
            let same = chain.slots[before].get(now) == Some(&column);
            trade(Some(now), if same { Some(now) } else { slot_of(before, column) });
        }
        for (then, &column) in chain.slots[before].iter().enumerate().filter(|(_, column)| **column >= 0) {
            if chain.slots[sample].get(then) != Some(&column) && slot_of(sample, column).is_none() {
                trade(None, Some(then));
            }
        }
        charge(row, traded);
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchOutput, Chain, LossWorkspace, sharpe};
    use crate::objective::Objective;

    #[test]
    fn the_sharpe_loss_matches_its_formula_and_its_gradient_central_differences() {
        let mut returns = vec![0.01, -0.02, 0.03, 0.005];
        let (loss, gradient) = sharpe(&returns);
        // Mean 0.00625; squares about it add up to 1.26875e-3, so the deviation is √(1.26875e-3/3).
        assert!((loss + 0.00625 / ((1.268_75e-3_f64 / 3.0).sqrt() + 1e-6)).abs() < 1e-12, "{loss}");
        for index in 0..4 {
            let middle = returns[index];
            returns[index] = middle + 1e-7;
            let above = sharpe(&returns).0;
            returns[index] = middle - 1e-7;
            let below = sharpe(&returns).0;
            returns[index] = middle;
            assert!((gradient[index] - (above - below) / 2e-7).abs() < 1e-4 * gradient[index].abs());
        }
    }

    #[test]
    fn the_mean_loss_of_micro_batches_is_not_the_loss_of_the_batch() {
        // The two halves have different volatilities.
        let returns = [0.01, 0.011, 0.009, 0.0105, -0.05, 0.05, 0.03, -0.02];
        let parts = f64::midpoint(sharpe(&returns[..4]).0, sharpe(&returns[4..]).0);
        assert!((parts - sharpe(&returns).0).abs() > 0.01);
    }

    #[test]
    fn equal_returns_have_a_finite_loss_and_gradient() {
        let (loss, gradient) = sharpe(&[0.01; 5]);
        assert!((loss + 0.01 / 1e-6).abs() < 1e-3);
        assert!(gradient.iter().all(|value| value.is_finite() && *value < 0.0));
    }

    /// Three dates whose assets are in different slots.
    fn loss_with_turnover(weights: &[f32], consecutive: &[bool]) -> (f64, Vec<f32>) {
        let labels = [0.01, -0.02, 0.005, 0.0, 0.03, 0.01, -0.01, f32::NAN, 0.02];
        let slots: [&[i32]; 3] = [&[0, 1, -1], &[1, 2, 0], &[0, 1, 2]];
        let (mut workspace, mut output_grad) = (LossWorkspace::new(Objective::Sharpe, 3, 3, true), vec![0.0; 9]);
        let turnover = Some((0.002, Chain { slots: &slots, consecutive }));
        let batch = BatchOutput { output: weights, labels: &labels, layout: (1, 3), turnover };
        let loss = super::loss(&batch, &mut workspace, &mut output_grad);
        (loss, output_grad)
    }

    #[test]
    fn turnover_between_consecutive_dates_is_charged_by_asset() {
        let weights = [0.5_f32, 0.5, 0.0, 0.2, 0.5, 0.3, 0.1, 0.6, 0.3];
        // Asset 0 from 0.5 to 0.3, asset 1 from 0.5 to 0.2, asset 2 from 0 to 0.5: a turnover of 1.
        let returns = [0.005 - 0.01, 0.015 + 0.003 - 0.002, -0.001 + 0.006];
        let (loss, output_grad) = loss_with_turnover(&weights, &[false, true, false]);
        assert!((loss - sharpe(&returns).0).abs() < 1e-6, "{loss}");
        for index in 0..9 {
            const STEP: f32 = 1e-3;
            let shifted = |shift: f32| {
                let mut weights = weights;
                weights[index] += shift;
                loss_with_turnover(&weights, &[false, true, false]).0
            };
            // The weight of an empty slot earns its label and is not traded.
            let slope = (shifted(STEP) - shifted(-STEP)) / f64::from(2.0 * STEP);
            assert!((f64::from(output_grad[index]) - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{index}: {slope}");
        }
        assert!(loss_with_turnover(&weights, &[false, false, false]).0 < loss);
    }
}
