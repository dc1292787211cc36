//! Sums and means over one axis.

use super::cases::{Case, batched};
use super::{Backward, Forward, Op, Operand, Uses, arity, wanted};

/// What is made of the numbers along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
}

/// Reduces one axis, which goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// Sum or mean.
    pub kind: Reduction,
    /// The axis.
    pub axis: usize,
}

impl Reduce {
    /// Length of the axis, and how many numbers lie behind each of its places.
    fn layout(self, x: &Operand) -> (usize, usize) {
        (x.shape[self.axis], x.shape[self.axis + 1..].iter().product())
    }

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
        arity(operands, 1)?;
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
        let (length, behind) = self.layout(&pass.call.operands[0]);
        let factor = self.factor(length);
        for (out, x) in pass.output.chunks_exact_mut(behind).zip(pass.inputs[0].chunks_exact(length * behind)) {
            out.fill(0.0);
            for line in x.chunks_exact(behind) {
                out.iter_mut().zip(line).for_each(|(out, value)| *out += value);
            }
            for out in out {
                *out *= factor;
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let (length, behind) = self.layout(&pass.call.operands[0]);
        let factor = self.factor(length);
        if !wanted(pass.gradients[0]) {
            return;
        }
        let blocks = pass.gradients[0].chunks_exact_mut(length * behind).zip(pass.gradient.chunks_exact(behind));
        for (into, from) in blocks {
            for line in into.chunks_exact_mut(behind) {
                line.iter_mut().zip(from).for_each(|(into, from)| *into += from * factor);
            }
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    fn case(name: &'static str, kind: Reduction, axis: usize) -> Case {
        let shape = [2_usize, 3, 4];
        Case::new(name, Reduce { kind, axis }, vec![batched(&shape)], move |inputs, batch| {
            let behind: usize = shape[axis + 1..].iter().product();
            let length = shape[axis];
            let factor = if kind == Reduction::Mean { 1.0 / length as f64 } else { 1.0 };
            let blocks = 24 * batch / (length * behind);
            let at = |block: usize, step: usize, place: usize| inputs[0][(block * length + step) * behind + place];
            (0..blocks)
                .flat_map(|block| (0..behind).map(move |place| (block, place)))
                .map(|(block, place)| (0..length).map(|step| at(block, step, place)).sum::<f64>() * factor)
                .collect()
        })
    }
    vec![
        case("sum over the first axis", Reduction::Sum, 0),
        case("mean over the middle axis", Reduction::Mean, 1),
        case("sum over the last axis", Reduction::Sum, 2),
    ]
}
