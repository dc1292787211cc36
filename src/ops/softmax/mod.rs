//! Softmax over the last axis, with an optional mask.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attributes, Named, Operand, Rule, Uses};

/// Softmax. Operands: x `[…, n]`, and optionally a mask of the shape of x or `[n]`. Elements whose mask is 0 are
/// excluded and get exactly 0; a row without other elements is all 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax;

impl Rule for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        let (Some(x), true) = (operands.first(), operands.len() <= 2) else {
            return Err(format!("takes x and optionally a mask, found {} operands", operands.len()));
        };
        if x.shape.is_empty() {
            return Err("takes x with at least one axis, found a scalar".to_owned());
        }
        if let Some(mask) = operands.get(1)
            && (mask.shape != x.shape && mask.shape != x.shape[x.shape.len() - 1..] || mask.batched && !x.batched)
        {
            return Err(format!(
                "takes a mask of the shape of x or of its last axis, found {:?} for {:?}",
                mask.shape, x.shape
            ));
        }
        Ok(x.shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::OUTPUT
    }
}

impl Named for Softmax {
    const NAMES: &'static [&'static str] = &["softmax"];

    fn read(_name: &str, _unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self)
    }
}
