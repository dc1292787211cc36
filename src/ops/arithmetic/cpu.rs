//! Kernels of `arithmetic` on the CPU.

use std::cmp::Ordering;

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

/// The share of the gradient that x gets of the larger of x and y; NaN if either is.
fn share_of_larger(x: f32, y: f32) -> f32 {
    match x.partial_cmp(&y) {
        Some(Ordering::Greater) => 1.0,
        Some(Ordering::Equal) => 0.5,
        Some(Ordering::Less) => 0.0,
        None => f32::NAN,
    }
}

impl CpuKernel for Arithmetic {
    fn forward(&self, pass: &mut Forward) {
        let (call, left, right, output) = (&pass.call, pass.inputs[0], pass.inputs[1], &mut *pass.output);
        match self {
            Self::Add => for_each_element(call, |out, l, r| output[out] = left[l] + right[r]),
            Self::Subtract => for_each_element(call, |out, l, r| output[out] = left[l] - right[r]),
            Self::Multiply => for_each_element(call, |out, l, r| output[out] = left[l] * right[r]),
            Self::Divide => for_each_element(call, |out, l, r| output[out] = left[l] / right[r]),
            // Comparisons with NaN are false, so one in either operand is passed on.
            Self::Maximum => for_each_element(call, |out, l, r| {
                output[out] = if left[l] > right[r] || left[l].is_nan() { left[l] } else { right[r] };
            }),
            Self::Minimum => for_each_element(call, |out, l, r| {
                output[out] = if left[l] < right[r] || left[l].is_nan() { left[l] } else { right[r] };
            }),
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let (output_grad, call) = (pass.output_grad, &pass.call);
        let (left, right) = (pass.inputs[0], pass.inputs[1]);
        let [left_grad, right_grad, ..] = pass.input_grads else { return };
        if is_needed(left_grad) {
            let mut add = |derivative: &dyn Fn(usize, usize) -> f32| {
                for_each_element(call, |out, l, r| left_grad[l] += output_grad[out] * derivative(l, r));
            };
            match self {
                Self::Add | Self::Subtract => for_each_element(call, |out, l, _| left_grad[l] += output_grad[out]),
                Self::Multiply => for_each_element(call, |out, l, r| left_grad[l] += output_grad[out] * right[r]),
                Self::Divide => add(&|_, r| 1.0 / right[r]),
                Self::Maximum => add(&|l, r| share_of_larger(left[l], right[r])),
                Self::Minimum => add(&|l, r| share_of_larger(right[r], left[l])),
            }
        }
        if is_needed(right_grad) {
            let mut add = |derivative: &dyn Fn(usize, usize) -> f32| {
                for_each_element(call, |out, l, r| right_grad[r] += output_grad[out] * derivative(l, r));
            };
            match self {
                Self::Add => for_each_element(call, |out, _, r| right_grad[r] += output_grad[out]),
                Self::Subtract => for_each_element(call, |out, _, r| right_grad[r] -= output_grad[out]),
                Self::Multiply => for_each_element(call, |out, l, r| right_grad[r] += output_grad[out] * left[l]),
                Self::Divide => add(&|l, r| -left[l] / (right[r] * right[r])),
                Self::Maximum => add(&|l, r| share_of_larger(right[r], left[l])),
                Self::Minimum => add(&|l, r| share_of_larger(left[l], right[r])),
            }
        }
    }
}
