//! The mean squared error on the CPU.

use crate::objective::BatchOutput;

/// The mean of (output − label)² over the finite labels. Writes the gradient with respect to the output to
/// `output_grad`, 0 where the label is non-finite.
pub(in crate::objective) fn loss(batch: &BatchOutput, output_grad: &mut [f32]) -> f64 {
    let count = batch.labels.iter().filter(|label| label.is_finite()).count().max(1) as f64;
    let mut loss = 0.0;
    for ((output_grad, value), label) in output_grad.iter_mut().zip(batch.output).zip(batch.labels) {
        *output_grad = 0.0;
        if label.is_finite() {
            let difference = f64::from(*value) - f64::from(*label);
            loss += difference * difference / count;
            *output_grad = (2.0 * difference / count) as f32;
        }
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::{BatchOutput, loss};

    #[test]
    fn missing_labels_are_ignored() {
        let mut gradient = [7.0; 3];
        let labels = [0.0, f32::NAN, 5.0];
        let batch = BatchOutput { output: &[1.0, 2.0, 3.0], labels: &labels, layout: (1, 3), turnover: None };
        let loss = loss(&batch, &mut gradient);
        assert_eq!((loss, gradient), (2.5, [1.0, 0.0, -2.0]));
    }
}
