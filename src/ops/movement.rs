//! Ops that only move numbers: reshape, transpose, slice, concat.

use super::cases::{Case, batched};
use super::{Backward, Forward, Op, Operand, Uses, arity, wanted};

/// The same numbers in another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// The new shape of one sample.
    pub shape: Vec<usize>,
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn attributes(&self) -> String {
        format!("shape={:?}", self.shape)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        arity(operands, 1)?;
        let count = self.shape.iter().try_fold(1_usize, |all, axis| all.checked_mul(*axis));
        if count != Some(operands[0].count()) {
            return Err(format!(
                "cannot make {:?} of the {} numbers of {:?}",
                self.shape,
                operands[0].count(),
                operands[0].shape
            ));
        }
        Ok(self.shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        pass.output.copy_from_slice(pass.inputs[0]);
    }

    fn backward(&self, pass: &mut Backward) {
        pass.gradients[0].iter_mut().zip(pass.gradient).for_each(|(into, from)| *into += from);
    }
}

/// The axes in another order: axis i of the output is axis `order[i]` of x.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// The order.
    pub order: Vec<usize>,
}

/// Most axes of what is transposed, whose places are walked without taking memory.
const MOST_AXES: usize = 8;

impl Transpose {
    /// Calls `body` with places in output and x, one sample after the other.
    fn places(&self, call: &super::Call, mut body: impl FnMut(usize, usize)) {
        let x = &call.operands[0];
        let mut strides = [1; MOST_AXES];
        for axis in (1..x.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * x.shape[axis];
        }
        let (count, samples) = (x.count(), if x.batched { call.batch } else { 1 });
        let mut index = [0; MOST_AXES];
        let index = &mut index[..self.order.len()];
        for sample in 0..samples {
            index.fill(0);
            for out in 0..count {
                let from: usize = index.iter().zip(&self.order).map(|(at, axis)| at * strides[*axis]).sum();
                body(sample * count + out, sample * count + from);
                for axis in (0..index.len()).rev() {
                    index[axis] += 1;
                    if index[axis] < call.output.shape[axis] {
                        break;
                    }
                    index[axis] = 0;
                }
            }
        }
    }
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn attributes(&self) -> String {
        format!("order={:?}", self.order)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        arity(operands, 1)?;
        let shape = &operands[0].shape;
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if shape.len() > MOST_AXES {
            return Err(format!("takes at most {MOST_AXES} axes, found {shape:?}"));
        }
        if sorted != (0..shape.len()).collect::<Vec<_>>() {
            return Err(format!("takes an order of the {} axes of {shape:?}, found {:?}", shape.len(), self.order));
        }
        Ok(self.order.iter().map(|&axis| shape[axis]).collect())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        let (x, output) = (pass.inputs[0], &mut *pass.output);
        self.places(&pass.call, |out, from| output[out] = x[from]);
    }

    fn backward(&self, pass: &mut Backward) {
        let (gradient, into) = (pass.gradient, &mut *pass.gradients[0]);
        if wanted(into) {
            self.places(&pass.call, |out, from| into[from] += gradient[out]);
        }
    }
}

/// A part of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The axis.
    pub axis: usize,
    /// First place.
    pub start: usize,
    /// Places taken.
    pub length: usize,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn attributes(&self) -> String {
        format!("axis={} start={} length={}", self.axis, self.start, self.length)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        arity(operands, 1)?;
        let mut out = operands[0].shape.clone();
        let fits = out.get(self.axis).is_some_and(|length| {
            self.length > 0 && self.start.checked_add(self.length).is_some_and(|end| end <= *length)
        });
        if !fits {
            return Err(format!("cannot take {} to {} of axis {} of {out:?}", self.start, self.length, self.axis));
        }
        out[self.axis] = self.length;
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        let x = &pass.call.operands[0];
        let (long, part) = blocks(x, self.axis, self.length);
        let behind = part / self.length;
        for (out, from) in pass.output.chunks_exact_mut(part).zip(pass.inputs[0].chunks_exact(long)) {
            out.copy_from_slice(&from[self.start * behind..][..part]);
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let (long, part) = blocks(&pass.call.operands[0], self.axis, self.length);
        let behind = part / self.length;
        for (into, from) in pass.gradients[0].chunks_exact_mut(long).zip(pass.gradient.chunks_exact(part)) {
            into[self.start * behind..][..part].iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
    }
}

/// Numbers of x that share all places before an axis, and of them those of `length` places along it.
fn blocks(x: &Operand, axis: usize, length: usize) -> (usize, usize) {
    let behind: usize = x.shape[axis + 1..].iter().product();
    (x.shape[axis] * behind, length * behind)
}

/// Operands one after the other along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Concat {
    /// Calls `body` with an operand's number, the place of a block in it, the place in the output, and the block's length.
    fn parts(self, call: &super::Call, mut body: impl FnMut(usize, usize, usize, usize)) {
        let (whole, _) = blocks(call.output, self.axis, 1);
        let count = call.output.size(call.batch) / whole;
        for block in 0..count {
            let mut at = block * whole;
            for (operand, x) in call.operands.iter().enumerate() {
                let (part, _) = blocks(x, self.axis, 1);
                body(operand, block * part, at, part);
                at += part;
            }
        }
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn attributes(&self) -> String {
        format!("axis={}", self.axis)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        let Some(first) = operands.first() else { return Err("takes at least one operand, found none".to_owned()) };
        let mut out = first.shape.clone();
        if self.axis >= out.len() {
            return Err(format!("takes an axis below {}, found {}", out.len(), self.axis));
        }
        out[self.axis] = 0;
        for x in operands {
            let mut rest = x.shape.clone();
            let agree = x.batched == first.batched && rest.len() == out.len();
            let length = rest.get(self.axis).copied().unwrap_or(0);
            if agree {
                rest[self.axis] = out[self.axis];
            }
            if !agree || rest != out {
                let shapes: Vec<&Vec<usize>> = operands.iter().map(|x| &x.shape).collect();
                return Err(format!("takes shapes that differ in axis {} alone, found {shapes:?}", self.axis));
            }
            out[self.axis] += length;
        }
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        let (inputs, output) = (pass.inputs, &mut *pass.output);
        self.parts(&pass.call, |operand, from, to, length| {
            output[to..][..length].copy_from_slice(&inputs[operand][from..][..length]);
        });
    }

    fn backward(&self, pass: &mut Backward) {
        let (gradient, gradients) = (pass.gradient, &mut *pass.gradients);
        self.parts(&pass.call, |operand, from, to, length| {
            if wanted(gradients[operand]) {
                let into = &mut gradients[operand][from..][..length];
                into.iter_mut().zip(&gradient[to..][..length]).for_each(|(into, from)| *into += from);
            }
        });
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("reshape", Reshape { shape: vec![3, 2] }, vec![batched(&[6])], |inputs, _| inputs[0].clone()),
        Case::new("transpose", Transpose { order: vec![2, 0, 1] }, vec![batched(&[2, 3, 4])], |inputs, batch| {
            let mut out = Vec::new();
            for sample in 0..batch {
                for k in 0..4 {
                    out.extend((0..6).map(|row| inputs[0][sample * 24 + row * 4 + k]));
                }
            }
            out
        }),
        Case::new("slice", Slice { axis: 1, start: 1, length: 2 }, vec![batched(&[2, 4, 3])], |inputs, batch| {
            (0..2 * batch).flat_map(|block| inputs[0][block * 12 + 3..block * 12 + 9].to_vec()).collect()
        }),
        Case::new("concat", Concat { axis: 1 }, vec![batched(&[2, 1]), batched(&[2, 3])], |inputs, batch| {
            (0..2 * batch)
                .flat_map(|row| [vec![inputs[0][row]], inputs[1][row * 3..row * 3 + 3].to_vec()].concat())
                .collect()
        }),
    ]
}
