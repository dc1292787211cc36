//! Kernels of `matmul` on the CPU.

use super::super::{Backward, Call, CpuKernel, Forward, is_needed};
use super::MatMul;
use crate::device::cpu::{Matrix, product};

/// The products of a call.
struct Stack {
    /// Products.
    count: usize,
    rows: usize,
    inner: usize,
    columns: usize,
    /// Distance between the right matrices of consecutive products; 0 if there is one for all.
    right_stride: usize,
}

impl MatMul {
    fn stack(call: &Call) -> Stack {
        let (left, right) = (&call.operands[0], &call.operands[1]);
        let axes = left.shape.len();
        let (rows, inner) = (left.shape[axes - 2], left.shape[axes - 1]);
        let columns = call.output.last_axis();
        let count = call.output.size(call.batch) / (rows * columns);
        let right_stride = if right.shape.len() == 2 && !right.batched { 0 } else { inner * columns };
        Stack { count, rows, inner, columns, right_stride }
    }

    fn right<'a>(self, data: &'a [f32], stack: &Stack, index: usize) -> Matrix<'a> {
        let data = &data[Self::right_start(data.len(), stack, index)..];
        if self.transpose_right {
            Matrix::new(data, stack.columns, stack.inner).transposed()
        } else {
            Matrix::new(data, stack.inner, stack.columns)
        }
    }

    /// Start of the right matrix of a product. A stack that all samples share is repeated for each of them.
    fn right_start(length: usize, stack: &Stack, index: usize) -> usize {
        if stack.right_stride == 0 { 0 } else { (index * stack.right_stride) % length }
    }
}

impl CpuKernel for MatMul {
    fn forward(&self, pass: &mut Forward) {
        let stack = Self::stack(&pass.call);
        for (index, out) in pass.output.chunks_exact_mut(stack.rows * stack.columns).enumerate() {
            let left = &pass.inputs[0][index * stack.rows * stack.inner..];
            let left = Matrix::new(left, stack.rows, stack.inner);
            product(left, self.right(pass.inputs[1], &stack, index), 0.0, out, stack.columns);
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let stack = Self::stack(&pass.call);
        let (rows, inner, columns) = (stack.rows, stack.inner, stack.columns);
        for index in 0..stack.count {
            let output_grad = Matrix::new(&pass.output_grad[index * rows * columns..], rows, columns);
            if is_needed(pass.input_grads[0]) {
                let right = self.right(pass.inputs[1], &stack, index).transposed();
                product(output_grad, right, 1.0, &mut pass.input_grads[0][index * rows * inner..], inner);
            }
            if is_needed(pass.input_grads[1]) {
                let left = Matrix::new(&pass.inputs[0][index * rows * inner..], rows, inner);
                let start = Self::right_start(pass.input_grads[1].len(), &stack, index);
                let into = &mut pass.input_grads[1][start..];
                if self.transpose_right {
                    product(output_grad.transposed(), left, 1.0, into, inner);
                } else {
                    product(left.transposed(), output_grad, 1.0, into, columns);
                }
            }
        }
    }
}
