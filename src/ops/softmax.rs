//! Softmax over the last axis, with an optional mask.

use crate::device::cpu::exp_slice;

use super::{Backward, Forward, Op, Operand, Uses, is_needed};

/// Softmax. Operands: x `[…, n]`, and optionally a mask of the shape of x or `[n]`. Elements whose mask is 0 are
/// excluded and get exactly 0; a row without other elements is all 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Softmax;

/// The row of the mask for a row of x.
fn mask_row<'a>(call: &super::Call, mask: &'a [f32], row: usize, width: usize) -> &'a [f32] {
    let (x, operand) = (&call.operands[0], &call.operands[1]);
    let sample_rows = x.count() / width;
    let sample = if operand.batched { row / sample_rows } else { 0 };
    let row = if operand.shape.len() == 1 { 0 } else { row % sample_rows };
    &mask[sample * operand.count() + row * width..][..width]
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        let (Some(x), true) = (operands.first(), operands.len() <= 2) else {
            return Err(format!("takes x and optionally a mask, found {} operands", operands.len()));
        };
        if x.shape.is_empty() {
            return Err("takes x with at least one axis, found a scalar".to_owned());
        }
        if let Some(mask) = operands.get(1)
            && (mask.shape != x.shape && mask.shape != x.shape[x.shape.len() - 1..] || mask.batched && !x.batched)
        {
            return Err(format!(
                "takes a mask of the shape of x or of its last axis, found {:?} for {:?}",
                mask.shape, x.shape
            ));
        }
        Ok(x.shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::OUTPUT
    }

    fn forward(&self, pass: &mut Forward) {
        let width = pass.call.output.last_axis();
        for (row, (out, x)) in pass.output.chunks_exact_mut(width).zip(pass.inputs[0].chunks_exact(width)).enumerate() {
            let mask = pass.inputs.get(1).map(|mask| mask_row(&pass.call, mask, row, width));
            let is_included = |index: usize| mask.is_none_or(|mask| mask[index] != 0.0);
            let included = (0..width).filter(|&index| is_included(index));
            let max = included.clone().map(|index| x[index]).fold(f32::NEG_INFINITY, f32::max);
            for index in 0..width {
                // e to the power of minus infinity is 0.
                out[index] = if is_included(index) { x[index] - max } else { f32::NEG_INFINITY };
            }
            exp_slice(out);
            let sum: f32 = out.iter().sum();
            if sum > 0.0 {
                for value in out {
                    *value /= sum;
                }
            } else if x.iter().any(|value| value.is_nan()) {
                // A NaN in the row must not be hidden.
                included.for_each(|index| out[index] = f32::NAN);
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let width = pass.call.output.last_axis();
        if !is_needed(pass.input_grads[0]) {
            return;
        }
        let rows = pass.input_grads[0].chunks_exact_mut(width).zip(pass.output_grad.chunks_exact(width));
        for ((into, output_grad), output) in rows.zip(pass.output.chunks_exact(width)) {
            let dot: f32 = output_grad.iter().zip(output).map(|(grad, output)| grad * output).sum();
            for ((into, grad), output) in into.iter_mut().zip(output_grad).zip(output) {
                *into += output * (grad - dot);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, CaseValues, batched, shared};
    use super::{Operand, Softmax};

    pub(in crate::ops) fn all() -> Vec<Case> {
        fn exact(x: &[f64], is_included: &dyn Fn(usize) -> bool) -> Vec<f64> {
            let exp = |(index, x): (usize, &f64)| if is_included(index) { x.exp() } else { 0.0 };
            let raw: Vec<f64> = x.iter().enumerate().map(exp).collect();
            let sum: f64 = raw.iter().sum();
            raw.iter().map(|value| if sum > 0.0 { value / sum } else { 0.0 }).collect()
        }
        let mask = |operand: (Operand, CaseValues)| (operand.0, CaseValues::Mask);
        vec![
            Case::new("without a mask", Softmax, vec![batched(&[2, 5])], |inputs, _| {
                inputs[0].chunks(5).flat_map(|row| exact(row, &|_| true)).collect()
            }),
            Case::new("a mask per sample", Softmax, vec![batched(&[2, 5]), mask(batched(&[5]))], |inputs, _| {
                let rows = inputs[0].chunks(5).enumerate();
                rows.flat_map(|(row, x)| exact(x, &|index| inputs[1][row / 2 * 5 + index] != 0.0)).collect()
            }),
            Case::new("a shared mask", Softmax, vec![batched(&[4, 3]), mask(shared(&[4, 3]))], |inputs, _| {
                let rows = inputs[0].chunks(3).enumerate();
                rows.flat_map(|(row, x)| exact(x, &|index| inputs[1][row % 4 * 3 + index] != 0.0)).collect()
            }),
        ]
    }
}
