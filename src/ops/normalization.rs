//! Layer normalisation (Ba, Kiros and Hinton 2016): each row of the last axis to mean 0 and variance 1, then a learned scale
//! and shift.

use super::cases::{Case, batched, shared};
use super::{Backward, Forward, Op, Operand, Uses, Workspace, arity, wanted};

/// Operands: x `[…, n]`, scale `[n]` and shift `[n]`, both shared. The variance has the divisor n, as PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance.
    pub epsilon: f32,
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn attributes(&self) -> String {
        format!("epsilon={}", self.epsilon)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        arity(operands, 3)?;
        let (x, scale, shift) = (&operands[0], &operands[1], &operands[2]);
        let last = x.shape.last().map(std::slice::from_ref);
        if scale.batched || shift.batched || last != Some(scale.shape.as_slice()) || scale.shape != shift.shape {
            return Err(format!(
                "takes x […, n] with a shared scale [n] and shift [n], found {:?}, {:?} and {:?}",
                x.shape, scale.shape, shift.shape
            ));
        }
        Ok(x.shape.clone())
    }

    fn single_parameters(&self) -> bool {
        true
    }

    fn uses(&self) -> Uses {
        Uses { inputs: [true, true, false, false, false, false], output: false }
    }

    /// Mean and 1/deviation of each row.
    fn workspace(&self, operands: &[Operand], _output: &Operand, batch: usize) -> Workspace {
        Workspace { saved: 2 * operands[0].size(batch) / operands[0].last(), ..Workspace::default() }
    }

    fn forward(&self, pass: &mut Forward) {
        let width = pass.call.output.last();
        let rows = pass.output.chunks_exact_mut(width).zip(pass.inputs[0].chunks_exact(width));
        for (row, (out, x)) in rows.enumerate() {
            let mean = x.iter().sum::<f32>() / width as f32;
            let variance = x.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / width as f32;
            let inverse = 1.0 / (variance + self.epsilon).sqrt();
            for (place, (out, value)) in out.iter_mut().zip(x).enumerate() {
                *out = (value - mean) * inverse * pass.inputs[1][place] + pass.inputs[2][place];
            }
            if let Some(saved) = pass.saved.get_mut(2 * row..2 * row + 2) {
                saved.copy_from_slice(&[mean, inverse]);
            }
        }
    }

    fn backward(&self, pass: &mut Backward) {
        let width = pass.call.output.last();
        let (x, scale) = (pass.inputs[0], pass.inputs[1]);
        let [to_x, to_scale, to_shift, ..] = pass.gradients else { return };
        for (row, from) in pass.gradient.chunks_exact(width).enumerate() {
            let (mean, inverse) = (pass.saved[2 * row], pass.saved[2 * row + 1]);
            let x = &x[row * width..][..width];
            let normal = |place: usize| (x[place] - mean) * inverse;
            if wanted(to_scale) {
                (0..width).for_each(|place| to_scale[place] += from[place] * normal(place));
            }
            if wanted(to_shift) {
                (0..width).for_each(|place| to_shift[place] += from[place]);
            }
            if wanted(to_x) {
                let scaled = |place: usize| from[place] * scale[place];
                let sum = (0..width).map(scaled).sum::<f32>() / width as f32;
                let along = (0..width).map(|place| scaled(place) * normal(place)).sum::<f32>() / width as f32;
                let into = &mut to_x[row * width..][..width];
                for (place, into) in into.iter_mut().enumerate() {
                    *into += inverse * (scaled(place) - sum - normal(place) * along);
                }
            }
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let operands = vec![batched(&[2, 6]), shared(&[6]), shared(&[6])];
    vec![Case::new("rows of a sample", LayerNorm { epsilon: 1e-5 }, operands, |inputs, batch| {
        let mut out = Vec::new();
        for row in 0..2 * batch {
            let x = &inputs[0][row * 6..row * 6 + 6];
            let mean = x.iter().sum::<f64>() / 6.0;
            let variance = x.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 6.0;
            let inverse = 1.0 / (variance + f64::from(1e-5_f32)).sqrt();
            out.extend((0..6).map(|place| (x[place] - mean) * inverse * inputs[1][place] + inputs[2][place]));
        }
        out
    })]
}
