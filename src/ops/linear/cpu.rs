//! Kernels of `linear` on the CPU.

use super::super::{Backward, Call, CpuKernel, Forward, Operand, Workspace, is_needed};
use super::Linear;
use crate::device::cpu::{Matrix, product};

/// The rows of x, inputs and outputs of a call.
fn sizes(call: &Call) -> (usize, usize, usize) {
    let (inputs, outputs) = (call.operands[0].last_axis(), call.output.last_axis());
    (call.operands[0].size(call.batch) / inputs, inputs, outputs)
}

impl CpuKernel for Linear {
    fn workspace(&self, _operands: &[Operand], _output: &Operand, _batch: usize) -> Workspace {
        Workspace::default()
    }

    fn forward(&self, pass: &mut Forward) {
        let (rows, inputs, outputs) = sizes(&pass.call);
        for row in pass.output.chunks_exact_mut(outputs) {
            row.copy_from_slice(pass.inputs[2]);
        }
        let weight = Matrix::new(pass.inputs[1], outputs, inputs).transposed();
        product(Matrix::new(pass.inputs[0], rows, inputs), weight, 1.0, pass.output, outputs);
    }

    fn backward(&self, pass: &mut Backward) {
        let (rows, inputs, outputs) = sizes(&pass.call);
        let output_grad = Matrix::new(pass.output_grad, rows, outputs);
        if is_needed(pass.input_grads[0]) {
            let weight = Matrix::new(pass.inputs[1], outputs, inputs);
            product(output_grad, weight, 1.0, pass.input_grads[0], inputs);
        }
        if is_needed(pass.input_grads[1]) {
            let x = Matrix::new(pass.inputs[0], rows, inputs);
            product(output_grad.transposed(), x, 1.0, pass.input_grads[1], inputs);
        }
        if is_needed(pass.input_grads[2]) {
            for row in pass.output_grad.chunks_exact(outputs) {
                for (into, from) in pass.input_grads[2].iter_mut().zip(row) {
                    *into += from;
                }
            }
        }
    }
}
