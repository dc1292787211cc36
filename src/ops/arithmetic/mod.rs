//! Elementwise operations on two operands with broadcasting: over the leading axes that one operand lacks, and over the
//! samples for an operand that they share.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// An elementwise operation on two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// left + right.
    Add,
    /// left - right.
    Subtract,
    /// left · right.
    Multiply,
    /// left / right.
    Divide,
    /// The larger one; where both are equal, each gets half of the gradient, as in PyTorch.
    Maximum,
    /// The smaller one; gradients as for the larger one.
    Minimum,
}

impl Rule for Arithmetic {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
        }
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 2)?;
        let (left, right) = (&operands[0].shape, &operands[1].shape);
        let (long, short) = if left.len() >= right.len() { (left, right) } else { (right, left) };
        if !long.ends_with(short) {
            return Err(format!(
                "takes equal shapes, or one that equals the last axes of the other, found {left:?} and {right:?}"
            ));
        }
        Ok(long.clone())
    }

    fn uses(&self) -> Uses {
        match self {
            Self::Add | Self::Subtract => Uses::NOTHING,
            Self::Multiply | Self::Divide | Self::Maximum | Self::Minimum => Uses::INPUTS,
        }
    }
}

impl Named for Arithmetic {
    const NAMES: &'static [&'static str] = &["add", "divide", "maximum", "minimum", "multiply", "subtract"];

    fn read(name: &str, _unread: &mut Attributes) -> Result<Self, String> {
        Ok(match name {
            "add" => Self::Add,
            "multiply" => Self::Multiply,
            "divide" => Self::Divide,
            "maximum" => Self::Maximum,
            "minimum" => Self::Minimum,
            _ => Self::Subtract,
        })
    }
}
