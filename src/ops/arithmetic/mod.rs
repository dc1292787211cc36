//! Elementwise addition, subtraction and multiplication with broadcasting: over the leading axes that one operand
//! lacks, and over the samples for an operand that they share. Scaling by constants.

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
}

impl Rule for Arithmetic {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
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
        if *self == Self::Multiply { Uses::INPUTS } else { Uses::NOTHING }
    }
}

impl Named for Arithmetic {
    const NAMES: &'static [&'static str] = &["add", "multiply", "subtract"];

    fn read(name: &str, _unread: &mut Attributes) -> Result<Self, String> {
        Ok(match name {
            "add" => Self::Add,
            "multiply" => Self::Multiply,
            _ => Self::Subtract,
        })
    }
}
