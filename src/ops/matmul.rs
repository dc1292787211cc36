//! Matrix products per sample over the last two axes; the leading axes are a stack of matrices.

use super::{Backward, Forward, Op, Operand, Uses, check_operand_count, is_needed};
use crate::device::cpu::{Matrix, product};

/// left `[…, rows, inner]` · right `[…, inner, columns]`; with `transpose_right`, right is `[…, columns, inner]`. The
/// leading axes are equal, or right has none and is used for every left matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MatMul {
    /// Whether the last two axes of right are swapped.
    pub transpose_right: bool,
}

/// The products of a call.
struct Stack {
    /// Products.
    count: usize,
    rows: usize,
    inner: usize,
    columns: usize,
    /// Distance between the right matrices of consecutive products; 0 if there is one for all.
    right_stride: usize,
}

impl MatMul {
    fn stack(call: &super::Call) -> Stack {
        let (left, right) = (&call.operands[0], &call.operands[1]);
        let axes = left.shape.len();
        let (rows, inner) = (left.shape[axes - 2], left.shape[axes - 1]);
        let columns = call.output.last_axis();
        let count = call.output.size(call.batch) / (rows * columns);
        let right_stride = if right.shape.len() == 2 && !right.batched { 0 } else { inner * columns };
        Stack { count, rows, inner, columns, right_stride }
    }

    fn right<'a>(self, data: &'a [f32], stack: &Stack, index: usize) -> Matrix<'a> {
        let data = &data[Self::right_start(data.len(), stack, index)..];
        if self.transpose_right {
            Matrix::new(data, stack.columns, stack.inner).transposed()
        } else {
            Matrix::new(data, stack.inner, stack.columns)
        }
    }

    /// Start of the right matrix of a product. A stack that all samples share is repeated for each of them.
    fn right_start(length: usize, stack: &Stack, index: usize) -> usize {
        if stack.right_stride == 0 { 0 } else { (index * stack.right_stride) % length }
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

    fn forward(&self, pass: &mut Forward) {
        let stack = Self::stack(&pass.call);
        for (index, out) in pass.output.chunks_exact_mut(stack.rows * stack.columns).enumerate() {
            let left = &pass.inputs[0][index * stack.rows * stack.inner..];
            let left = Matrix::new(left, stack.rows, stack.inner);
            product(left, self.right(pass.inputs[1], &stack, index), 0.0, out, stack.columns);
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let stack = Self::stack(&pass.call);
        let (rows, inner, columns) = (stack.rows, stack.inner, stack.columns);
        for index in 0..stack.count {
            let output_grad = Matrix::new(&pass.output_grad[index * rows * columns..], rows, columns);
            if is_needed(pass.input_grads[0]) {
                let right = self.right(pass.inputs[1], &stack, index).transposed();
                product(output_grad, right, 1.0, &mut pass.input_grads[0][index * rows * inner..], inner);
            }
            if is_needed(pass.input_grads[1]) {
                let left = Matrix::new(&pass.inputs[0][index * rows * inner..], rows, inner);
                let start = Self::right_start(pass.input_grads[1].len(), &stack, index);
                let into = &mut pass.input_grads[1][start..];
                if self.transpose_right {
                    product(output_grad.transposed(), left, 1.0, into, inner);
                } else {
                    product(left.transposed(), output_grad, 1.0, into, columns);
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, CaseValues, batched, shared};
    use super::{MatMul, Operand};

    pub(in crate::ops) fn all() -> Vec<Case> {
        // left [2, 3, 4]; right [2, 4, 5] or [2, 5, 4], or without the leading axis.
        fn case(name: &'static str, transpose_right: bool, right: (Operand, CaseValues)) -> Case {
            let (has_stack, is_batched) = (right.0.shape.len() == 3, right.0.batched);
            Case::new(name, MatMul { transpose_right }, vec![batched(&[2, 3, 4]), right], move |inputs, batch| {
                let mut out = Vec::new();
                for stack in 0..2 * batch {
                    let start = 20
                        * if !has_stack {
                            0
                        } else if is_batched {
                            stack
                        } else {
                            stack % 2
                        };
                    for row in 0..3 {
                        for column in 0..5 {
                            let left = |k: usize| inputs[0][(stack * 3 + row) * 4 + k];
                            let right = |k: usize| {
                                inputs[1][start + if transpose_right { column * 4 + k } else { k * 5 + column }]
                            };
                            out.push((0..4).map(|k| left(k) * right(k)).sum());
                        }
                    }
                }
                out
            })
        }
        vec![
            case("stacks", false, batched(&[2, 4, 5])),
            case("stacks, right transposed", true, batched(&[2, 5, 4])),
            case("one shared right matrix", false, shared(&[4, 5])),
            case("a shared right stack, transposed", true, shared(&[2, 5, 4])),
        ]
    }
}
