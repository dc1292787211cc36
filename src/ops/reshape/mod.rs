//! The same elements in another shape.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// The same elements in another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// The new shape of one sample.
    pub shape: Vec<usize>,
}

impl Rule for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("shape", Attribute::List(self.shape.clone()))]
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        let count = self.shape.iter().try_fold(1_usize, |all, axis| all.checked_mul(*axis));
        if count != Some(operands[0].count()) {
            return Err(format!(
                "cannot make {:?} of the {} elements of {:?}",
                self.shape,
                operands[0].count(),
                operands[0].shape
            ));
        }
        Ok(self.shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }
}

impl Named for Reshape {
    const NAMES: &'static [&'static str] = &["reshape"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { shape: unread.list("shape")? })
    }
}
