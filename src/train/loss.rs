//! Training losses over a whole batch. The Sharpe ratio is not a mean over samples, so loss and gradient are computed
//! for the whole batch at once, whatever the micro-batches of the network.

use crate::network::{AssetSlots, Head};
use crate::settings::choices;

choices! {
    /// The loss that training minimises.
    pub enum Loss {
        /// −mean/(std + ε) of the batch's portfolio returns.
        Sharpe = "sharpe",
        /// The mean squared difference between scores and standardised returns.
        MeanSquare = "mse",
    }
}

impl Loss {
    /// The head whose output the loss takes.
    pub fn head(self) -> Head {
        match self {
            Self::Sharpe => Head::Weights,
            Self::MeanSquare => Head::Scores,
        }
    }
}

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

/// The mean of (`values` − `labels`)² over the finite labels. Writes the gradient with respect to each value to
/// `output_grad`, 0 where the label is non-finite.
pub(crate) fn mean_square(values: &[f32], labels: &[f32], output_grad: &mut [f32]) -> f64 {
    let count = labels.iter().filter(|label| label.is_finite()).count().max(1) as f64;
    let mut loss = 0.0;
    for ((output_grad, value), label) in output_grad.iter_mut().zip(values).zip(labels) {
        *output_grad = 0.0;
        if label.is_finite() {
            let difference = f64::from(*value) - f64::from(*label);
            loss += difference * difference / count;
            *output_grad = (2.0 * difference / count) as f32;
        }
    }
    loss
}

/// For turnover costs: which weights of a batch belong to consecutive dates, and to which asset each weight belongs.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// The asset slots of each sample.
    pub slots: &'a [AssetSlots],
    /// For each sample, whether its date comes directly after that of the sample before it.
    pub consecutive: &'a [bool],
}

/// The workspace of the Sharpe loss of a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossWorkspace {
    /// Portfolio returns, `[rows]`; a row is one date of one sample.
    returns: Vec<f64>,
    /// `[rows, assets, 2]`: the derivative with respect to each weight of the turnover into its row, and of the
    /// turnover from its row to the next. Empty where trading costs nothing.
    turnover_grad: Vec<f32>,
}

impl LossWorkspace {
    /// A workspace for weights `[rows, assets]`; `turnover` is whether trading costs.
    pub(crate) fn new(rows: usize, assets: usize, turnover: bool) -> Self {
        let weights = if turnover { 2 * rows * assets } else { 0 };
        Self { returns: vec![0.0; rows], turnover_grad: vec![0.0; weights] }
    }

    /// The bytes that [`LossWorkspace::new`] allocates.
    pub(crate) fn planned_bytes(rows: usize, assets: usize, turnover: bool) -> usize {
        rows * size_of::<f64>() + if turnover { 2 * rows * assets * size_of::<f32>() } else { 0 }
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.returns.as_slice()) + size_of_val(self.turnover_grad.as_slice())
    }
}

/// The Sharpe loss of weights `[samples, dates, assets]` with labels of the same shape. Writes its gradient with
/// respect to the weights to `output_grad`. A non-finite label counts as a return of 0. With `turnover`, the cost times
/// Σ|Δw| between consecutive dates is subtracted from the returns.
pub(crate) fn portfolio_sharpe(
    weights: &[f32],
    labels: &[f32],
    (dates, assets): (usize, usize),
    turnover: Option<(f64, Chain)>,
    workspace: &mut LossWorkspace,
    output_grad: &mut [f32],
) -> f64 {
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
/// derivatives to `gradient`, laid out as [`LossWorkspace::turnover_grad`].
fn trades(
    weights: &[f32],
    (dates, assets): (usize, usize),
    chain: Chain,
    gradient: &mut [f32],
    mut charge: impl FnMut(usize, f64),
) {
    gradient.fill(0.0);
    let slot_of = |sample: usize, column: usize| chain.slots[sample].iter().position(|slot| *slot == Some(column));
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
        for (now, column) in chain.slots[sample].iter().enumerate() {
            if let Some(column) = column {
                // Most assets keep their slot, which saves the search.
                let same = chain.slots[before].get(now) == Some(&Some(*column));
                trade(Some(now), if same { Some(now) } else { slot_of(before, *column) });
            }
        }
        for (then, column) in chain.slots[before].iter().enumerate() {
            if let Some(column) = column
                && chain.slots[sample].get(then) != Some(&Some(*column))
                && slot_of(sample, *column).is_none()
            {
                trade(None, Some(then));
            }
        }
        charge(row, traded);
    }
}

#[cfg(test)]
mod tests {
    use super::{Chain, LossWorkspace, mean_square, portfolio_sharpe, sharpe};

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

    #[test]
    fn the_mean_square_ignores_missing_labels() {
        let mut gradient = [7.0; 3];
        let loss = mean_square(&[1.0, 2.0, 3.0], &[0.0, f32::NAN, 5.0], &mut gradient);
        assert_eq!((loss, gradient), (2.5, [1.0, 0.0, -2.0]));
    }

    /// Three dates whose assets are in different slots.
    fn loss_with_turnover(weights: &[f32], consecutive: &[bool]) -> (f64, Vec<f32>) {
        let labels = [0.01, -0.02, 0.005, 0.0, 0.03, 0.01, -0.01, f32::NAN, 0.02];
        let slots = [vec![Some(0), Some(1), None], vec![Some(1), Some(2), Some(0)], vec![Some(0), Some(1), Some(2)]];
        let (mut workspace, mut output_grad) = (LossWorkspace::new(3, 3, true), vec![0.0; 9]);
        let chain = Chain { slots: &slots, consecutive };
        let loss = portfolio_sharpe(weights, &labels, (1, 3), Some((0.002, chain)), &mut workspace, &mut output_grad);
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
