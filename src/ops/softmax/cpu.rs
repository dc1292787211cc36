//! Kernels of `softmax` on the CPU.

use super::super::{Backward, Call, CpuKernel, Forward, is_needed};
use super::Softmax;
use crate::device::cpu::exp_slice;

/// The row of the mask for a row of x.
fn mask_row<'a>(call: &Call, mask: &'a [f32], row: usize, width: usize) -> &'a [f32] {
    let (x, operand) = (&call.operands[0], &call.operands[1]);
    let sample_rows = x.count() / width;
    let sample = if operand.batched { row / sample_rows } else { 0 };
    let row = if operand.shape.len() == 1 { 0 } else { row % sample_rows };
    &mask[sample * operand.count() + row * width..][..width]
}

impl CpuKernel for Softmax {
    fn forward(&self, pass: &mut Forward) {
        let width = pass.call.output.last_axis();
        for (row, (out, x)) in pass.output.chunks_exact_mut(width).zip(pass.inputs[0].chunks_exact(width)).enumerate() {
            let mask = pass.inputs.get(1).map(|mask| mask_row(&pass.call, mask, row, width));
            let is_included = |index: usize| mask.is_none_or(|mask| mask[index] != 0.0);
            let included = (0..width).filter(|&index| is_included(index));
            let max = included.clone().map(|index| x[index]).fold(f32::NEG_INFINITY, f32::max);
            for index in 0..width {
                // e to the power of minus infinity is 0.
                out[index] = if is_included(index) { x[index] - max } else { f32::NEG_INFINITY };
            }
            exp_slice(out);
            let sum: f32 = out.iter().sum();
            if sum > 0.0 {
                for value in out {
                    *value /= sum;
                }
            } else if x.iter().any(|value| value.is_nan()) {
                // A NaN in the row must not be hidden.
                included.for_each(|index| out[index] = f32::NAN);
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let width = pass.call.output.last_axis();
        if !is_needed(pass.input_grads[0]) {
            return;
        }
        let rows = pass.input_grads[0].chunks_exact_mut(width).zip(pass.output_grad.chunks_exact(width));
        for ((into, output_grad), output) in rows.zip(pass.output.chunks_exact(width)) {
            let dot: f32 = output_grad.iter().zip(output).map(|(grad, output)| grad * output).sum();
            for ((into, grad), output) in into.iter_mut().zip(output_grad).zip(output) {
                *into += output * (grad - dot);
            }
        }
    }
}
