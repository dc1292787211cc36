//! Kernels of `concat` on the CPU.

use super::super::{Backward, Call, CpuKernel, Forward, Operand, inner_size, is_needed};
use super::Concat;

impl Concat {
    /// Calls `body` for each contiguous block of each operand with the index of the operand, the start of the block in
    /// it, the start in the output, and the length.
    fn for_each_block(self, call: &Call, mut body: impl FnMut(usize, usize, usize, usize)) {
        let block_size = |x: &Operand| x.shape[self.axis] * inner_size(x, self.axis);
        let whole = block_size(call.output);
        let count = call.output.size(call.batch) / whole;
        for block in 0..count {
            let mut start = block * whole;
            for (operand, x) in call.operands.iter().enumerate() {
                let length = block_size(x);
                body(operand, block * length, start, length);
                start += length;
            }
        }
    }
}

impl CpuKernel for Concat {
    fn forward(&self, pass: &mut Forward) {
        let (inputs, output) = (pass.inputs, &mut *pass.output);
        self.for_each_block(&pass.call, |operand, from, to, length| {
            output[to..][..length].copy_from_slice(&inputs[operand][from..][..length]);
        });
    }

    fn backward(&self, pass: &mut Backward) {
        let (output_grad, input_grads) = (pass.output_grad, &mut *pass.input_grads);
        self.for_each_block(&pass.call, |operand, from, to, length| {
            if is_needed(input_grads[operand]) {
                let into = &mut input_grads[operand][from..][..length];
                into.iter_mut().zip(&output_grad[to..][..length]).for_each(|(into, from)| *into += from);
            }
        });
    }
}
