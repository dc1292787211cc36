//! A permutation of the axes.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// Most axes of an operand; an index of this length lies on the stack.
const MOST_AXES: usize = 8;

/// A permutation of the axes: axis i of the output is axis `order[i]` of x.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// A permutation of the axes of x.
    pub order: Vec<usize>,
}

impl Rule for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("order", Attribute::List(self.order.clone()))]
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        let shape = &operands[0].shape;
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if shape.len() > MOST_AXES {
            return Err(format!("takes at most {MOST_AXES} axes, found {shape:?}"));
        }
        if sorted != (0..shape.len()).collect::<Vec<_>>() {
            return Err(format!(
                "takes a permutation of the {} axes of {shape:?}, found {:?}",
                shape.len(),
                self.order
            ));
        }
        Ok(self.order.iter().map(|&axis| shape[axis]).collect())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }
}

impl Named for Transpose {
    const NAMES: &'static [&'static str] = &["transpose"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { order: unread.list("order")? })
    }
}
