//! What training makes small, of the returns of a whole batch. The Sharpe ratio does not decompose over samples, so its gradient
//! is taken of the whole batch at once, whatever micro-batches the network saw.

use crate::network::AssetSlots;

/// Added to the standard deviation, so that a batch of equal returns has a finite loss.
const EPSILON: f64 = 1e-6;

/// −mean/(std + ε) of a batch's returns (ddof 1, ε 10⁻⁶), and its gradient with respect to each.
///
/// # Panics
/// With fewer than two returns: a fault of the caller.
pub fn sharpe(returns: &[f64]) -> (f64, Vec<f64>) {
    assert!(returns.len() > 1, "a standard deviation needs two returns");
    let count = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / count;
    let deviation = (returns.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let below = deviation + EPSILON;
    let slope = |value: f64| {
        // Of the deviation: where it is 0 it has no slope, and moves nothing.
        let of_deviation = if deviation > 0.0 { (value - mean) / ((count - 1.0) * deviation) } else { 0.0 };
        (mean * of_deviation / below - 1.0 / count) / below
    };
    (-mean / below, returns.iter().map(|value| slope(*value)).collect())
}

/// Mean of the squares of `values` − `labels` over those pairs whose label is a number; its gradient with respect to each value,
/// 0 where there is none, goes to `output_grad`.
pub fn mean_square(values: &[f32], labels: &[f32], output_grad: &mut [f32]) -> f64 {
    let known = labels.iter().filter(|label| label.is_finite()).count().max(1) as f64;
    let mut loss = 0.0;
    for ((output_grad, value), label) in output_grad.iter_mut().zip(values).zip(labels) {
        *output_grad = 0.0;
        if label.is_finite() {
            let apart = f64::from(*value) - f64::from(*label);
            loss += apart * apart / known;
            *output_grad = (2.0 * apart / known) as f32;
        }
    }
    loss
}

/// Which weights of a batch follow on which, for what trading between them costs. A row is the weights of one date.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// By sample, the columns of its places.
    pub places: &'a [AssetSlots],
    /// By sample, whether its date follows on that of the sample before.
    pub follows: &'a [bool],
}

/// Room for the loss of a batch.
#[derive(Clone, Debug, Default)]
pub struct LossWorkspace {
    returns: Vec<f64>,
    /// Signs of the trades output_grad each row, by place.
    signs: Vec<f32>,
}

impl LossWorkspace {
    /// Room for so many dates of so many assets; `traded` where trading costs.
    pub fn new(dates: usize, assets: usize, traded: bool) -> Self {
        Self { returns: vec![0.0; dates], signs: vec![0.0; if traded { 2 * dates * assets } else { 0 }] }
    }

    /// Bytes of that room.
    pub fn planned_bytes(dates: usize, assets: usize, traded: bool) -> usize {
        dates * size_of::<f64>() + if traded { 2 * dates * assets * size_of::<f32>() } else { 0 }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(self.returns.as_slice()) + size_of_val(self.signs.as_slice())
    }
}

/// The Sharpe loss of weights `[samples, dates, assets]` on labels of the same shape, and its gradient with respect to the weights.
/// A label that is no number earns 0. With a chain, `cost` times Σ|Δw| between consecutive dates is taken off.
pub fn portfolio_sharpe(
    weights: &[f32],
    labels: &[f32],
    (dates, assets): (usize, usize),
    trading: Option<(f64, Chain)>,
    room: &mut LossWorkspace,
    output_grad: &mut [f32],
) -> f64 {
    let earned = |label: f32| if label.is_finite() { f64::from(label) } else { 0.0 };
    let rows = weights.chunks_exact(assets).zip(labels.chunks_exact(assets));
    let count = weights.len() / assets;
    for (earns, (weights, labels)) in room.returns.iter_mut().zip(rows) {
        *earns = weights.iter().zip(labels).map(|(weight, label)| f64::from(*weight) * earned(*label)).sum();
    }
    if let Some((cost, chain)) = trading {
        trades(weights, (dates, assets), chain, &mut room.signs, |row, traded| room.returns[row] -= cost * traded);
    }
    let (loss, slopes) = sharpe(&room.returns[..count]);
    for (row, (output_grad, labels)) in
        output_grad.chunks_exact_mut(assets).zip(labels.chunks_exact(assets)).enumerate()
    {
        for (place, (output_grad, label)) in output_grad.iter_mut().zip(labels).enumerate() {
            let mut slope = slopes[row] * earned(*label);
            if let Some((cost, _)) = trading {
                let at = 2 * (row * assets + place);
                slope -= cost * slopes[row] * f64::from(room.signs[at]);
                slope -= cost * slopes.get(row + 1).copied().unwrap_or(0.0) * f64::from(room.signs[at + 1]);
            }
            *output_grad = slope as f32;
        }
    }
    loss
}

/// Tells for each row that follows on another how much was traded output_grad it, Σ|Δw|; and writes the slopes of that sum, by row
/// and place: of the trade output_grad the row, and of the trade away from it.
fn trades(
    weights: &[f32],
    (dates, assets): (usize, usize),
    chain: Chain,
    signs: &mut [f32],
    mut tell: impl FnMut(usize, f64),
) {
    signs.fill(0.0);
    let place_of = |sample: usize, column: usize| {
        // Fixed places are the same; others are in the order of their columns.
        chain.places[sample].iter().position(|place| *place == Some(column))
    };
    for row in 1..weights.len() / assets {
        let (sample, before) = (row / dates, (row - 1) / dates);
        if sample != before && (dates > 1 || !chain.follows[sample]) {
            continue;
        }
        let mut traded = 0.0;
        let mut trade = |now: Option<usize>, then: Option<usize>| {
            let weight = |row: usize, place: Option<usize>| place.map_or(0.0, |place| weights[row * assets + place]);
            let change = weight(row, now) - weight(row - 1, then);
            traded += f64::from(change.abs());
            let sign = if change == 0.0 { 0.0 } else { change.signum() };
            if let Some(now) = now {
                signs[2 * (row * assets + now)] = sign;
            }
            if let Some(then) = then {
                signs[2 * ((row - 1) * assets + then) + 1] = -sign;
            }
        };
        for (now, column) in chain.places[sample].iter().enumerate() {
            if let Some(column) = column {
                let same = chain.places[before].get(now) == Some(&Some(*column));
                trade(Some(now), if same { Some(now) } else { place_of(before, *column) });
            }
        }
        for (then, column) in chain.places[before].iter().enumerate() {
            if let Some(column) = column
                && chain.places[sample].get(then) != Some(&Some(*column))
                && place_of(sample, *column).is_none()
            {
                trade(None, Some(then));
            }
        }
        tell(row, traded);
    }
}

#[cfg(test)]
mod tests {
    use super::{Chain, LossWorkspace, mean_square, portfolio_sharpe, sharpe};

    #[test]
    fn the_sharpe_loss_by_hand_and_by_slopes() {
        let mut returns = vec![0.01, -0.02, 0.03, 0.005];
        let (loss, gradient) = sharpe(&returns);
        // Mean 0.00625; squares about it add up to 1.26875e-3, so the deviation is √(1.26875e-3/3).
        assert!((loss + 0.00625 / ((1.268_75e-3_f64 / 3.0).sqrt() + 1e-6)).abs() < 1e-12, "{loss}");
        for place in 0..4 {
            let middle = returns[place];
            returns[place] = middle + 1e-7;
            let above = sharpe(&returns).0;
            returns[place] = middle - 1e-7;
            let below = sharpe(&returns).0;
            returns[place] = middle;
            assert!((gradient[place] - (above - below) / 2e-7).abs() < 1e-4 * gradient[place].abs());
        }
    }

    #[test]
    fn averaging_the_losses_of_micro_batches_is_another_objective() {
        // A calm half and a rough one.
        let returns = [0.01, 0.011, 0.009, 0.0105, -0.05, 0.05, 0.03, -0.02];
        let parts = f64::midpoint(sharpe(&returns[..4]).0, sharpe(&returns[4..]).0);
        assert!((parts - sharpe(&returns).0).abs() > 0.01);
    }

    #[test]
    fn equal_returns_have_a_loss_and_a_gradient_that_are_numbers() {
        let (loss, gradient) = sharpe(&[0.01; 5]);
        assert!((loss + 0.01 / 1e-6).abs() < 1e-3);
        assert!(gradient.iter().all(|value| value.is_finite() && *value < 0.0));
    }

    #[test]
    fn labels_that_are_missing_count_for_nothing() {
        let mut gradient = [7.0; 3];
        let loss = mean_square(&[1.0, 2.0, 3.0], &[0.0, f32::NAN, 5.0], &mut gradient);
        assert_eq!((loss, gradient), (2.5, [1.0, 0.0, -2.0]));
    }

    /// Three dates: the first two are held in other places, the third stands alone.
    fn traded(weights: &[f32], follows: &[bool]) -> (f64, Vec<f32>) {
        let labels = [0.01, -0.02, 0.005, 0.0, 0.03, 0.01, -0.01, f32::NAN, 0.02];
        let places = [vec![Some(0), Some(1), None], vec![Some(1), Some(2), Some(0)], vec![Some(0), Some(1), Some(2)]];
        let (mut room, mut output_grad) = (LossWorkspace::new(3, 3, true), vec![0.0; 9]);
        let chain = Chain { places: &places, follows };
        let loss = portfolio_sharpe(weights, &labels, (1, 3), Some((0.002, chain)), &mut room, &mut output_grad);
        (loss, output_grad)
    }

    #[test]
    fn trading_between_consecutive_dates_is_charged_by_asset() {
        let weights = [0.5_f32, 0.5, 0.0, 0.2, 0.5, 0.3, 0.1, 0.6, 0.3];
        // Asset 0 from 0.5 to 0.3, asset 1 from 0.5 to 0.2, asset 2 from 0 to 0.5: 1 in all.
        let returns = [0.005 - 0.01, 0.015 + 0.003 - 0.002, -0.001 + 0.006];
        let (loss, output_grad) = traded(&weights, &[false, true, false]);
        assert!((loss - sharpe(&returns).0).abs() < 1e-6, "{loss}");
        for place in 0..9 {
            const STEP: f32 = 1e-3;
            let moved = |by: f32| {
                let mut weights = weights;
                weights[place] += by;
                traded(&weights, &[false, true, false]).0
            };
            // A place that nobody holds moves nothing: its label counts, and no trade.
            let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            assert!((f64::from(output_grad[place]) - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{place}: {slope}");
        }
        assert!(traded(&weights, &[false, false, false]).0 < loss);
    }
}
