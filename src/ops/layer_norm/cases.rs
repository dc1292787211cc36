//! Test cases of `layer_norm`.

use super::LayerNorm;
use crate::ops::case::{Case, batched, shared};

pub(in crate::ops) fn all() -> Vec<Case> {
    let operands = vec![batched(&[2, 6]), shared(&[6]), shared(&[6])];
    vec![Case::new("two rows per sample", LayerNorm { epsilon: 1e-5 }, operands, |inputs, batch| {
        let mut out = Vec::new();
        for row in 0..2 * batch {
            let x = &inputs[0][row * 6..row * 6 + 6];
            let mean = x.iter().sum::<f64>() / 6.0;
            let variance = x.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 6.0;
            let inverse_std = 1.0 / (variance + f64::from(1e-5_f32)).sqrt();
            out.extend((0..6).map(|column| (x[column] - mean) * inverse_std * inputs[1][column] + inputs[2][column]));
        }
        out
    })]
}
