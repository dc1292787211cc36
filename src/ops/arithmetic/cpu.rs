//! Kernels of `arithmetic` on the CPU.

use super::super::{Backward, Call, CpuKernel, Forward, Operand, is_needed};
use super::Arithmetic;

/// Calls `body` with the indices into output, left and right of each element, in order.
fn for_each_element(call: &Call, mut body: impl FnMut(usize, usize, usize)) {
    let (left, right) = (&call.operands[0], &call.operands[1]);
    let (count, batch) = (call.output.count(), if call.output.batched { call.batch } else { 1 });
    let stride = |operand: &Operand| if operand.batched { operand.count() } else { 0 };
    let (left_count, right_count) = (left.count(), right.count());
    for sample in 0..batch {
        let (left_start, right_start) = (sample * stride(left), sample * stride(right));
        for index in 0..count {
            body(sample * count + index, left_start + index % left_count, right_start + index % right_count);
        }
    }
}

impl CpuKernel for Arithmetic {
    fn forward(&self, pass: &mut Forward) {
        let (call, left, right, output) = (&pass.call, pass.inputs[0], pass.inputs[1], &mut *pass.output);
        match self {
            Self::Add => for_each_element(call, |out, l, r| output[out] = left[l] + right[r]),
            Self::Subtract => for_each_element(call, |out, l, r| output[out] = left[l] - right[r]),
            Self::Multiply => for_each_element(call, |out, l, r| output[out] = left[l] * right[r]),
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let (output_grad, call) = (pass.output_grad, &pass.call);
        let [left_grad, right_grad, ..] = pass.input_grads else { return };
        if is_needed(left_grad) {
            match self {
                Self::Add | Self::Subtract => for_each_element(call, |out, l, _| left_grad[l] += output_grad[out]),
                Self::Multiply => {
                    let right = pass.inputs[1];
                    for_each_element(call, |out, l, r| left_grad[l] += output_grad[out] * right[r]);
                }
            }
        }
        if is_needed(right_grad) {
            match self {
                Self::Add => for_each_element(call, |out, _, r| right_grad[r] += output_grad[out]),
                Self::Subtract => for_each_element(call, |out, _, r| right_grad[r] -= output_grad[out]),
                Self::Multiply => {
                    let left = pass.inputs[0];
                    for_each_element(call, |out, l, r| right_grad[r] += output_grad[out] * left[l]);
                }
            }
        }
    }
}
