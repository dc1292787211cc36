//! Test cases of `linear`.

use super::Linear;
use crate::ops::case::{Case, batched, shared};

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
