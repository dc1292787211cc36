//! Test cases of `attention`.

use super::{Attention, Operand};
use crate::ops::case::{Case, CaseValues, batched, shared};

/// Attention from its definition, for operands whose leading axes have `leading` indices.
fn exact(heads: usize, leading: usize, operands: &[Operand], inputs: &[Vec<f64>], batch: usize) -> Vec<f64> {
    let axis = |operand: usize, from_last: usize| operands[operand].shape[operands[operand].shape.len() - from_last];
    let (queries, keys, width, values) = (axis(0, 2), axis(1, 2), axis(0, 1), axis(2, 1));
    let (head_width, head_values) = (width / heads, values / heads);
    let sample_of = |operand: usize, sample: usize| {
        let count: usize = operands[operand].shape.iter().product();
        &inputs[operand][if operands[operand].batched { sample * count } else { 0 }..][..count]
    };
    let mut out = Vec::new();
    for sample in 0..batch {
        for sequence in 0..leading {
            for i in 0..queries {
                for column in 0..values {
                    let head = column / head_values;
                    let row = |operand: usize, rows: usize, row: usize, width: usize| {
                        &sample_of(operand, sample)[(sequence * rows + row) * width..][..width]
                    };
                    let query = row(0, queries, i, width);
                    let weight = |j: usize| {
                        let key = row(1, keys, j, width);
                        let range = head * head_width..(head + 1) * head_width;
                        let score: f64 = range.map(|k| query[k] * key[k]).sum();
                        let is_included = operands.get(3).is_none_or(|mask| {
                            let mask_row = if mask.shape.len() == 1 { 0 } else { i };
                            sample_of(3, sample)[mask_row * keys + j] != 0.0
                        });
                        if is_included { (score / (head_width as f64).sqrt()).exp() } else { 0.0 }
                    };
                    let total: f64 = (0..keys).map(weight).sum();
                    let mix: f64 = (0..keys).map(|j| weight(j) * row(2, keys, j, values)[column]).sum();
                    out.push(if total > 0.0 { mix / total } else { 0.0 });
                }
            }
        }
    }
    out
}

pub(in crate::ops) fn all() -> Vec<Case> {
    fn case(name: &'static str, heads: usize, leading: usize, operands: Vec<(Operand, CaseValues)>) -> Case {
        let shapes: Vec<Operand> = operands.iter().map(|(operand, _)| operand.clone()).collect();
        Case::new(name, Attention { heads }, operands, move |inputs, batch| {
            exact(heads, leading, &shapes, inputs, batch)
        })
    }
    let mask = |operand: (Operand, CaseValues)| (operand.0, CaseValues::Mask);
    vec![
        case("one head", 1, 1, vec![batched(&[3, 4]), batched(&[5, 4]), batched(&[5, 2])]),
        case(
            "two heads, leading axes",
            2,
            4,
            vec![batched(&[2, 2, 4, 6]), batched(&[2, 2, 3, 6]), batched(&[2, 2, 3, 4])],
        ),
        case("heads wider than a vector", 2, 1, vec![batched(&[7, 34]), batched(&[7, 34]), batched(&[7, 40])]),
        case(
            "more queries than a block, more keys than a panel",
            1,
            1,
            vec![batched(&[67, 2]), batched(&[70, 2]), batched(&[70, 1])],
        ),
        case("a query that samples share", 1, 1, vec![shared(&[2, 4]), batched(&[5, 4]), batched(&[5, 3])]),
        case("keys and values that samples share", 2, 1, vec![batched(&[3, 4]), shared(&[6, 4]), shared(&[6, 2])]),
        case(
            "a mask of keys per sample",
            2,
            2,
            vec![batched(&[2, 3, 4]), batched(&[2, 5, 4]), batched(&[2, 5, 4]), mask(batched(&[5]))],
        ),
        // With so many queries, some see no key.
        case(
            "a shared mask of each query's keys",
            1,
            1,
            vec![batched(&[18, 3]), batched(&[2, 3]), batched(&[2, 3]), mask(shared(&[18, 2]))],
        ),
    ]
}
