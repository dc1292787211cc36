//! Test cases of `conv1d`.

use super::Conv1d;
use crate::ops::case::{Case, batched, shared};

pub(in crate::ops) fn all() -> Vec<Case> {
    const STEPS: usize = 7;
    const CHANNELS: usize = 3;
    const FILTERS: usize = 2;
    const KERNEL: usize = 3;
    /// Straight from the definition, for `sequences` sequences per sample.
    fn case(name: &'static str, op: Conv1d, sequences: usize) -> Case {
        let x = if sequences == 1 { batched(&[STEPS, CHANNELS]) } else { batched(&[sequences, STEPS, CHANNELS]) };
        let operands = vec![x, shared(&[FILTERS, CHANNELS, KERNEL]), shared(&[FILTERS])];
        let Conv1d { stride, dilation, causal } = op;
        let zeros = if causal { (KERNEL - 1) * dilation } else { 0 };
        let outputs = (STEPS + zeros - (KERNEL - 1) * dilation - 1) / stride + 1;
        Case::new(name, op, operands, move |inputs, batch| {
            let mut out = Vec::new();
            for sequence in inputs[0].chunks(STEPS * CHANNELS).take(sequences * batch) {
                for t in 0..outputs {
                    for filter in 0..FILTERS {
                        let mut sum = inputs[2][filter];
                        for channel in 0..CHANNELS {
                            for k in 0..KERNEL {
                                let row = (t * stride + k * dilation).checked_sub(zeros);
                                let x = row.map_or(0.0, |row| sequence[row * CHANNELS + channel]);
                                sum += inputs[1][(filter * CHANNELS + channel) * KERNEL + k] * x;
                            }
                        }
                        out.push(sum);
                    }
                }
            }
            out
        })
    }
    vec![
        case("inside x", Conv1d { stride: 1, dilation: 1, causal: false }, 1),
        case("causal", Conv1d { stride: 1, dilation: 1, causal: true }, 1),
        case("dilated", Conv1d { stride: 1, dilation: 3, causal: false }, 2),
        case("causal, dilated, with a stride", Conv1d { stride: 2, dilation: 2, causal: true }, 2),
    ]
}
