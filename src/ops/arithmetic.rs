//! Sums, differences and products, element by element; a shared operand, or one whose shape is the end of the other's, is
//! repeated.

use super::cases::{Case, CaseValues, batched, shared};
use super::{Backward, Forward, Op, Operand, Uses, arity, wanted};

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Their sum.
    Add,
    /// The first less the second.
    Subtract,
    /// Their product.
    Multiply,
}

/// Calls `body` with the places in output, left and right, in order.
fn places(pass: &super::Call, mut body: impl FnMut(usize, usize, usize)) {
    let (left, right) = (&pass.operands[0], &pass.operands[1]);
    let (count, batch) = (pass.output.count(), if pass.output.batched { pass.batch } else { 1 });
    let step = |operand: &Operand| if operand.batched { operand.count() } else { 0 };
    let (left_count, right_count) = (left.count(), right.count());
    for sample in 0..batch {
        let (from_left, from_right) = (sample * step(left), sample * step(right));
        for place in 0..count {
            body(sample * count + place, from_left + place % left_count, from_right + place % right_count);
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
        arity(operands, 2)?;
        let (left, right) = (&operands[0].shape, &operands[1].shape);
        let (long, short) = if left.len() >= right.len() { (left, right) } else { (right, left) };
        if !long.ends_with(short) {
            return Err(format!(
                "takes equal shapes, or one that is the end of the other, found {left:?} and {right:?}"
            ));
        }
        Ok(long.clone())
    }

    fn uses(&self) -> Uses {
        if *self == Self::Multiply { Uses::INPUTS } else { Uses::NOTHING }
    }

    fn forward(&self, pass: &mut Forward) {
        let (left, right, output) = (pass.inputs[0], pass.inputs[1], &mut *pass.output);
        match self {
            Self::Add => places(&pass.call, |out, one, two| output[out] = left[one] + right[two]),
            Self::Subtract => places(&pass.call, |out, one, two| output[out] = left[one] - right[two]),
            Self::Multiply => places(&pass.call, |out, one, two| output[out] = left[one] * right[two]),
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let (gradient, call) = (pass.gradient, &pass.call);
        let [to_left, to_right, ..] = pass.gradients else { return };
        if wanted(to_left) {
            match self {
                Self::Add | Self::Subtract => places(call, |out, one, _| to_left[one] += gradient[out]),
                Self::Multiply => {
                    let right = pass.inputs[1];
                    places(call, |out, one, two| to_left[one] += gradient[out] * right[two]);
                }
            }
        }
        if wanted(to_right) {
            match self {
                Self::Add => places(call, |out, _, two| to_right[two] += gradient[out]),
                Self::Subtract => places(call, |out, _, two| to_right[two] -= gradient[out]),
                Self::Multiply => {
                    let left = pass.inputs[0];
                    places(call, |out, one, two| to_right[two] += gradient[out] * left[one]);
                }
            }
        }
    }
}

/// Every number times a constant, and another one added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The factor.
    pub factor: f32,
    /// What is added after it.
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
        arity(operands, 1)?;
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
        for (into, from) in pass.gradients[0].iter_mut().zip(pass.gradient) {
            *into += from * self.factor;
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    // Operands of 6 numbers a sample on the left, and 6 of their own, 6 shared or 3 shared on the right.
    fn case(name: &'static str, op: Arithmetic, right: (Operand, CaseValues), exact: fn(f64, f64) -> f64) -> Case {
        let (count, own) = (right.0.count(), right.0.batched);
        Case::new(name, op, vec![batched(&[2, 3]), right], move |inputs, batch| {
            let at = |place: usize| if own { place } else { place % count };
            (0..6 * batch).map(|place| exact(inputs[0][place], inputs[1][at(place)])).collect()
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
