//! A linear layer over the last axis, y = x Wᵀ + b, with PyTorch's layout of W, `[outputs, inputs]`.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// A linear layer, `[…, outputs]`. Operands: x `[…, inputs]`, and shared W `[outputs, inputs]` and b `[outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear;

impl Rule for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 3)?;
        let (x, weight, bias) = (&operands[0], &operands[1], &operands[2]);
        if weight.batched || bias.batched {
            return Err("takes weights and a bias that do not depend on an input".to_owned());
        }
        let agree = x.shape.last().is_some_and(|last| weight.shape.len() == 2 && weight.shape[1] == *last)
            && bias.shape == weight.shape[..1];
        if !agree {
            return Err(format!(
                "takes x […, inputs], weights [outputs, inputs] and bias [outputs], found {:?}, {:?} and {:?}",
                x.shape, weight.shape, bias.shape
            ));
        }
        let mut out = x.shape.clone();
        out.pop();
        out.push(weight.shape[0]);
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::of([0, 1])
    }
}

impl Named for Linear {
    const NAMES: &'static [&'static str] = &["linear"];

    fn read(_name: &str, _unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self)
    }
}
