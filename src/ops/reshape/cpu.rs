//! Kernels of `reshape` on the CPU.

use super::super::{Backward, CpuKernel, Forward};
use super::Reshape;

impl CpuKernel for Reshape {
    fn forward(&self, pass: &mut Forward) {
        pass.output.copy_from_slice(pass.inputs[0]);
    }

    fn backward(&self, pass: &mut Backward) {
        pass.input_grads[0].iter_mut().zip(pass.output_grad).for_each(|(into, from)| *into += from);
    }
}
