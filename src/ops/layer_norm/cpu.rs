//! Kernels of `layer_norm` on the CPU.

use super::super::{Backward, CpuKernel, Forward, Operand, Workspace, is_needed};
use super::LayerNorm;

impl CpuKernel for LayerNorm {
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
