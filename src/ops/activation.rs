//! Functions of one number.

use super::cases::{Case, batched};
use super::{Backward, Forward, Op, Operand, Uses, arity, wanted};
use crate::device::cpu::{sigmoid_slice, tanh_slice};

/// A function that is applied to every number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// tanh x.
    Tanh,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
    /// max(x, 0).
    Relu,
    /// x where it is positive, else `slope` times x.
    LeakyRelu {
        /// The slope below 0.
        slope: f32,
    },
    /// x where it is positive, else eˣ − 1 (Clevert, Unterthiner and Hochreiter 2015, α = 1).
    Elu,
}

impl Activation {
    /// Applies it in place.
    pub(super) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Tanh => tanh_slice(values),
            Self::Sigmoid => sigmoid_slice(values),
            Self::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
            Self::LeakyRelu { slope } => {
                for value in values {
                    *value = if *value > 0.0 { *value } else { slope * *value };
                }
            }
            Self::Elu => values.iter_mut().for_each(|value| {
                if *value < 0.0 {
                    *value = value.exp_m1();
                }
            }),
        }
    }

    /// The derivative, by the value that it gave.
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

impl Op for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Elu => "elu",
        }
    }

    fn attributes(&self) -> String {
        match self {
            Self::LeakyRelu { slope } => format!("slope={slope}"),
            _ => String::new(),
        }
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        arity(operands, 1)?;
        Ok(operands[0].shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::OUTPUT
    }

    fn forward(&self, pass: &mut Forward) {
        pass.output.copy_from_slice(pass.inputs[0]);
        self.apply(pass.output);
    }

    fn backward(&self, pass: &mut Backward) {
        if wanted(pass.gradients[0]) {
            for ((into, from), output) in pass.gradients[0].iter_mut().zip(pass.gradient).zip(pass.output) {
                *into += from * self.derivative(*output);
            }
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    fn case(op: Activation, exact: fn(f64) -> f64) -> Case {
        Case::new(op.name(), op, vec![batched(&[4, 5])], move |inputs, _| inputs[0].iter().map(|x| exact(*x)).collect())
    }
    vec![
        case(Activation::Tanh, f64::tanh),
        case(Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        case(Activation::Relu, |x| x.max(0.0)),
        case(Activation::LeakyRelu { slope: 0.2 }, |x| if x > 0.0 { x } else { f64::from(0.2_f32) * x }),
        case(Activation::Elu, |x| if x > 0.0 { x } else { x.exp_m1() }),
    ]
}
