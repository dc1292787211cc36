//! Test cases of `arithmetic`.

use super::{Arithmetic, Operand};
use crate::ops::case::{Case, CaseValues, batched, positive, shared};

pub(in crate::ops) fn all() -> Vec<Case> {
    // The left operand has 6 elements per sample; the right one has 6 per sample, or 6 or 3 that are shared.
    fn case(name: &'static str, op: Arithmetic, right: (Operand, CaseValues), exact: fn(f64, f64) -> f64) -> Case {
        let (count, is_batched) = (right.0.count(), right.0.batched);
        Case::new(name, op, vec![batched(&[2, 3]), right], move |inputs, batch| {
            let right = |index: usize| inputs[1][if is_batched { index } else { index % count }];
            (0..6 * batch).map(|index| exact(inputs[0][index], right(index))).collect()
        })
    }
    vec![
        case("add", Arithmetic::Add, batched(&[2, 3]), |x, y| x + y),
        case("add, shared row", Arithmetic::Add, shared(&[3]), |x, y| x + y),
        case("subtract, shared", Arithmetic::Subtract, shared(&[2, 3]), |x, y| x - y),
        case("multiply", Arithmetic::Multiply, batched(&[2, 3]), |x, y| x * y),
        case("divide", Arithmetic::Divide, positive(&[2, 3]), |x, y| x / y),
        case("maximum", Arithmetic::Maximum, batched(&[2, 3]), f64::max),
        case("maximum, shared row", Arithmetic::Maximum, shared(&[3]), f64::max),
        case("minimum", Arithmetic::Minimum, batched(&[2, 3]), f64::min),
        case("multiply, shared row", Arithmetic::Multiply, shared(&[3]), |x, y| x * y),
    ]
}
