//! Softmax over the last axis, of all numbers or of those that a mask leaves in.

use super::cases::{Case, CaseValues, batched, shared};
use super::{Backward, Forward, Op, Operand, Uses, wanted};

/// Operands: x `[…, n]`, and perhaps a mask `[n]` or of x's shape, in which 0 leaves out. What is left out is exactly 0; a row
/// of which nothing is left is all 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax;

/// The row of a mask that stands beside a row of x.
fn mask_row<'a>(call: &super::Call, mask: &'a [f32], row: usize, width: usize) -> &'a [f32] {
    let (x, operand) = (&call.operands[0], &call.operands[1]);
    let rows_a_sample = x.count() / width;
    let (sample, inside) = (row / rows_a_sample, row % rows_a_sample);
    let sample = if operand.batched { sample } else { 0 };
    let inside = if operand.shape.len() == 1 { 0 } else { inside };
    &mask[sample * operand.count() + inside * width..][..width]
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        let (Some(x), true) = (operands.first(), operands.len() <= 2) else {
            return Err(format!("takes x and perhaps a mask, found {} operands", operands.len()));
        };
        if x.shape.is_empty() {
            return Err("takes at least one axis, found a single number".to_owned());
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
        let width = pass.call.output.last();
        for (row, (out, x)) in pass.output.chunks_exact_mut(width).zip(pass.inputs[0].chunks_exact(width)).enumerate() {
            let mask = pass.inputs.get(1).map(|mask| mask_row(&pass.call, mask, row, width));
            let inside = |place: usize| mask.is_none_or(|mask| mask[place] != 0.0);
            let top = (0..width).filter(|&place| inside(place)).map(|place| x[place]).fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for place in 0..width {
                out[place] = if inside(place) { (x[place] - top).exp() } else { 0.0 };
                sum += out[place];
            }
            if sum > 0.0 {
                for value in out {
                    *value /= sum;
                }
            } else if x.iter().any(|value| value.is_nan()) {
                // Nothing is hidden: a NaN that came in goes out.
                out.iter_mut().enumerate().filter(|(place, _)| inside(*place)).for_each(|(_, value)| *value = f32::NAN);
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let width = pass.call.output.last();
        if !wanted(pass.gradients[0]) {
            return;
        }
        let rows = pass.gradients[0].chunks_exact_mut(width).zip(pass.gradient.chunks_exact(width));
        for ((into, from), output) in rows.zip(pass.output.chunks_exact(width)) {
            let dot: f32 = from.iter().zip(output).map(|(from, output)| from * output).sum();
            for ((into, from), output) in into.iter_mut().zip(from).zip(output) {
                *into += output * (from - dot);
            }
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    fn exact(x: &[f64], inside: &dyn Fn(usize) -> bool) -> Vec<f64> {
        let raw: Vec<f64> = x.iter().enumerate().map(|(at, x)| if inside(at) { x.exp() } else { 0.0 }).collect();
        let sum: f64 = raw.iter().sum();
        raw.iter().map(|value| if sum > 0.0 { value / sum } else { 0.0 }).collect()
    }
    let mask = |operand: (Operand, CaseValues)| (operand.0, CaseValues::Mask);
    vec![
        Case::new("all", Softmax, vec![batched(&[2, 5])], |inputs, _| {
            inputs[0].chunks(5).flat_map(|row| exact(row, &|_| true)).collect()
        }),
        Case::new("a mask a sample", Softmax, vec![batched(&[2, 5]), mask(batched(&[5]))], |inputs, _| {
            let rows = inputs[0].chunks(5).enumerate();
            rows.flat_map(|(row, x)| exact(x, &|at| inputs[1][row / 2 * 5 + at] != 0.0)).collect()
        }),
        Case::new("a mask for all", Softmax, vec![batched(&[4, 3]), mask(shared(&[4, 3]))], |inputs, _| {
            let rows = inputs[0].chunks(3).enumerate();
            rows.flat_map(|(row, x)| exact(x, &|at| inputs[1][row % 4 * 3 + at] != 0.0)).collect()
        }),
    ]
}
