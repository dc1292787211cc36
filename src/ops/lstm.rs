//! An LSTM layer over a sequence (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), with
//! PyTorch's gate order i, f, g, o and its two biases.

use super::{Backward, Call, Forward, Op, Operand, PackedWeights, Uses, Workspace, check_operand_count};
use crate::device::cpu::{
    LstmArguments, LstmGradients, LstmPackedWeights, LstmShape, LstmWeights, lstm_backward, lstm_forward, lstm_predict,
};

/// An LSTM layer. Operands: x `[…, steps, inputs]`, and shared input weights `[4 hidden, inputs]`, recurrent weights
/// `[4 hidden, hidden]`, input bias and recurrent bias, both `[4 hidden]`. Output: the hidden state at every step,
/// `[…, steps, hidden]`. States begin at 0. The axes before the steps are independent sequences, such as one per asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lstm;

/// Sizes of a call for `batch` samples; a sample may have several sequences.
fn kernel_shape(x: &Operand, output: &Operand, batch: usize) -> LstmShape {
    let axes = x.shape.len();
    let (steps, inputs) = (x.shape[axes - 2], x.shape[axes - 1]);
    LstmShape { sequences: x.size(batch) / (steps * inputs), steps, inputs, hidden: output.last_axis() }
}

fn arguments<'a>(call: &Call, inputs: &[&'a [f32]]) -> LstmArguments<'a> {
    LstmArguments {
        shape: kernel_shape(&call.operands[0], call.output, call.batch),
        weights: LstmWeights { input: inputs[1], recurrent: inputs[2], biases: [inputs[3], inputs[4]] },
        x: inputs[0],
        half: call.half,
    }
}

impl Op for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 5)?;
        let shapes: Vec<&[usize]> = operands.iter().map(|operand| operand.shape.as_slice()).collect();
        let hidden = shapes[2].get(1).copied().unwrap_or(0);
        let agree = shapes[0].len() >= 2
            && hidden > 0
            && shapes[1] == [4 * hidden, operands[0].last_axis()]
            && shapes[2] == [4 * hidden, hidden]
            && shapes[3] == [4 * hidden]
            && shapes[4] == [4 * hidden]
            && operands[1..].iter().all(|operand| !operand.batched);
        if !agree {
            return Err(format!(
                "takes x […, steps, inputs] and shared weights [4 hidden, inputs], [4 hidden, hidden], [4 hidden] and \
                 [4 hidden], found {shapes:?}"
            ));
        }
        let mut out = operands[0].shape.clone();
        out.pop();
        out.push(hidden);
        Ok(out)
    }

    fn uses(&self) -> Uses {
        // The biases are read if gates are recomputed. Naming them costs no memory, as parameters are kept anyway.
        Uses { inputs: [true, true, true, true, true, false], output: true }
    }

    fn workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        let shape = kernel_shape(&operands[0], output, batch);
        Workspace { saved: shape.saved(), forward: shape.forward(), backward: shape.backward() }
    }

    fn recompute_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        let shape = kernel_shape(&operands[0], output, batch);
        Workspace { saved: 0, forward: shape.forward(), backward: shape.backward() + shape.recompute() }
    }

    fn packs(&self) -> bool {
        true
    }

    fn pack(&self, parameters: &[&[f32]], half: bool) -> Option<PackedWeights> {
        let [input, recurrent, input_bias, recurrent_bias] = *parameters else { return None };
        let weights = LstmWeights { input, recurrent, biases: [input_bias, recurrent_bias] };
        Some(PackedWeights::Lstm(LstmPackedWeights::new(weights, input_bias.len() / 4, half)))
    }

    fn packed_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        Workspace { forward: kernel_shape(&operands[0], output, batch).forward_packed(), ..Workspace::default() }
    }

    fn forward(&self, pass: &mut Forward) {
        let arguments = arguments(&pass.call, pass.inputs);
        match pass.packed {
            Some(PackedWeights::Lstm(packed)) => lstm_predict(arguments, packed, pass.output, pass.scratch),
            None => lstm_forward(arguments, pass.output, pass.saved, pass.scratch),
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let [x, input, recurrent, input_bias, recurrent_bias, ..] = &mut *pass.input_grads else { return };
        let gradients = LstmGradients { x, input, recurrent, biases: [input_bias, recurrent_bias] };
        let arguments = arguments(&pass.call, pass.inputs);
        lstm_backward(arguments, pass.output, pass.saved, pass.output_grad, gradients, pass.scratch);
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, batched, shared};
    use super::Lstm;

    pub(in crate::ops) fn all() -> Vec<Case> {
        const STEPS: usize = 4;
        const INPUTS: usize = 3;
        const HIDDEN: usize = 2;
        let operands = |x: &[usize]| {
            vec![
                batched(x),
                shared(&[4 * HIDDEN, INPUTS]),
                shared(&[4 * HIDDEN, HIDDEN]),
                shared(&[4 * HIDDEN]),
                shared(&[4 * HIDDEN]),
            ]
        };
        let exact = |inputs: &[Vec<f64>], sequences: usize| {
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            let mut out = Vec::new();
            for sequence in 0..sequences {
                let (mut state, mut cell) = ([0.0; HIDDEN], [0.0; HIDDEN]);
                for step in 0..STEPS {
                    let x = &inputs[0][(sequence * STEPS + step) * INPUTS..][..INPUTS];
                    let gate = |row: usize| -> f64 {
                        let input: f64 = (0..INPUTS).map(|k| inputs[1][row * INPUTS + k] * x[k]).sum();
                        let recurrent: f64 = (0..HIDDEN).map(|k| inputs[2][row * HIDDEN + k] * state[k]).sum();
                        input + recurrent + inputs[3][row] + inputs[4][row]
                    };
                    let gates: Vec<f64> = (0..4 * HIDDEN).map(gate).collect();
                    for k in 0..HIDDEN {
                        let input = sigmoid(gates[k]) * gates[2 * HIDDEN + k].tanh();
                        cell[k] = sigmoid(gates[HIDDEN + k]) * cell[k] + input;
                    }
                    for k in 0..HIDDEN {
                        state[k] = sigmoid(gates[3 * HIDDEN + k]) * cell[k].tanh();
                    }
                    out.extend_from_slice(&state);
                }
            }
            out
        };
        vec![
            Case::new("one sequence per sample", Lstm, operands(&[STEPS, INPUTS]), exact),
            Case::new("three sequences per sample", Lstm, operands(&[3, STEPS, INPUTS]), move |inputs, batch| {
                exact(inputs, 3 * batch)
            }),
        ]
    }
}
