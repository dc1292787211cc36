//! Kernels of `activation` on the CPU.

use super::super::{Backward, CpuKernel, Forward, is_needed};
use super::Activation;
use crate::device::cpu::{negative_exp_m1_slice, sigmoid_slice, tanh_slice};

impl Activation {
    /// Applies the function in place.
    pub(super) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Tanh => tanh_slice(values),
            Self::Sigmoid => sigmoid_slice(values),
            // Not `max`, which would hide NaN.
            Self::Relu => values.iter_mut().for_each(|value| *value = if *value < 0.0 { 0.0 } else { *value }),
            Self::LeakyRelu { slope } => {
                for value in values {
                    *value = if *value > 0.0 { *value } else { slope * *value };
                }
            }
            Self::Elu => negative_exp_m1_slice(values),
        }
    }

    /// The derivative, as a function of the output.
    pub(super) fn derivative(self, output: f32) -> f32 {
        match self {
            Self::Tanh => 1.0 - output * output,
            Self::Sigmoid => output * (1.0 - output),
            Self::Relu => f32::from(u8::from(output > 0.0)),
            Self::LeakyRelu { slope } => {
                if output > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Self::Elu => {
                if output > 0.0 {
                    1.0
                } else {
                    output + 1.0
                }
            }
        }
    }
}

impl CpuKernel for Activation {
    fn forward(&self, pass: &mut Forward) {
        pass.output.copy_from_slice(pass.inputs[0]);
        self.apply(pass.output);
    }

    fn backward(&self, pass: &mut Backward) {
        if is_needed(pass.input_grads[0]) {
            for ((into, from), output) in pass.input_grads[0].iter_mut().zip(pass.output_grad).zip(pass.output) {
                *into += from * self.derivative(*output);
            }
        }
    }
}
