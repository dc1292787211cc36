//! A linear layer over the last axis, y = x Wᵀ + b, with PyTorch's layout of W, `[outputs, inputs]`.

use super::{Backward, Forward, Op, Operand, Uses, Workspace, check_operand_count, is_needed};
use crate::device::cpu::{Matrix, product};

/// A linear layer, `[…, outputs]`. Operands: x `[…, inputs]`, and shared W `[outputs, inputs]` and b `[outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linear;

/// The rows of x, inputs and outputs of a call.
fn sizes(call: &super::Call) -> (usize, usize, usize) {
    let (inputs, outputs) = (call.operands[0].last_axis(), call.output.last_axis());
    (call.operands[0].size(call.batch) / inputs, inputs, outputs)
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 3)?;
        let (x, weight, bias) = (&operands[0], &operands[1], &operands[2]);
        if weight.batched || bias.batched {
            return Err("takes weights and a bias that do not depend on an input".to_owned());
        }
        let agree = x.shape.last().is_some_and(|last| weight.shape.len() == 2 && weight.shape[1] == *last)
            && bias.shape == weight.shape[..1];
        if !agree {
            return Err(format!(
                "takes x […, inputs], weights [outputs, inputs] and bias [outputs], found {:?}, {:?} and {:?}",
                x.shape, weight.shape, bias.shape
            ));
        }
        let mut out = x.shape.clone();
        out.pop();
        out.push(weight.shape[0]);
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses { inputs: [true, true, false, false, false, false], output: false }
    }

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

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, batched, shared};
    use super::Linear;

    pub(in crate::ops) fn all() -> Vec<Case> {
        let operands = vec![batched(&[2, 5]), shared(&[4, 5]), shared(&[4])];
        vec![Case::new("two rows per sample", Linear, operands, |inputs, batch| {
            let (x, w, b) = (&inputs[0], &inputs[1], &inputs[2]);
            let dot = |row: usize, out: usize| (0..5).map(|k| x[row * 5 + k] * w[out * 5 + k]).sum::<f64>();
            (0..2 * batch)
                .flat_map(|row| (0..4).map(move |out| (row, out)))
                .map(|(row, out)| dot(row, out) + b[out])
                .collect()
        })]
    }
}
