//! Test cases of `lstm`.

use super::Lstm;
use crate::ops::case::{Case, batched, shared};

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
