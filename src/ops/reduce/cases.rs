//! Test cases of `reduce`.

use super::{Reduce, Reduction};
use crate::ops::case::{Case, batched};

pub(in crate::ops) fn all() -> Vec<Case> {
    fn case(name: &'static str, kind: Reduction, axis: usize) -> Case {
        let shape = [2_usize, 3, 4];
        Case::new(name, Reduce { kind, axis }, vec![batched(&shape)], move |inputs, batch| {
            let inner: usize = shape[axis + 1..].iter().product();
            let length = shape[axis];
            let factor = if kind == Reduction::Mean { 1.0 / length as f64 } else { 1.0 };
            let blocks = 24 * batch / (length * inner);
            let x = |block: usize, step: usize, index: usize| inputs[0][(block * length + step) * inner + index];
            (0..blocks)
                .flat_map(|block| (0..inner).map(move |index| (block, index)))
                .map(|(block, index)| (0..length).map(|step| x(block, step, index)).sum::<f64>() * factor)
                .collect()
        })
    }
    vec![
        case("sum over the first axis", Reduction::Sum, 0),
        case("mean over the middle axis", Reduction::Mean, 1),
        case("sum over the last axis", Reduction::Sum, 2),
    ]
}
