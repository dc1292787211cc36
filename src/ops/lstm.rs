//! A whole LSTM layer over a sequence (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), with PyTorch's
//! gate order i, f, g, o and its two biases.

use super::cases::{Case, batched, shared};
use super::{Backward, Call, Forward, Op, Operand, PackedWeights, Uses, Workspace, arity};
use crate::device::cpu::{
    LstmArguments, LstmGradients, LstmPackedWeights, LstmShape, LstmWeights, lstm_backward, lstm_forward, lstm_predict,
};

/// Operands: x `[…, steps, inputs]`, weights of the input `[4 hidden, inputs]` and of the state `[4 hidden, hidden]`, and their
/// biases `[4 hidden]`, all but x shared. The state starts at 0. Gives the hidden state at every step,
/// `[…, steps, hidden]`. The axes before the steps are sequences of their own, such as one an asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lstm;

/// Sizes of a call; its sequences are those of a sample, times the samples.
fn shape(x: &Operand, output: &Operand, batch: usize) -> LstmShape {
    let axes = x.shape.len();
    let (steps, inputs) = (x.shape[axes - 2], x.shape[axes - 1]);
    LstmShape { sequences: x.size(batch) / (steps * inputs), steps, inputs, hidden: output.last() }
}

fn given<'a>(call: &Call, inputs: &[&'a [f32]]) -> LstmArguments<'a> {
    LstmArguments {
        shape: shape(&call.operands[0], call.output, call.batch),
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
        arity(operands, 5)?;
        let shapes: Vec<&[usize]> = operands.iter().map(|operand| operand.shape.as_slice()).collect();
        let hidden = shapes[2].get(1).copied().unwrap_or(0);
        let agree = shapes[0].len() >= 2
            && hidden > 0
            && shapes[1] == [4 * hidden, operands[0].last()]
            && shapes[2] == [4 * hidden, hidden]
            && shapes[3] == [4 * hidden]
            && shapes[4] == [4 * hidden]
            && operands[1..].iter().all(|operand| !operand.batched);
        if !agree {
            return Err(format!(
                "takes x […, steps, inputs] and shared weights [4 hidden, inputs], [4 hidden, hidden] and biases [4 hidden] \
                 twice, found {shapes:?}"
            ));
        }
        let mut out = operands[0].shape.clone();
        out.pop();
        out.push(hidden);
        Ok(out)
    }

    fn uses(&self) -> Uses {
        // Biases are read where the gates are computed again; parameters take no room by that.
        Uses { inputs: [true, true, true, true, true, false], output: true }
    }

    fn workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        let shape = shape(&operands[0], output, batch);
        Workspace { saved: shape.saved(), forward: shape.forward(), backward: shape.backward() }
    }

    fn recompute_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        let shape = shape(&operands[0], output, batch);
        Workspace { saved: 0, forward: shape.forward(), backward: shape.backward() + shape.recompute() }
    }

    fn packs(&self) -> bool {
        true
    }

    fn pack(&self, parameters: &[&[f32]], half: bool) -> Option<PackedWeights> {
        let [input, recurrent, one, other] = *parameters else { return None };
        let weights = LstmWeights { input, recurrent, biases: [one, other] };
        Some(PackedWeights::Lstm(LstmPackedWeights::new(weights, one.len() / 4, half)))
    }

    fn packed_workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        Workspace { forward: shape(&operands[0], output, batch).forward_packed(), ..Workspace::default() }
    }

    fn forward(&self, pass: &mut Forward) {
        if let Some(PackedWeights::Lstm(prepared)) = pass.packed {
            lstm_predict(given(&pass.call, pass.inputs), prepared, pass.output, pass.scratch);
            return;
        }
        lstm_forward(given(&pass.call, pass.inputs), pass.output, pass.saved, pass.scratch);
    }

    fn backward(&self, pass: &mut Backward) {
        let [x, input, recurrent, bias, other, ..] = &mut *pass.gradients else { return };
        let gradients = LstmGradients { x, input, recurrent, biases: [bias, other] };
        let given = given(&pass.call, pass.inputs);
        lstm_backward(given, pass.output, pass.saved, pass.gradient, gradients, pass.scratch);
    }
}

pub(super) fn cases() -> Vec<Case> {
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
        for sample in 0..sequences {
            let (mut state, mut cell) = ([0.0; HIDDEN], [0.0; HIDDEN]);
            for step in 0..STEPS {
                let x = &inputs[0][(sample * STEPS + step) * INPUTS..][..INPUTS];
                let gate = |row: usize| -> f64 {
                    let input: f64 = (0..INPUTS).map(|k| inputs[1][row * INPUTS + k] * x[k]).sum();
                    let before: f64 = (0..HIDDEN).map(|k| inputs[2][row * HIDDEN + k] * state[k]).sum();
                    input + before + inputs[3][row] + inputs[4][row]
                };
                let gates: Vec<f64> = (0..4 * HIDDEN).map(gate).collect();
                for k in 0..HIDDEN {
                    cell[k] = sigmoid(gates[HIDDEN + k]) * cell[k] + sigmoid(gates[k]) * gates[2 * HIDDEN + k].tanh();
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
        Case::new("four steps", Lstm, operands(&[STEPS, INPUTS]), exact),
        Case::new("three sequences a sample", Lstm, operands(&[3, STEPS, INPUTS]), move |inputs, batch| {
            exact(inputs, 3 * batch)
        }),
    ]
}
