//! Kernels of `conv1d` on the CPU: the rows that each output reads are laid side by side, one sequence at a time, and the
//! rest is a product of matrices.

use super::super::{Backward, Call, CpuKernel, Forward, Operand, Workspace, is_needed};
use super::Conv1d;
use crate::device::cpu::{Matrix, product};

/// Sizes of a call.
struct Sizes {
    sequences: usize,
    steps: usize,
    channels: usize,
    kernel: usize,
    outputs: usize,
    filters: usize,
}

impl Sizes {
    fn new(operands: &[Operand], output: &Operand, batch: usize) -> Self {
        let (x, weights) = (&operands[0].shape, &operands[1].shape);
        let (steps, channels) = (x[x.len() - 2], x[x.len() - 1]);
        let outputs = output.shape[output.shape.len() - 2];
        let sequences = operands[0].size(batch) / (steps * channels);
        Self { sequences, steps, channels, kernel: weights[2], outputs, filters: weights[0] }
    }

    /// Elements that one output reads.
    fn patch(&self) -> usize {
        self.channels * self.kernel
    }
}

impl Conv1d {
    fn sizes(call: &Call) -> Sizes {
        Sizes::new(call.operands, call.output, call.batch)
    }

    /// Calls `body` with the row of x, or `None` where it is a zero before x, and the position in the kernel, for each
    /// output and position.
    fn for_each_row(self, sizes: &Sizes, mut body: impl FnMut(usize, usize, Option<usize>)) {
        let padding = self.padding(sizes.kernel);
        for output in 0..sizes.outputs {
            for position in 0..sizes.kernel {
                let row = (output * self.stride + position * self.dilation).checked_sub(padding);
                body(output, position, row.filter(|row| *row < sizes.steps));
            }
        }
    }

    /// Lays out what each output reads, `[outputs, channels, kernel]`.
    fn unfold(self, sizes: &Sizes, x: &[f32], patches: &mut [f32]) {
        self.for_each_row(sizes, |output, position, row| {
            let patch = &mut patches[output * sizes.patch()..][..sizes.patch()];
            for (channel, into) in patch[position..].iter_mut().step_by(sizes.kernel).enumerate() {
                *into = row.map_or(0.0, |row| x[row * sizes.channels + channel]);
            }
        });
    }
}

impl CpuKernel for Conv1d {
    fn workspace(&self, operands: &[Operand], output: &Operand, batch: usize) -> Workspace {
        let sizes = Sizes::new(operands, output, batch);
        let patches = sizes.outputs * sizes.patch();
        Workspace { saved: 0, forward: patches, backward: 2 * patches }
    }

    fn forward(&self, pass: &mut Forward) {
        let sizes = Self::sizes(&pass.call);
        let weights = Matrix::new(pass.inputs[1], sizes.filters, sizes.patch()).transposed();
        let (of_x, of_output) = (sizes.steps * sizes.channels, sizes.outputs * sizes.filters);
        let sequences = pass.inputs[0].chunks_exact(of_x).zip(pass.output.chunks_exact_mut(of_output));
        for (x, output) in sequences {
            let patches = &mut pass.scratch[..sizes.outputs * sizes.patch()];
            self.unfold(&sizes, x, patches);
            output.chunks_exact_mut(sizes.filters).for_each(|row| row.copy_from_slice(pass.inputs[2]));
            product(Matrix::new(patches, sizes.outputs, sizes.patch()), weights, 1.0, output, sizes.filters);
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let sizes = Self::sizes(&pass.call);
        let (of_x, of_output) = (sizes.steps * sizes.channels, sizes.outputs * sizes.filters);
        let [x_grad, weight_grad, bias_grad, ..] = &mut *pass.input_grads else { return };
        let (patches, gradients) = pass.scratch.split_at_mut(sizes.outputs * sizes.patch());
        for sequence in 0..sizes.sequences {
            let output_grad = &pass.output_grad[sequence * of_output..][..of_output];
            let grads = Matrix::new(output_grad, sizes.outputs, sizes.filters);
            if is_needed(weight_grad) {
                self.unfold(&sizes, &pass.inputs[0][sequence * of_x..][..of_x], patches);
                let patches = Matrix::new(patches, sizes.outputs, sizes.patch());
                product(grads.transposed(), patches, 1.0, weight_grad, sizes.patch());
            }
            if is_needed(bias_grad) {
                for row in output_grad.chunks_exact(sizes.filters) {
                    bias_grad.iter_mut().zip(row).for_each(|(into, grad)| *into += grad);
                }
            }
            if is_needed(x_grad) {
                let gradients = &mut gradients[..sizes.outputs * sizes.patch()];
                let weights = Matrix::new(pass.inputs[1], sizes.filters, sizes.patch());
                product(grads, weights, 0.0, gradients, sizes.patch());
                let x_grad = &mut x_grad[sequence * of_x..][..of_x];
                self.for_each_row(&sizes, |output, position, row| {
                    let Some(row) = row else { return };
                    let patch = &gradients[output * sizes.patch()..][..sizes.patch()];
                    let into = x_grad[row * sizes.channels..][..sizes.channels].iter_mut();
                    into.zip(patch[position..].iter().step_by(sizes.kernel)).for_each(|(into, grad)| *into += grad);
                });
            }
        }
    }
}
