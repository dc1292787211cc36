//! Products of matrices, sample by sample, over the last two axes; the axes before are a stack of matrices.

use super::cases::{Case, CaseValues, batched, shared};
use super::{Backward, Forward, Op, Operand, Uses, arity, wanted};
use crate::device::cpu::{Matrix, product};

/// left `[…, rows, inner]` · right `[…, inner, columns]`; with `transpose_right`, right is `[…, columns, inner]`. The stacks
/// are equal, or right has none and is used for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatMul {
    /// Whether right's last two axes are taken the other way round.
    pub transpose_right: bool,
}

/// Sizes of one product, and how far the operands lie apart from one product to the next.
struct Stack {
    count: usize,
    rows: usize,
    inner: usize,
    columns: usize,
    right_step: usize,
}

impl MatMul {
    fn stack(call: &super::Call) -> Stack {
        let (left, right) = (&call.operands[0], &call.operands[1]);
        let axes = left.shape.len();
        let (rows, inner) = (left.shape[axes - 2], left.shape[axes - 1]);
        let columns = call.output.last();
        let count = call.output.size(call.batch) / (rows * columns);
        // One matrix for all; or one for each of a sample's stack, the same for every sample.
        let right_step = if right.shape.len() == 2 && !right.batched { 0 } else { inner * columns };
        Stack { count, rows, inner, columns, right_step }
    }

    fn right<'a>(self, data: &'a [f32], stack: &Stack, place: usize) -> Matrix<'a> {
        let data = &data[Self::right_at(data.len(), stack, place)..];
        if self.transpose_right {
            Matrix::new(data, stack.columns, stack.inner).transposed()
        } else {
            Matrix::new(data, stack.inner, stack.columns)
        }
    }

    /// Where the right matrix of a product begins: operands that hold fewer than there are products are repeated.
    fn right_at(length: usize, stack: &Stack, place: usize) -> usize {
        if stack.right_step == 0 { 0 } else { (place * stack.right_step) % length }
    }
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn attributes(&self) -> String {
        if self.transpose_right { "transpose_right=true".to_owned() } else { String::new() }
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        arity(operands, 2)?;
        let (left, right) = (&operands[0], &operands[1]);
        let told = || {
            format!(
                "takes left […, rows, inner] and right {}, stacks alike or none at right, found {:?} and {:?}",
                if self.transpose_right { "[…, columns, inner]" } else { "[…, inner, columns]" },
                left.shape,
                right.shape
            )
        };
        let (axes, right_axes) = (left.shape.len(), right.shape.len());
        if axes < 2 || right_axes < 2 || (right.batched && !left.batched) {
            return Err(told());
        }
        let (inner, columns) = if self.transpose_right {
            (right.shape[right_axes - 1], right.shape[right_axes - 2])
        } else {
            (right.shape[right_axes - 2], right.shape[right_axes - 1])
        };
        let stacks_agree =
            left.shape[..axes - 2] == right.shape[..right_axes - 2] || (right_axes == 2 && !right.batched);
        if inner != left.shape[axes - 1] || !stacks_agree {
            return Err(told());
        }
        let mut out = left.shape.clone();
        out[axes - 1] = columns;
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::INPUTS
    }

    fn forward(&self, pass: &mut Forward) {
        let stack = Self::stack(&pass.call);
        for (place, out) in pass.output.chunks_exact_mut(stack.rows * stack.columns).enumerate() {
            let left = &pass.inputs[0][place * stack.rows * stack.inner..];
            let left = Matrix::new(left, stack.rows, stack.inner);
            product(left, self.right(pass.inputs[1], &stack, place), 0.0, out, stack.columns);
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let stack = Self::stack(&pass.call);
        let (rows, inner, columns) = (stack.rows, stack.inner, stack.columns);
        for place in 0..stack.count {
            let gradient = Matrix::new(&pass.gradient[place * rows * columns..], rows, columns);
            if wanted(pass.gradients[0]) {
                let right = self.right(pass.inputs[1], &stack, place).transposed();
                product(gradient, right, 1.0, &mut pass.gradients[0][place * rows * inner..], inner);
            }
            if wanted(pass.gradients[1]) {
                let left = Matrix::new(&pass.inputs[0][place * rows * inner..], rows, inner);
                let at = Self::right_at(pass.gradients[1].len(), &stack, place);
                let into = &mut pass.gradients[1][at..];
                if self.transpose_right {
                    product(gradient.transposed(), left, 1.0, into, inner);
                } else {
                    product(left.transposed(), gradient, 1.0, into, columns);
                }
            }
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    // left [2, 3, 4]; right [2, 4, 5] or [2, 5, 4], or without a stack.
    fn case(name: &'static str, transpose_right: bool, right: (Operand, CaseValues)) -> Case {
        let repeats = right.0.shape.len() == 2;
        let own = right.0.batched;
        Case::new(name, MatMul { transpose_right }, vec![batched(&[2, 3, 4]), right], move |inputs, batch| {
            let mut out = Vec::new();
            for stack in 0..2 * batch {
                let at = if repeats { 0 } else { (if own { stack } else { stack % 2 }) * 20 };
                for row in 0..3 {
                    for column in 0..5 {
                        let place = |k: usize| at + if transpose_right { column * 4 + k } else { k * 5 + column };
                        let left = |k: usize| inputs[0][(stack * 3 + row) * 4 + k];
                        out.push((0..4).map(|k| left(k) * inputs[1][place(k)]).sum());
                    }
                }
            }
            out
        })
    }
    vec![
        case("stacks", false, batched(&[2, 4, 5])),
        case("stacks, right turned", true, batched(&[2, 5, 4])),
        case("one right for all", false, shared(&[4, 5])),
        case("a stack of rights for all samples, turned", true, shared(&[2, 5, 4])),
    ]
}
