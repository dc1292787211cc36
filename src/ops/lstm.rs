//! A whole LSTM layer over a sequence (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), with PyTorch's
//! gate order i, f, g, o and its two biases.

use super::cases::{Case, batched, shared};
use super::{Backward, Call, Forward, Op, Operand, Room, Uses, arity, wanted};
use crate::device::cpu::{Matrix, product, sigmoid_slice, tanh, tanh_slice};

/// Operands: x `[…, steps, inputs]`, weights of the input `[4 hidden, inputs]` and of the state `[4 hidden, hidden]`, and their
/// biases `[4 hidden]`, all but x shared. The state starts at 0. Gives the hidden state at every step,
/// `[…, steps, hidden]`. The axes before the steps are sequences of their own, such as one an asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lstm;

/// Sizes of a call.
struct Sizes {
    batch: usize,
    steps: usize,
    inputs: usize,
    hidden: usize,
}

impl Sizes {
    fn new(call: &Call) -> Self {
        Self::of(&call.operands[0], call.output, call.batch)
    }

    /// `batch` counts sequences: those of a sample, times the samples.
    fn of(x: &Operand, output: &Operand, batch: usize) -> Self {
        let axes = x.shape.len();
        let (steps, inputs) = (x.shape[axes - 2], x.shape[axes - 1]);
        Self { batch: x.size(batch) / (steps * inputs), steps, inputs, hidden: output.last() }
    }

    /// Numbers of the gates of all samples and steps; the cell states need a quarter of it.
    fn gates(&self) -> usize {
        self.batch * self.steps * 4 * self.hidden
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
        Uses { inputs: [true, true, true, false, false, false], output: true }
    }

    /// Saved: the gates after their functions `[batch, steps, 4 hidden]` and the cell states `[batch, steps, hidden]`. Without
    /// a backward pass both are needed all the same, as scratch. Backward: the gradient of the gates, and of state and cell.
    fn room(&self, operands: &[Operand], output: &Operand, batch: usize) -> Room {
        let sizes = Sizes::of(&operands[0], output, batch);
        let gates = sizes.gates();
        Room { saved: gates / 4 * 5, forward: gates / 4 * 5, backward: gates + 2 * sizes.batch * sizes.hidden }
    }

    fn forward(&self, pass: &mut Forward) {
        let sizes = Sizes::new(&pass.call);
        let Sizes { batch, steps, inputs, hidden } = sizes;
        let wide = 4 * hidden;
        let space = if pass.saved.is_empty() { &mut *pass.scratch } else { &mut *pass.saved };
        let (gates, cells) = space.split_at_mut(sizes.gates());
        // The part of the input, for all steps at once.
        for row in gates.chunks_exact_mut(wide) {
            for (place, gate) in row.iter_mut().enumerate() {
                *gate = pass.inputs[3][place] + pass.inputs[4][place];
            }
        }
        let x = Matrix::new(pass.inputs[0], batch * steps, inputs);
        product(x, Matrix::new(pass.inputs[1], wide, inputs).transposed(), 1.0, gates, wide);
        let state_weights = Matrix::new(pass.inputs[2], wide, hidden).transposed();
        for step in 0..steps {
            if step > 0 {
                // Row b of the state before lies at (b, step − 1), that of the gates at (b, step).
                let before = Matrix::strided(&pass.output[(step - 1) * hidden..], batch, hidden, steps * hidden);
                product(before, state_weights, 1.0, &mut gates[step * wide..], steps * wide);
            }
            for sample in 0..batch {
                let at = sample * steps + step;
                let gates = &mut gates[at * wide..][..wide];
                sigmoid_slice(&mut gates[..2 * hidden]);
                tanh_slice(&mut gates[2 * hidden..3 * hidden]);
                sigmoid_slice(&mut gates[3 * hidden..]);
                let (earlier, now) = cells.split_at_mut(at * hidden);
                let before = if step > 0 { Some(&earlier[(at - 1) * hidden..]) } else { None };
                for place in 0..hidden {
                    let kept = before.map_or(0.0, |before| gates[hidden + place] * before[place]);
                    let cell = kept + gates[place] * gates[2 * hidden + place];
                    now[place] = cell;
                    pass.output[at * hidden + place] = gates[3 * hidden + place] * tanh(cell);
                }
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let sizes = Sizes::new(&pass.call);
        let Sizes { batch, steps, inputs, hidden } = sizes;
        let wide = 4 * hidden;
        let (gates, cells) = pass.saved.split_at(sizes.gates());
        let (to_gates, rest) = pass.scratch.split_at_mut(sizes.gates());
        let (to_state, to_cell) = rest.split_at_mut(batch * hidden);
        to_state[..batch * hidden].fill(0.0);
        to_cell[..batch * hidden].fill(0.0);
        let state_weights = Matrix::new(pass.inputs[2], wide, hidden);
        for step in (0..steps).rev() {
            for sample in 0..batch {
                let at = sample * steps + step;
                let (gates, cell) = (&gates[at * wide..][..wide], &cells[at * hidden..][..hidden]);
                let before = if step > 0 { Some(&cells[(at - 1) * hidden..][..hidden]) } else { None };
                let into = &mut to_gates[at * wide..][..wide];
                for place in 0..hidden {
                    let (i, f) = (gates[place], gates[hidden + place]);
                    let (g, o) = (gates[2 * hidden + place], gates[3 * hidden + place]);
                    let bent = tanh(cell[place]);
                    let state = pass.gradient[at * hidden + place] + to_state[sample * hidden + place];
                    let through = to_cell[sample * hidden + place] + state * o * (1.0 - bent * bent);
                    let held = before.map_or(0.0, |before| before[place]);
                    into[place] = through * g * i * (1.0 - i);
                    into[hidden + place] = through * held * f * (1.0 - f);
                    into[2 * hidden + place] = through * i * (1.0 - g * g);
                    into[3 * hidden + place] = state * bent * o * (1.0 - o);
                    to_cell[sample * hidden + place] = through * f;
                }
            }
            if step > 0 {
                let rows = Matrix::strided(&to_gates[step * wide..], batch, wide, steps * wide);
                product(rows, state_weights, 0.0, to_state, hidden);
            }
        }
        let all = Matrix::new(to_gates, batch * steps, wide);
        let [to_x, to_input, to_recurrent, to_bias, to_other, ..] = pass.gradients else { return };
        if wanted(to_x) {
            product(all, Matrix::new(pass.inputs[1], wide, inputs), 1.0, to_x, inputs);
        }
        if wanted(to_input) {
            let x = Matrix::new(pass.inputs[0], batch * steps, inputs);
            product(all.transposed(), x, 1.0, to_input, inputs);
        }
        if wanted(to_recurrent) && steps > 1 {
            // The state before step t stands at (b, t − 1): sample by sample the rows lie one after the other.
            for sample in 0..batch {
                let rows = Matrix::new(&to_gates[(sample * steps + 1) * wide..], steps - 1, wide);
                let before = Matrix::new(&pass.output[sample * steps * hidden..], steps - 1, hidden);
                product(rows.transposed(), before, 1.0, to_recurrent, hidden);
            }
        }
        for row in to_gates.chunks_exact(wide) {
            for bias in [&mut *to_bias, &mut *to_other] {
                bias.iter_mut().zip(row).for_each(|(into, from)| *into += from);
            }
        }
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
