//! Layer normalisation (Ba, Kiros and Hinton 2016): each row of the last axis is standardised to mean 0 and variance 1,
//! then scaled and shifted by learned parameters.

use super::{Backward, Forward, Op, Operand, Uses, Workspace, check_operand_count, is_needed};

/// Layer normalisation. Operands: x `[…, n]`, shared scale `[n]` and shift `[n]`. As in PyTorch, the variance divides
/// by n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LayerNorm {
    /// Added to the variance, so that a constant row stays finite; finite and above 0.
    pub epsilon: f32,
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn attributes(&self) -> String {
        format!("epsilon={}", self.epsilon)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 3)?;
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(format!("takes a finite epsilon above 0, found {}", self.epsilon));
        }
        let (x, scale, shift) = (&operands[0], &operands[1], &operands[2]);
        let last = x.shape.last().map(std::slice::from_ref);
        if scale.batched || shift.batched || last != Some(scale.shape.as_slice()) || scale.shape != shift.shape {
            return Err(format!(
                "takes x […, n] with a shared scale [n] and shift [n], found {:?}, {:?} and {:?}",
                x.shape, scale.shape, shift.shape
            ));
        }
        Ok(x.shape.clone())
    }

    fn single_precision_parameters(&self) -> bool {
        true
    }

    fn uses(&self) -> Uses {
        Uses { inputs: [true, true, false, false, false, false], output: false }
    }

    /// Saves the mean and 1/standard deviation of each row.
    fn workspace(&self, operands: &[Operand], _output: &Operand, batch: usize) -> Workspace {
        Workspace { saved: 2 * operands[0].size(batch) / operands[0].last_axis(), ..Workspace::default() }
    }

    fn forward(&self, pass: &mut Forward) {
        let width = pass.call.output.last_axis();
        let (x, scale, shift) = (pass.inputs[0], pass.inputs[1], pass.inputs[2]);
        let rows = pass.output.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for (row, (out, x)) in rows.enumerate() {
            let mean = x.iter().sum::<f32>() / width as f32;
            let variance = x.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / width as f32;
            let inverse_std = 1.0 / (variance + self.epsilon).sqrt();
            for (column, (out, value)) in out.iter_mut().zip(x).enumerate() {
                *out = (value - mean) * inverse_std * scale[column] + shift[column];
            }
            // Predictions save nothing.
            if let Some(saved) = pass.saved.get_mut(2 * row..2 * row + 2) {
                saved.copy_from_slice(&[mean, inverse_std]);
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let width = pass.call.output.last_axis();
        let (x, scale) = (pass.inputs[0], pass.inputs[1]);
        let [x_grad, scale_grad, shift_grad, ..] = pass.input_grads else { return };
        for (row, output_grad) in pass.output_grad.chunks_exact(width).enumerate() {
            let (mean, inverse_std) = (pass.saved[2 * row], pass.saved[2 * row + 1]);
            let x = &x[row * width..][..width];
            let z = |column: usize| (x[column] - mean) * inverse_std;
            if is_needed(scale_grad) {
                (0..width).for_each(|column| scale_grad[column] += output_grad[column] * z(column));
            }
            if is_needed(shift_grad) {
                (0..width).for_each(|column| shift_grad[column] += output_grad[column]);
            }
            if is_needed(x_grad) {
                let z_grad = |column: usize| output_grad[column] * scale[column];
                let mean_grad = (0..width).map(z_grad).sum::<f32>() / width as f32;
                let mean_product = (0..width).map(|column| z_grad(column) * z(column)).sum::<f32>() / width as f32;
                let into = &mut x_grad[row * width..][..width];
                for (column, into) in into.iter_mut().enumerate() {
                    *into += inverse_std * (z_grad(column) - mean_grad - z(column) * mean_product);
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, batched, shared};
    use super::LayerNorm;

    pub(in crate::ops) fn all() -> Vec<Case> {
        let operands = vec![batched(&[2, 6]), shared(&[6]), shared(&[6])];
        vec![Case::new("two rows per sample", LayerNorm { epsilon: 1e-5 }, operands, |inputs, batch| {
            let mut out = Vec::new();
            for row in 0..2 * batch {
                let x = &inputs[0][row * 6..row * 6 + 6];
                let mean = x.iter().sum::<f64>() / 6.0;
                let variance = x.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 6.0;
                let inverse_std = 1.0 / (variance + f64::from(1e-5_f32)).sqrt();
                out.extend(
                    (0..6).map(|column| (x[column] - mean) * inverse_std * inputs[1][column] + inputs[2][column]),
                );
            }
            out
        })]
    }
}
