//! Kernels of `slice` on the CPU.

use super::super::{Backward, CpuKernel, Forward, inner_size};
use super::Slice;

impl CpuKernel for Slice {
    fn forward(&self, pass: &mut Forward) {
        let inner = inner_size(&pass.call.operands[0], self.axis);
        let (block, part) = (pass.call.operands[0].shape[self.axis] * inner, self.length * inner);
        for (out, from) in pass.output.chunks_exact_mut(part).zip(pass.inputs[0].chunks_exact(block)) {
            out.copy_from_slice(&from[self.start * inner..][..part]);
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let inner = inner_size(&pass.call.operands[0], self.axis);
        let (block, part) = (pass.call.operands[0].shape[self.axis] * inner, self.length * inner);
        for (into, from) in pass.input_grads[0].chunks_exact_mut(block).zip(pass.output_grad.chunks_exact(part)) {
            into[self.start * inner..][..part].iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
    }
}
