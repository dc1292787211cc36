//! Sums and means over one axis.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// How the elements along an axis are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// To their sum.
    Sum,
    /// To their mean.
    Mean,
}

/// Reduces one axis and removes it from the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// Sum or mean.
    pub kind: Reduction,
    /// The axis.
    pub axis: usize,
}

impl Rule for Reduce {
    fn name(&self) -> &'static str {
        if self.kind == Reduction::Sum { "sum" } else { "mean" }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Index(self.axis))]
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        let mut out = operands[0].shape.clone();
        if self.axis >= out.len() {
            return Err(format!("takes an axis below {}, found {}", out.len(), self.axis));
        }
        out.remove(self.axis);
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }
}

impl Named for Reduce {
    const NAMES: &'static [&'static str] = &["mean", "sum"];

    fn read(name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { kind: if name == "sum" { Reduction::Sum } else { Reduction::Mean }, axis: unread.index("axis")? })
    }
}
