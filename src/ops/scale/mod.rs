//! Products and sums with constants.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// `factor` · x + `offset`, elementwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The factor; finite.
    pub factor: f32,
    /// The offset; finite.
    pub offset: f32,
}

impl Rule for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("factor", Attribute::Real(self.factor)), ("offset", Attribute::Real(self.offset))]
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        if !(self.factor.is_finite() && self.offset.is_finite()) {
            return Err(format!("takes a finite factor and offset, found {} and {}", self.factor, self.offset));
        }
        Ok(operands[0].shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }
}

impl Named for Scale {
    const NAMES: &'static [&'static str] = &["scale"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { factor: unread.real("factor")?, offset: unread.real("offset")? })
    }
}
