//! Kernels of `transpose` on the CPU.

use super::super::{Backward, Call, CpuKernel, Forward, is_needed};
use super::{MOST_AXES, Transpose};

impl Transpose {
    /// Calls `body` with the indices into output and x of each element, sample by sample.
    fn for_each_element(&self, call: &Call, mut body: impl FnMut(usize, usize)) {
        let x = &call.operands[0];
        let mut strides = [1; MOST_AXES];
        for axis in (1..x.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * x.shape[axis];
        }
        let (count, samples) = (x.count(), if x.batched { call.batch } else { 1 });
        let mut index = [0; MOST_AXES];
        let index = &mut index[..self.order.len()];
        for sample in 0..samples {
            index.fill(0);
            for out in 0..count {
                let from: usize = index.iter().zip(&self.order).map(|(index, axis)| index * strides[*axis]).sum();
                body(sample * count + out, sample * count + from);
                for axis in (0..index.len()).rev() {
                    index[axis] += 1;
                    if index[axis] < call.output.shape[axis] {
                        break;
                    }
                    index[axis] = 0;
                }
            }
        }
    }
}

impl CpuKernel for Transpose {
    fn forward(&self, pass: &mut Forward) {
        let (x, output) = (pass.inputs[0], &mut *pass.output);
        self.for_each_element(&pass.call, |out, from| output[out] = x[from]);
    }

    fn backward(&self, pass: &mut Backward) {
        let (output_grad, into) = (pass.output_grad, &mut *pass.input_grads[0]);
        if is_needed(into) {
            self.for_each_element(&pass.call, |out, from| into[from] += output_grad[out]);
        }
    }
}
