//! Kernels of `elementwise` on the CPU.

use super::super::{Backward, CpuKernel, Forward, is_needed};
use super::Elementwise;
use crate::device::cpu::{exp_slice, log};

impl CpuKernel for Elementwise {
    fn forward(&self, pass: &mut Forward) {
        let output = &mut *pass.output;
        output.copy_from_slice(pass.inputs[0]);
        match *self {
            Self::Exp => exp_slice(output),
            Self::Log => output.iter_mut().for_each(|value| *value = log(*value)),
            Self::Abs => output.iter_mut().for_each(|value| *value = value.abs()),
            // Comparisons, because `clamp` panics on a bound that is NaN and `min` would hide one in x.
            Self::Clip { min, max } => output.iter_mut().for_each(|value| {
                if *value < min {
                    *value = min;
                } else if *value > max {
                    *value = max;
                }
            }),
        }
    }

    fn backward(&self, pass: &mut Backward) {
        if !is_needed(pass.input_grads[0]) {
            return;
        }
        let into = pass.input_grads[0].iter_mut().zip(pass.output_grad);
        if *self == Self::Exp {
            into.zip(pass.output).for_each(|((into, grad), output)| *into += grad * output);
            return;
        }
        let into = into.zip(pass.inputs[0]);
        match *self {
            Self::Exp => (),
            Self::Log => into.for_each(|((into, grad), x)| *into += grad / x),
            Self::Abs => into.for_each(|((into, grad), x)| {
                if *x > 0.0 {
                    *into += grad;
                } else if *x < 0.0 {
                    *into -= grad;
                }
            }),
            Self::Clip { min, max } => into.for_each(|((into, grad), x)| {
                if (min..=max).contains(x) {
                    *into += grad;
                }
            }),
        }
    }
}
