//! Dropout (Srivastava et al. 2014): in training, each element becomes 0 with some probability and the others are
//! scaled up to keep the mean. The mask is a function of seed, op, step and index in the whole batch.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// Drops each element with probability `share`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability; at least 0 and below 1.
    pub share: f32,
}

impl Rule for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("share", Attribute::Real(self.share))]
    }

    fn scalar(&self) -> Option<(&'static str, f32)> {
        Some(("share", self.share))
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        if !(0.0..1.0).contains(&self.share) {
            return Err(format!("takes a share from 0 to below 1, found {}", self.share));
        }
        Ok(operands[0].shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }
}

impl Named for Dropout {
    const NAMES: &'static [&'static str] = &["dropout"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { share: unread.real("share")? })
    }
}
