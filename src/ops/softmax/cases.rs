//! Test cases of `softmax`.

use super::{Operand, Softmax};
use crate::ops::case::{Case, CaseValues, batched, shared};

pub(in crate::ops) fn all() -> Vec<Case> {
    fn exact(x: &[f64], is_included: &dyn Fn(usize) -> bool) -> Vec<f64> {
        let exp = |(index, x): (usize, &f64)| if is_included(index) { x.exp() } else { 0.0 };
        let raw: Vec<f64> = x.iter().enumerate().map(exp).collect();
        let sum: f64 = raw.iter().sum();
        raw.iter().map(|value| if sum > 0.0 { value / sum } else { 0.0 }).collect()
    }
    let mask = |operand: (Operand, CaseValues)| (operand.0, CaseValues::Mask);
    vec![
        Case::new("without a mask", Softmax, vec![batched(&[2, 5])], |inputs, _| {
            inputs[0].chunks(5).flat_map(|row| exact(row, &|_| true)).collect()
        }),
        Case::new("a mask per sample", Softmax, vec![batched(&[2, 5]), mask(batched(&[5]))], |inputs, _| {
            let rows = inputs[0].chunks(5).enumerate();
            rows.flat_map(|(row, x)| exact(x, &|index| inputs[1][row / 2 * 5 + index] != 0.0)).collect()
        }),
        Case::new("a shared mask", Softmax, vec![batched(&[4, 3]), mask(shared(&[4, 3]))], |inputs, _| {
            let rows = inputs[0].chunks(3).enumerate();
            rows.flat_map(|(row, x)| exact(x, &|index| inputs[1][row % 4 * 3 + index] != 0.0)).collect()
        }),
    ]
}
