//! Concatenation along an axis.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses};

/// Concatenation of the operands along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Rule for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Index(self.axis))]
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        let Some(first) = operands.first() else { return Err("takes at least one operand, found none".to_owned()) };
        let mut out = first.shape.clone();
        if self.axis >= out.len() {
            return Err(format!("takes an axis below {}, found {}", out.len(), self.axis));
        }
        if operands.iter().any(|x| x.batched != first.batched) {
            return Err("takes operands that all depend on an input, or none of which does".to_owned());
        }
        out[self.axis] = 0;
        for x in operands {
            let mut rest = x.shape.clone();
            let length = rest.get(self.axis).copied().unwrap_or(0);
            if let Some(axis) = rest.get_mut(self.axis) {
                *axis = out[self.axis];
            }
            if rest != out {
                let shapes: Vec<&Vec<usize>> = operands.iter().map(|x| &x.shape).collect();
                return Err(format!("takes shapes that differ only in axis {}, found {shapes:?}", self.axis));
            }
            out[self.axis] += length;
        }
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }
}

impl Named for Concat {
    const NAMES: &'static [&'static str] = &["concat"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { axis: unread.index("axis")? })
    }
}
