//! Sums and means over one axis.

use super::{Backward, Forward, Op, Operand, Uses, check_operand_count, is_needed};

/// How the elements along an axis are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// To their sum.
    Sum,
    /// To their mean.
    Mean,
}

/// Reduces one axis and removes it from the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reduce {
    /// Sum or mean.
    pub kind: Reduction,
    /// The axis.
    pub axis: usize,
}

impl Reduce {
    /// Length of the reduced axis, and the product of the axes after it.
    fn layout(self, x: &Operand) -> (usize, usize) {
        (x.shape[self.axis], x.shape[self.axis + 1..].iter().product())
    }

    /// What a sum is multiplied by: 1, or 1/length for a mean.
    fn factor(self, length: usize) -> f32 {
        if self.kind == Reduction::Mean { 1.0 / length as f32 } else { 1.0 }
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        if self.kind == Reduction::Sum { "sum" } else { "mean" }
    }

    fn attributes(&self) -> String {
        format!("axis={}", self.axis)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        let mut out = operands[0].shape.clone();
        if self.axis >= out.len() {
            return Err(format!("takes an axis below {}, found {}", out.len(), self.axis));
        }
        out.remove(self.axis);
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        let (length, inner) = self.layout(&pass.call.operands[0]);
        let factor = self.factor(length);
        for (out, x) in pass.output.chunks_exact_mut(inner).zip(pass.inputs[0].chunks_exact(length * inner)) {
            out.fill(0.0);
            for line in x.chunks_exact(inner) {
                out.iter_mut().zip(line).for_each(|(out, value)| *out += value);
            }
            for out in out {
                *out *= factor;
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        if !is_needed(pass.input_grads[0]) {
            return;
        }
        let (length, inner) = self.layout(&pass.call.operands[0]);
        let factor = self.factor(length);
        let blocks = pass.input_grads[0].chunks_exact_mut(length * inner).zip(pass.output_grad.chunks_exact(inner));
        for (into, from) in blocks {
            for line in into.chunks_exact_mut(inner) {
                line.iter_mut().zip(from).for_each(|(into, from)| *into += from * factor);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, batched};
    use super::{Reduce, Reduction};

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
}
