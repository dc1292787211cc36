//! Layer normalisation (Ba, Kiros and Hinton 2016): each row of the last axis is standardised to mean 0 and variance 1,
//! then scaled and shifted by learned parameters.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// Layer normalisation. Operands: x `[…, n]`, shared scale `[n]` and shift `[n]`. As in PyTorch, the variance divides
/// by n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance, so that a constant row stays finite; finite and above 0.
    pub epsilon: f32,
}

impl Rule for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("epsilon", Attribute::Real(self.epsilon))]
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 3)?;
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(format!("takes a finite epsilon above 0, found {}", self.epsilon));
        }
        let (x, scale, shift) = (&operands[0], &operands[1], &operands[2]);
        let last = x.shape.last().map(std::slice::from_ref);
        if scale.batched || shift.batched || last != Some(scale.shape.as_slice()) || scale.shape != shift.shape {
            return Err(format!(
                "takes x […, n] with a shared scale [n] and shift [n], found {:?}, {:?} and {:?}",
                x.shape, scale.shape, shift.shape
            ));
        }
        Ok(x.shape.clone())
    }

    fn single_precision_parameters(&self) -> bool {
        true
    }

    fn uses(&self) -> Uses {
        Uses::of([0, 1])
    }
}

impl Named for LayerNorm {
    const NAMES: &'static [&'static str] = &["layer_norm"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { epsilon: unread.real("epsilon")? })
    }
}
