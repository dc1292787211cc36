//! Test cases of `transpose`.

use super::Transpose;
use crate::ops::case::{Case, batched};

pub(in crate::ops) fn all() -> Vec<Case> {
    vec![Case::new("transpose", Transpose { order: vec![2, 0, 1] }, vec![batched(&[2, 3, 4])], |inputs, batch| {
        let mut out = Vec::new();
        for sample in 0..batch {
            for k in 0..4 {
                out.extend((0..6).map(|row| inputs[0][sample * 24 + row * 4 + k]));
            }
        }
        out
    })]
}
