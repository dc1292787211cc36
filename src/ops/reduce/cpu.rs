//! Kernels of `reduce` on the CPU.

use super::super::{Backward, CpuKernel, Forward, Operand, is_needed};
use super::{Reduce, Reduction};

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

impl CpuKernel for Reduce {
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
