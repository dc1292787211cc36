//! Functions of one operand, applied to each element.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// A function that is applied to each element. Gradients at kinks are those of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elementwise {
    /// eˣ.
    Exp,
    /// The natural logarithm: minus infinity at 0, NaN below.
    Log,
    /// |x|; its gradient at 0 is 0.
    Abs,
    /// x, but at least `min` and at most `max`; the gradient passes from `min` to `max`, ends included.
    Clip {
        /// The lower bound; minus infinity for none.
        min: f32,
        /// The upper bound; infinity for none.
        max: f32,
    },
}

impl Rule for Elementwise {
    fn name(&self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Abs => "abs",
            Self::Clip { .. } => "clip",
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        match self {
            Self::Exp | Self::Log | Self::Abs => Vec::new(),
            Self::Clip { min, max } => {
                let bounds = [("min", *min), ("max", *max)].into_iter().filter(|(_, bound)| !bound.is_infinite());
                bounds.map(|(name, bound)| (name, Attribute::Real(bound))).collect()
            }
        }
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        if let Self::Clip { min, max } = self
            && (min.is_nan() || max.is_nan() || min > max || min.is_infinite() && max.is_infinite())
        {
            return Err(format!(
                "takes finite bounds min and max, or one of them, with min <= max, found {min} and {max}"
            ));
        }
        Ok(operands[0].shape.clone())
    }

    fn uses(&self) -> Uses {
        if *self == Self::Exp { Uses::OUTPUT } else { Uses::INPUTS }
    }
}

impl Named for Elementwise {
    const NAMES: &'static [&'static str] = &["abs", "clip", "exp", "log"];

    fn read(name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(match name {
            "exp" => Self::Exp,
            "log" => Self::Log,
            "abs" => Self::Abs,
            _ => {
                let mut bound = |name, none| if unread.has(name) { unread.real(name) } else { Ok(none) };
                Self::Clip { min: bound("min", f32::NEG_INFINITY)?, max: bound("max", f32::INFINITY)? }
            }
        })
    }
}
