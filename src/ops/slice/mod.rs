//! A range of indices of one axis.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// A range of indices of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The axis.
    pub axis: usize,
    /// First index.
    pub start: usize,
    /// Length of the range; at least 1.
    pub length: usize,
}

impl Rule for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("axis", Attribute::Index(self.axis)),
            ("start", Attribute::Index(self.start)),
            ("length", Attribute::Index(self.length)),
        ]
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        let mut out = operands[0].shape.clone();
        let is_inside = out.get(self.axis).is_some_and(|length| {
            self.length > 0 && self.start.checked_add(self.length).is_some_and(|end| end <= *length)
        });
        if !is_inside {
            return Err(format!(
                "has length={} from start={} on axis {} of {out:?}; allowed are at least one element, all inside the axis",
                self.length, self.start, self.axis
            ));
        }
        out[self.axis] = self.length;
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }
}

impl Named for Slice {
    const NAMES: &'static [&'static str] = &["slice"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { axis: unread.index("axis")?, start: unread.index("start")?, length: unread.index("length")? })
    }
}
