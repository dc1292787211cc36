//! Ops that only move elements: reshape, transpose, slice, concat.

use super::{Backward, Forward, Op, Operand, Uses, check_operand_count, is_needed};

/// The same elements in another shape.
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
        check_operand_count(operands, 1)?;
        let count = self.shape.iter().try_fold(1_usize, |all, axis| all.checked_mul(*axis));
        if count != Some(operands[0].count()) {
            return Err(format!(
                "cannot make {:?} of the {} elements of {:?}",
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
        pass.input_grads[0].iter_mut().zip(pass.output_grad).for_each(|(into, from)| *into += from);
    }
}

/// A permutation of the axes: axis i of the output is axis `order[i]` of x.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// A permutation of the axes of x.
    pub order: Vec<usize>,
}

/// Most axes of an operand; an index of this length lies on the stack.
const MOST_AXES: usize = 8;

impl Transpose {
    /// Calls `body` with the indices into output and x of each element, sample by sample.
    fn for_each_element(&self, call: &super::Call, mut body: impl FnMut(usize, usize)) {
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
                let from: usize = index.iter().zip(&self.order).map(|(index, axis)| index * strides[*axis]).sum();
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
        check_operand_count(operands, 1)?;
        let shape = &operands[0].shape;
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if shape.len() > MOST_AXES {
            return Err(format!("takes at most {MOST_AXES} axes, found {shape:?}"));
        }
        if sorted != (0..shape.len()).collect::<Vec<_>>() {
            return Err(format!(
                "takes a permutation of the {} axes of {shape:?}, found {:?}",
                shape.len(),
                self.order
            ));
        }
        Ok(self.order.iter().map(|&axis| shape[axis]).collect())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        let (x, output) = (pass.inputs[0], &mut *pass.output);
        self.for_each_element(&pass.call, |out, from| output[out] = x[from]);
    }

    fn backward(&self, pass: &mut Backward) {
        let (output_grad, into) = (pass.output_grad, &mut *pass.input_grads[0]);
        if is_needed(into) {
            self.for_each_element(&pass.call, |out, from| into[from] += output_grad[out]);
        }
    }
}

/// A range of indices of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The axis.
    pub axis: usize,
    /// First index.
    pub start: usize,
    /// Length of the range; at least 1.
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
        check_operand_count(operands, 1)?;
        let mut out = operands[0].shape.clone();
        let is_inside = out.get(self.axis).is_some_and(|length| {
            self.length > 0 && self.start.checked_add(self.length).is_some_and(|end| end <= *length)
        });
        if !is_inside {
            return Err(format!(
                "has length={} from start={} on axis {} of {out:?}; allowed are at least one element, all inside the axis",
                self.length, self.start, self.axis
            ));
        }
        out[self.axis] = self.length;
        Ok(out)
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        let inner = inner_size(&pass.call.operands[0], self.axis);
        let (block, part) = (pass.call.operands[0].shape[self.axis] * inner, self.length * inner);
        for (out, from) in pass.output.chunks_exact_mut(part).zip(pass.inputs[0].chunks_exact(block)) {
            out.copy_from_slice(&from[self.start * inner..][..part]);
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let inner = inner_size(&pass.call.operands[0], self.axis);
        let (block, part) = (pass.call.operands[0].shape[self.axis] * inner, self.length * inner);
        for (into, from) in pass.input_grads[0].chunks_exact_mut(block).zip(pass.output_grad.chunks_exact(part)) {
            into[self.start * inner..][..part].iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
    }
}

/// Elements per index of an axis: the product of the axes after it.
fn inner_size(x: &Operand, axis: usize) -> usize {
    x.shape[axis + 1..].iter().product()
}

/// Concatenation of the operands along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Concat {
    /// Calls `body` for each contiguous block of each operand with the index of the operand, the start of the block in
    /// it, the start in the output, and the length.
    fn for_each_block(self, call: &super::Call, mut body: impl FnMut(usize, usize, usize, usize)) {
        let block_size = |x: &Operand| x.shape[self.axis] * inner_size(x, self.axis);
        let whole = block_size(call.output);
        let count = call.output.size(call.batch) / whole;
        for block in 0..count {
            let mut start = block * whole;
            for (operand, x) in call.operands.iter().enumerate() {
                let length = block_size(x);
                body(operand, block * length, start, length);
                start += length;
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
        if operands.iter().any(|x| x.batched != first.batched) {
            return Err("takes operands that all depend on an input, or none of which does".to_owned());
        }
        out[self.axis] = 0;
        for x in operands {
            let mut rest = x.shape.clone();
            let length = rest.get(self.axis).copied().unwrap_or(0);
            if let Some(axis) = rest.get_mut(self.axis) {
                *axis = out[self.axis];
            }
            if rest != out {
                let shapes: Vec<&Vec<usize>> = operands.iter().map(|x| &x.shape).collect();
                return Err(format!("takes shapes that differ only in axis {}, found {shapes:?}", self.axis));
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
        self.for_each_block(&pass.call, |operand, from, to, length| {
            output[to..][..length].copy_from_slice(&inputs[operand][from..][..length]);
        });
    }

    fn backward(&self, pass: &mut Backward) {
        let (output_grad, input_grads) = (pass.output_grad, &mut *pass.input_grads);
        self.for_each_block(&pass.call, |operand, from, to, length| {
            if is_needed(input_grads[operand]) {
                let into = &mut input_grads[operand][from..][..length];
                into.iter_mut().zip(&output_grad[to..][..length]).for_each(|(into, from)| *into += from);
            }
        });
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, batched};
    use super::{Concat, Reshape, Slice, Transpose};

    pub(in crate::ops) fn all() -> Vec<Case> {
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
}
