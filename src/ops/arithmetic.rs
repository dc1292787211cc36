//! Elementwise addition, subtraction and multiplication with broadcasting: over the leading axes that one operand
//! lacks, and over the samples for an operand that they share. Scaling by constants.

use super::{Backward, Forward, Op, Operand, Uses, check_operand_count, is_needed};

/// An elementwise operation on two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// left + right.
    Add,
    /// left - right.
    Subtract,
    /// left · right.
    Multiply,
}

/// Calls `body` with the indices into output, left and right of each element, in order.
fn for_each_element(call: &super::Call, mut body: impl FnMut(usize, usize, usize)) {
    let (left, right) = (&call.operands[0], &call.operands[1]);
    let (count, batch) = (call.output.count(), if call.output.batched { call.batch } else { 1 });
    let stride = |operand: &Operand| if operand.batched { operand.count() } else { 0 };
    let (left_count, right_count) = (left.count(), right.count());
    for sample in 0..batch {
        let (left_start, right_start) = (sample * stride(left), sample * stride(right));
        for index in 0..count {
            body(sample * count + index, left_start + index % left_count, right_start + index % right_count);
        }
    }
}

impl Op for Arithmetic {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
        }
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 2)?;
        let (left, right) = (&operands[0].shape, &operands[1].shape);
        let (long, short) = if left.len() >= right.len() { (left, right) } else { (right, left) };
        if !long.ends_with(short) {
            return Err(format!(
                "takes equal shapes, or one that equals the last axes of the other, found {left:?} and {right:?}"
            ));
        }
        Ok(long.clone())
    }

    fn uses(&self) -> Uses {
        if *self == Self::Multiply { Uses::INPUTS } else { Uses::NOTHING }
    }

    fn forward(&self, pass: &mut Forward) {
        let (call, left, right, output) = (&pass.call, pass.inputs[0], pass.inputs[1], &mut *pass.output);
        match self {
            Self::Add => for_each_element(call, |out, l, r| output[out] = left[l] + right[r]),
            Self::Subtract => for_each_element(call, |out, l, r| output[out] = left[l] - right[r]),
            Self::Multiply => for_each_element(call, |out, l, r| output[out] = left[l] * right[r]),
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let (output_grad, call) = (pass.output_grad, &pass.call);
        let [left_grad, right_grad, ..] = pass.input_grads else { return };
        if is_needed(left_grad) {
            match self {
                Self::Add | Self::Subtract => for_each_element(call, |out, l, _| left_grad[l] += output_grad[out]),
                Self::Multiply => {
                    let right = pass.inputs[1];
                    for_each_element(call, |out, l, r| left_grad[l] += output_grad[out] * right[r]);
                }
            }
        }
        if is_needed(right_grad) {
            match self {
                Self::Add => for_each_element(call, |out, _, r| right_grad[r] += output_grad[out]),
                Self::Subtract => for_each_element(call, |out, _, r| right_grad[r] -= output_grad[out]),
                Self::Multiply => {
                    let left = pass.inputs[0];
                    for_each_element(call, |out, l, r| right_grad[r] += output_grad[out] * left[l]);
                }
            }
        }
    }
}

/// `factor` · x + `offset`, elementwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    /// The factor; finite.
    pub factor: f32,
    /// The offset; finite.
    pub offset: f32,
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn attributes(&self) -> String {
        format!("factor={} offset={}", self.factor, self.offset)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        if !(self.factor.is_finite() && self.offset.is_finite()) {
            return Err(format!("takes a finite factor and offset, found {} and {}", self.factor, self.offset));
        }
        Ok(operands[0].shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        for (out, value) in pass.output.iter_mut().zip(pass.inputs[0]) {
            *out = value * self.factor + self.offset;
        }
    }

    fn backward(&self, pass: &mut Backward) {
        for (into, from) in pass.input_grads[0].iter_mut().zip(pass.output_grad) {
            *into += from * self.factor;
        }
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, CaseValues, batched, shared};
    use super::{Arithmetic, Operand, Scale};

    pub(in crate::ops) fn all() -> Vec<Case> {
        // The left operand has 6 elements per sample; the right one has 6 per sample, or 6 or 3 that are shared.
        fn case(name: &'static str, op: Arithmetic, right: (Operand, CaseValues), exact: fn(f64, f64) -> f64) -> Case {
            let (count, is_batched) = (right.0.count(), right.0.batched);
            Case::new(name, op, vec![batched(&[2, 3]), right], move |inputs, batch| {
                let right = |index: usize| inputs[1][if is_batched { index } else { index % count }];
                (0..6 * batch).map(|index| exact(inputs[0][index], right(index))).collect()
            })
        }
        vec![
            case("add", Arithmetic::Add, batched(&[2, 3]), |x, y| x + y),
            case("add, shared row", Arithmetic::Add, shared(&[3]), |x, y| x + y),
            case("subtract, shared", Arithmetic::Subtract, shared(&[2, 3]), |x, y| x - y),
            case("multiply", Arithmetic::Multiply, batched(&[2, 3]), |x, y| x * y),
            case("multiply, shared row", Arithmetic::Multiply, shared(&[3]), |x, y| x * y),
            Case::new("scale", Scale { factor: -1.5, offset: 0.25 }, vec![batched(&[7])], |inputs, _| {
                inputs[0].iter().map(|x| x * -1.5 + 0.25).collect()
            }),
        ]
    }
}
