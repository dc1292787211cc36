//! Activation functions, applied to each element.

use super::{Backward, Forward, Op, Operand, Uses, check_operand_count, is_needed};
use crate::device::cpu::{negative_exp_m1_slice, sigmoid_slice, tanh_slice};

/// A function that is applied to each element.
///
/// The backward pass computes the derivative from the output, so that x need not be kept. A function with a kink at 0
/// must therefore be positive exactly where x is, which is why a negative slope is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// tanh x.
    Tanh,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
    /// max(x, 0).
    Relu,
    /// x if x > 0, else `slope` · x.
    LeakyRelu {
        /// The slope below 0; finite and at least 0.
        slope: f32,
    },
    /// x if x > 0, else eˣ − 1 (Clevert, Unterthiner and Hochreiter 2015, α = 1).
    Elu,
}

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
        check_operand_count(operands, 1)?;
        if let Self::LeakyRelu { slope } = self
            && !(slope.is_finite() && *slope >= 0.0)
        {
            return Err(format!("takes a finite slope of at least 0, found {slope}"));
        }
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
        if is_needed(pass.input_grads[0]) {
            for ((into, from), output) in pass.input_grads[0].iter_mut().zip(pass.output_grad).zip(pass.output) {
                *into += from * self.derivative(*output);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, batched};
    use super::Activation;

    pub(in crate::ops) fn all() -> Vec<Case> {
        fn case(name: &'static str, op: Activation, exact: impl Fn(f64) -> f64 + 'static) -> Case {
            Case::new(name, op, vec![batched(&[4, 5])], move |inputs, _| inputs[0].iter().map(|x| exact(*x)).collect())
        }
        fn leaky_relu(name: &'static str, slope: f32) -> Case {
            let exact = move |x| if x > 0.0 { x } else { f64::from(slope) * x };
            case(name, Activation::LeakyRelu { slope }, exact)
        }
        vec![
            case("tanh", Activation::Tanh, f64::tanh),
            case("sigmoid", Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
            case("relu", Activation::Relu, |x| x.max(0.0)),
            leaky_relu("leaky_relu, slope 0", 0.0),
            leaky_relu("leaky_relu, slope 0.2", 0.2),
            leaky_relu("leaky_relu, slope above 1", 1.5),
            case("elu", Activation::Elu, |x| if x > 0.0 { x } else { x.exp_m1() }),
        ]
    }
}
