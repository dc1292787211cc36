//! Matrix products per sample over the last two axes; the leading axes are a stack of matrices.

#[cfg(test)]
pub(super) mod cases;
mod cpu;

use super::{Attribute, Attributes, Named, Operand, Rule, Uses, check_operand_count};

/// left `[…, rows, inner]` · right `[…, inner, columns]`; with `transpose_right`, right is `[…, columns, inner]`. The
/// leading axes are equal, or right has none and is used for every left matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatMul {
    /// Whether the last two axes of right are swapped.
    pub transpose_right: bool,
}

impl Rule for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        if self.transpose_right { vec![("transpose_right", Attribute::Flag(true))] } else { Vec::new() }
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 2)?;
        let (left, right) = (&operands[0], &operands[1]);
        let error = || {
            format!(
                "takes left […, rows, inner] and right {}, with equal leading axes or none at right, found {:?} and \
                 {:?}",
                if self.transpose_right { "[…, columns, inner]" } else { "[…, inner, columns]" },
                left.shape,
                right.shape
            )
        };
        let (axes, right_axes) = (left.shape.len(), right.shape.len());
        if axes < 2 || right_axes < 2 || (right.batched && !left.batched) {
            return Err(error());
        }
        let (inner, columns) = if self.transpose_right {
            (right.shape[right_axes - 1], right.shape[right_axes - 2])
        } else {
            (right.shape[right_axes - 2], right.shape[right_axes - 1])
        };
        let stacks_agree =
            left.shape[..axes - 2] == right.shape[..right_axes - 2] || (right_axes == 2 && !right.batched);
        if inner != left.shape[axes - 1] || !stacks_agree {
            return Err(error());
        }
        let mut out = left.shape.clone();
        out[axes - 1] = columns;
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::INPUTS
    }
}

impl Named for MatMul {
    const NAMES: &'static [&'static str] = &["matmul"];

    fn read(_name: &str, unread: &mut Attributes) -> Result<Self, String> {
        Ok(Self { transpose_right: unread.flag("transpose_right")? })
    }
}
