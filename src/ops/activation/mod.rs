//! Activation functions, applied to each element.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

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

impl Rule for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Elu => "elu",
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        match self {
            Self::LeakyRelu { slope } => vec![("slope", Attribute::Real(*slope))],
            Self::Tanh | Self::Sigmoid | Self::Relu | Self::Elu => Vec::new(),
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
}

impl Named for Activation {
    const NAMES: &'static [&'static str] = &["elu", "leaky_relu", "relu", "sigmoid", "tanh"];

    fn read(name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(match name {
            "leaky_relu" => Self::LeakyRelu { slope: unread.real("slope")? },
            "elu" => Self::Elu,
            "relu" => Self::Relu,
            "sigmoid" => Self::Sigmoid,
            _ => Self::Tanh,
        })
    }
}
