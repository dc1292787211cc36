//! What training makes small, of the returns of a whole batch. The Sharpe ratio does not decompose over samples, so its gradient
//! is taken of the whole batch at once, whatever micro-batches the network saw.

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

/// Mean of the squares of `values` − `labels` over those pairs whose label is a number, and its gradient with respect to each
/// value; 0 where there is none.
pub fn mean_square(values: &[f32], labels: &[f32]) -> (f64, Vec<f64>) {
    let known = labels.iter().filter(|label| label.is_finite()).count().max(1) as f64;
    let mut loss = 0.0;
    let gradient = values
        .iter()
        .zip(labels)
        .map(|(value, label)| {
            if !label.is_finite() {
                return 0.0;
            }
            let apart = f64::from(*value) - f64::from(*label);
            loss += apart * apart / known;
            2.0 * apart / known
        })
        .collect();
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use super::{mean_square, sharpe};

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
        let (loss, gradient) = mean_square(&[1.0, 2.0, 3.0], &[0.0, f32::NAN, 5.0]);
        assert_eq!((loss, gradient), (2.5, vec![1.0, 0.0, -2.0]));
    }
}
