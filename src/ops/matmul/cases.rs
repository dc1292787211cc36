//! Test cases of `matmul`.

use super::{MatMul, Operand};
use crate::ops::case::{Case, CaseValues, batched, shared};

pub(in crate::ops) fn all() -> Vec<Case> {
    // left [2, 3, 4]; right [2, 4, 5] or [2, 5, 4], or without the leading axis.
    fn case(name: &'static str, transpose_right: bool, right: (Operand, CaseValues)) -> Case {
        let (has_stack, is_batched) = (right.0.shape.len() == 3, right.0.batched);
        Case::new(name, MatMul { transpose_right }, vec![batched(&[2, 3, 4]), right], move |inputs, batch| {
            let mut out = Vec::new();
            for stack in 0..2 * batch {
                let start = 20
                    * if !has_stack {
                        0
                    } else if is_batched {
                        stack
                    } else {
                        stack % 2
                    };
                for row in 0..3 {
                    for column in 0..5 {
                        let left = |k: usize| inputs[0][(stack * 3 + row) * 4 + k];
                        let right =
                            |k: usize| inputs[1][start + if transpose_right { column * 4 + k } else { k * 5 + column }];
                        out.push((0..4).map(|k| left(k) * right(k)).sum());
                    }
                }
            }
            out
        })
    }
    vec![
        case("stacks", false, batched(&[2, 4, 5])),
        case("stacks, right transposed", true, batched(&[2, 5, 4])),
        case("one shared right matrix", false, shared(&[4, 5])),
        case("a shared right stack, transposed", true, shared(&[2, 5, 4])),
    ]
}
