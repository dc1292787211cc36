//! Kernels of `scale` on the CPU.

use super::super::{Backward, CpuKernel, Forward};
use super::Scale;

impl CpuKernel for Scale {
    fn forward(&self, pass: &mut Forward) {
        for (out, value) in pass.output.iter_mut().zip(pass.inputs[0]) {
            *out = value * self.factor + self.offset;
        }
    }

    fn backward(&self, pass: &mut Backward) {
        for (into, from) in pass.input_grads[0].iter_mut().zip(pass.output_grad) {
            *into += from * self.factor;
        }
    }
}
