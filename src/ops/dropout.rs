//! Dropout (Srivastava et al. 2014): in training, each element becomes 0 with some probability and the others are
//! scaled up to keep the mean. The mask is a function of seed, op, step and index in the whole batch.

use super::{Backward, Call, Forward, Op, Operand, Uses, check_operand_count, is_needed};

/// Drops each element with probability `share`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dropout {
    /// The probability; at least 0 and below 1.
    pub share: f32,
}

/// Elements whose factors are drawn together.
const CHUNK: usize = 512;

impl Dropout {
    /// Calls `body` with consecutive ranges of elements and their factors, which are 0 or 1/(1 - share).
    fn for_each_chunk(self, call: &Call, count: usize, mut body: impl FnMut(std::ops::Range<usize>, &[f32])) {
        // A value that all samples share has one mask, in any micro-batch.
        let first = if call.output.batched { call.offset * call.output.count() } else { 0 };
        let kept = 1.0 / (1.0 - self.share);
        let mut buffer = [0.0; CHUNK];
        for start in (0..count).step_by(CHUNK) {
            let range = start..count.min(start + CHUNK);
            let factors = &mut buffer[..range.len()];
            call.random.fill_uniform((first + start) as u64, factors);
            for factor in factors.iter_mut() {
                *factor = if *factor < self.share { 0.0 } else { kept };
            }
            body(range, factors);
        }
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn attributes(&self) -> String {
        format!("share={}", self.share)
    }

    fn shape(&self, operands: &[Operand]) -> Result<Vec<usize>, String> {
        check_operand_count(operands, 1)?;
        if !(0.0..1.0).contains(&self.share) {
            return Err(format!("takes a share from 0 to below 1, found {}", self.share));
        }
        Ok(operands[0].shape.clone())
    }

    fn uses(&self) -> Uses {
        Uses::NOTHING
    }

    fn forward(&self, pass: &mut Forward) {
        pass.output.copy_from_slice(pass.inputs[0]);
        if pass.call.training && self.share > 0.0 {
            let output = &mut *pass.output;
            self.for_each_chunk(&pass.call, output.len(), |range, factors| {
                output[range].iter_mut().zip(factors).for_each(|(out, factor)| *out *= factor);
            });
        }
    }

    fn backward(&self, pass: &mut Backward) {
        if !is_needed(pass.input_grads[0]) {
            return;
        }
        let (into, from) = (&mut *pass.input_grads[0], pass.output_grad);
        if pass.call.training && self.share > 0.0 {
            self.for_each_chunk(&pass.call, from.len(), |range, factors| {
                let pairs = into[range.clone()].iter_mut().zip(&from[range]);
                pairs.zip(factors).for_each(|((into, from), factor)| *into += from * factor);
            });
        } else {
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
    }
}

#[cfg(test)]
pub(super) mod cases {
    use super::super::case::{Case, batched, shared};
    use super::Dropout;
    use crate::random::Random;

    pub(in crate::ops) fn all() -> Vec<Case> {
        // The reference draws as the tests call the op: seed 5, stream 1, step 2.
        fn exact(inputs: &[Vec<f64>], _: usize) -> Vec<f64> {
            let random = Random::new(5, 1, 2);
            let is_kept = |index: usize| random.uniform(index as u64) >= 0.5;
            inputs[0].iter().enumerate().map(|(index, x)| if is_kept(index) { 2.0 * x } else { 0.0 }).collect()
        }
        vec![
            Case::new("half", Dropout { share: 0.5 }, vec![batched(&[9, 3])], exact),
            Case::new("a value that samples share", Dropout { share: 0.5 }, vec![shared(&[9, 3])], exact),
        ]
    }
}
